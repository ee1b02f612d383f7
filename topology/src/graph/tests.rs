//! Pictures of a plan that is made by hand.

use super::layers::layers;
use super::*;

fn node(name: &str, family: Family) -> NodeBox {
    let ports = vec!["main".to_owned(), "other".to_owned()];
    let inputs = if family == Family::Source { Vec::new() } else { ports.clone() };
    NodeBox {
        name: name.to_owned(),
        kind: "kind",
        summary: "does \"it\" <fast>",
        family,
        inputs,
        outputs: ports,
    }
}

fn wire(from: (usize, usize), to: (usize, usize), kind: WireKind) -> Wire {
    Wire { from, to, record: "Committed".to_owned(), kind }
}

/// in -> first -> store -> last, a way back from the store, and declared feedback.
fn picture() -> Picture {
    let nodes = vec![
        node("in", Family::Source),
        node("first", Family::Operator),
        node("store", Family::Sink),
        node("last", Family::Operator),
    ];
    let wires = vec![
        wire((0, 0), (1, 0), WireKind::Flow),
        wire((1, 0), (2, 0), WireKind::Flow),
        wire((2, 0), (3, 0), WireKind::Completion),
        wire((2, 1), (1, 1), WireKind::Completion),
        wire((3, 1), (1, 1), WireKind::Feedback),
    ];
    let group =
        |title: &str, nodes: &[usize]| Group { title: title.to_owned(), nodes: nodes.to_vec() };
    let groups = vec![group("sources", &[0]), group("a stage", &[1, 3]), group("sinks", &[2])];
    Picture { groups, nodes, wires, types: false }
}

#[test]
fn a_message_reads_from_left_to_right_through_the_store() {
    assert_eq!(layers(&picture()), [0, 1, 2, 3]);
}

#[test]
fn names_that_other_languages_misread_get_an_identifier_of_their_own() {
    let mut picture = picture();
    let names = ["end", "a \"b\"", "sources", "名前"];
    picture.nodes.iter_mut().zip(names).for_each(|(node, name)| node.name = name.to_owned());
    let (_, identifiers) = picture.identifiers();
    assert_eq!(identifiers, ["node_0_", "node_1_", "node_2_", "node_3_"]);
    assert!(picture.mermaid().contains("node_1_[\"a &quot;b&quot;<br/>"), "{}", picture.mermaid());
    assert!(picture.dot().contains("label=\"a \\\"b\\\"\\nkind\""), "{}", picture.dot());
}

#[test]
fn wires_that_find_no_room_in_a_terminal_are_written_out() {
    let narrow = picture().terminal(34, false);
    assert!(
        narrow.lines().take_while(|line| !line.is_empty()).all(|line| line.chars().count() <= 34),
        "{narrow}"
    );
    assert!(narrow.contains("to first.other") && narrow.contains("from store.other"), "{narrow}");
    let wide = picture().terminal(100, false);
    assert!(!wide.contains("from store.other"), "{wide}");
    assert!(picture().terminal(100, true).contains("\x1b["));
}
