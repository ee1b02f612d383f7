//! What each wire carries: ports match by record type, and kinds derive the types of their outputs.

use imflow_kind::{Inference, Mistake, OptType, Shape};

use super::type_names;
use crate::codes::Code;
use crate::diagnostic::{Diagnostics, Span, written_range};
use crate::document::{Item, Tree};
use crate::resolve::{Node, NodeId, Wire};

type Shapes = [Vec<Option<Shape>>];

/// Checks the wires into a node and derives the shapes of its outputs. Its producers come first.
pub(super) fn check(
    id: NodeId,
    nodes: &[Node],
    shapes: &mut Shapes,
    diagnostics: &mut Diagnostics,
) {
    let node = &nodes[id];
    for port in 0..node.inputs.len() {
        check_port(node, port, nodes, shapes, diagnostics);
    }
    let inputs = input_shapes(node, shapes);
    let Some(infer) = node.kind.infer else {
        for (output, slot) in node.outputs.iter().zip(&mut shapes[id]) {
            if output.types.is_empty() {
                *slot = inputs.first().and_then(|shapes| shapes.first()).cloned();
            }
        }
        return;
    };
    let options = node.kind.description.options;
    let has_all = options.iter().all(|option| node.options.get(option.name).is_some());
    let mut wanted = node.kind.description.inputs.iter().zip(&inputs);
    let is_fed = !wanted.any(|(port, shapes)| port.required && shapes.is_empty());
    if !has_all || !is_fed {
        // An option or a producer has a mistake of its own.
        return read_expressions(node, diagnostics);
    }
    let outputs = node.outputs.len();
    match infer(&Inference { inputs: &inputs, options: &node.options, outputs }) {
        Ok(derived) => shapes[id] = derived.into_iter().map(Some).collect(),
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| report(node, &inputs, mistake, diagnostics));
        }
    }
}

/// Checks the syntax of a node's expressions, where nothing is known of their fields.
fn read_expressions(node: &Node, diagnostics: &mut Diagnostics) {
    let Some(read) = node.kind.read else { return };
    for option in node.kind.description.options {
        let Some(item) = node.written.get(option.name) else { continue };
        let texts: Vec<(Option<&str>, &str)> = match (option.kind, &item.value) {
            (OptType::Predicate | OptType::Expression, Tree::Text(text)) => vec![(None, text)],
            (OptType::Expressions, Tree::Table(entries)) => {
                let texts = entries.iter().filter_map(|(key, item)| match &item.value {
                    Tree::Text(text) => Some((Some(key.name.as_str()), text.as_str())),
                    _ => None,
                });
                texts.collect()
            }
            _ => continue,
        };
        for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            if let Err(mistake) = read(text) {
                let within = key.map(str::to_owned);
                let mistake = Mistake { option: option.name, within, ..mistake };
                report(node, &[], &mistake, diagnostics);
            }
        }
    }
}

/// What each input port of a node carries: the shapes of its wires, each once.
pub(crate) fn input_shapes(node: &Node, shapes: &Shapes) -> Vec<Vec<Shape>> {
    let carried = |wires: &Vec<Wire>| {
        let mut carried = Vec::new();
        for wire in wires {
            match shapes[wire.from.0].get(wire.from.1) {
                Some(Some(shape)) if !carried.contains(shape) => carried.push(shape.clone()),
                _ => {}
            }
        }
        carried
    };
    node.inputs.iter().map(carried).collect()
}

fn check_port(
    node: &Node,
    port: usize,
    nodes: &[Node],
    shapes: &Shapes,
    diagnostics: &mut Diagnostics,
) {
    let described = &node.kind.description.inputs[port];
    let mut first: Option<&Shape> = None;
    for wire in &node.inputs[port] {
        let (from, output) = wire.from;
        let Some(Some(carried)) = shapes[from].get(output) else { continue };
        let producer = &nodes[from];
        let takes = described.types;
        if !takes.is_empty() && !takes.contains(&carried.record_type()) {
            let message = format!(
                "`{}` carries {carried}, but port `{}` of `{}` takes {}",
                producer.output_name(output),
                described.name,
                node.name,
                type_names(takes)
            );
            diagnostics
                .error(Code::TypeMismatch, &wire.span, message, format!("a {carried} here"))
                .also(&producer.span, format!("`{}` is defined here", producer.name));
        }
        if takes.is_empty() && !described.mixed && first.is_some_and(|first| first != carried) {
            let message = format!(
                "the inputs of `{}` carry {} and {carried}",
                node.name,
                first.expect("just seen")
            );
            let label = "another record type than the first input's";
            diagnostics.error(Code::TypeMismatch, &wire.span, message, label);
        }
        first = first.or(Some(carried));
    }
}

fn report(node: &Node, inputs: &[Vec<Shape>], mistake: &Mistake, diagnostics: &mut Diagnostics) {
    let options = node.kind.description.options;
    let kind = options.iter().find(|o| o.name == mistake.option).map(|o| o.kind);
    let is_expression =
        matches!(kind, Some(OptType::Predicate | OptType::Expression | OptType::Expressions));
    let place = place_of(node, mistake, diagnostics);
    let input = inputs.first().and_then(|shapes| shapes.first());
    let on = input.map_or_else(String::new, |shape| format!(" on {:?}", shape.record_type()));
    let message = match &mistake.within {
        Some(key) => {
            format!(
                "option `{}` of `{}`, `{key}`{on}: {}",
                mistake.option, node.name, mistake.message
            )
        }
        None => format!("option `{}` of `{}`{on}: {}", mistake.option, node.name, mistake.message),
    };
    let code = if is_expression { Code::BadExpression } else { Code::BadOption };
    diagnostics.error(code, &place, message, "here").help_if(mistake.help.clone());
}

/// The place inside the text that has the mistake; the whole of it where a variable or `--set` gave it.
fn place_of(node: &Node, mistake: &Mistake, diagnostics: &Diagnostics) -> Span {
    let Some(item) = node.written.get(mistake.option) else { return node.span.clone() };
    let item = match (&item.value, &mistake.within) {
        (Tree::Table(entries), Some(key)) => {
            entries.iter().find(|(k, _)| k.name == *key).map_or(item, |(_, item)| item)
        }
        (Tree::List(items), Some(text)) => {
            let same = |item: &&Item| matches!(&item.value, Tree::Text(t) if t == text);
            items.iter().find(same).unwrap_or(item)
        }
        _ => item,
    };
    let Tree::Text(text) = &item.value else { return item.span.clone() };
    let mut place = item.span.clone();
    let written = &diagnostics.sources.text(place.source)[place.range.clone()];
    if let Some(part) = written_range(written, text, &mistake.range) {
        place.range = place.range.start + part.start..place.range.start + part.end;
    }
    place
}
