//! Topologies whose every wire can carry records.
//!
//! Options are chosen so that each output of a kind has its turn: expressions are `1 / n` over some field,
//! which fails at 0, is one at 1, and is nought above.

use std::fmt::Write as _;

use imflow_kind::construct::{Making, construct};
use imflow_kind::{Family, Form, Shape};
use imflow_proto::record::{FieldType, Scalar};
use imflow_topology::{Plan, Registry, compile};

use crate::Dice;

/// What is built upon: files that are put into a file of their own by `include`. Together they have every
/// kind that is not general.
const BASES: [&str; 8] = [
    "dataflow.toml",
    "examples/moderation/dataflow.toml",
    "examples/presence-only/dataflow.toml",
    "examples/mongodb/dataflow.toml",
    "examples/redis/dataflow.toml",
    "examples/search/dataflow.toml",
    "examples/offline-push/dataflow.toml",
    "examples/presence-redis/dataflow.toml",
];

/// The beginnings that this build can run: each needs the kinds that its file names.
pub(super) fn bases(registry: &Registry) -> Vec<String> {
    let texts = BASES.iter().map(|base| format!("include = [{base:?}]\n"));
    texts.filter(|text| compile(&path(), text, &[], registry).is_ok()).collect()
}

/// Where a generated topology stands, for what it includes.
pub(super) fn path() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/generated.toml").to_owned()
}

pub(super) fn topology(base: &str, dice: &mut Dice, registry: &Registry) -> String {
    let mut text = base.to_owned();
    for number in 0..3 + dice.roll(8) {
        let plan = compiled(&text, registry);
        let ports = open_ports(&plan, |_| true);
        let (input, shape) = dice.pick(&ports).clone();
        let kinds: Vec<_> = KINDS.iter().filter(|kind| kind.1(&shape).is_some()).collect();
        let (kind, options) = dice.pick(&kinds);
        let options = options(&shape).expect("just seen").replace("NEW", &format!("new{number}"));
        let _ = match *kind {
            "join" => writeln!(
                text,
                "[operators.extra{number}]\nkind = \"join\"\ninputs = {{ stream = [{input:?}], table = [{input:?}] }}\n{options}\n"
            ),
            kind => writeln!(
                text,
                "[operators.extra{number}]\nkind = {kind:?}\ninputs = [{input:?}]\n{options}\n"
            ),
        };
    }
    // Whatever nobody takes yet goes to a sink.
    let kafka = registry.find(Family::Sink, "kafka");
    let has_kafka = kafka.is_some_and(|kind| !matches!(kind.form, Form::Missing { .. }));
    let plan = compiled(&text, registry);
    let is_taken = |at: (usize, usize)| plan.edges.iter().any(|edge| edge.from == at);
    let open = open_ports(&plan, |at| !is_taken(at));
    for (number, (output, _)) in open.iter().enumerate() {
        let _ = match dice.roll(4) {
            0 if has_kafka => writeln!(
                text,
                "[sinks.s{number}]\nkind = \"kafka\"\ninputs = [{output:?}]\nbrokers = [\"127.0.0.1:9092\"]\ntopic = \"t{number}\"\n"
            ),
            _ => writeln!(
                text,
                "[sinks.s{number}]\nkind = \"file\"\ninputs = [{output:?}]\npath = \"{number}.ndjson\"\n"
            ),
        };
    }
    text
}

fn compiled(text: &str, registry: &Registry) -> Plan {
    compile(&path(), text, &[], registry).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// The names and shapes of output ports of the file.
fn open_ports(plan: &Plan, wanted: impl Fn((usize, usize)) -> bool) -> Vec<(String, Shape)> {
    let mut ports = Vec::new();
    for (id, node) in plan.nodes.iter().enumerate().filter(|(_, n)| !n.name.contains('.')) {
        for port in (0..node.outputs.len()).filter(|port| wanted((id, *port))) {
            ports.extend(
                plan.outputs[id][port].clone().map(|shape| (node.output_name(port), shape)),
            );
        }
    }
    ports
}

/// Kinds, and options for them on a shape; `None`: the shape has no field for it. `NEW` is a name that no
/// field has.
type Options = fn(&Shape) -> Option<String>;

const KINDS: [(&str, Options); 10] = [
    ("filter", |shape| Some(format!("where = \"1 / {} == 1\"", number(shape)?))),
    ("map", |shape| Some(format!("keep = [\"*\"]\nset = {{ NEW = \"1 / {}\" }}", number(shape)?))),
    ("branch", |shape| Some(format!("routes = {{ one = \"1 / {} == 1\" }}", number(shape)?))),
    ("merge", |_| Some(String::new())),
    ("sample", |shape| Some(format!("rate = 0.999\nby = \"1 / {}\"\nevery = 2", number(shape)?))),
    ("window", |shape| {
        Some(format!("every = \"1s\"\nselect = {{ total = \"sum(1 / {})\" }}", number(shape)?))
    }),
    ("count", |shape| Some(format!("by = [{:?}]\ngroups = 1", field(shape)?.0))),
    ("rate", |shape| Some(format!("by = [{:?}]\nabove = 0.05\ngroups = 1", field(shape)?.0))),
    ("join", |shape| {
        let name = field(shape)?.0;
        Some(format!("on = [{name:?}]\nadd = {{ NEW = \"1 / {}\" }}\nrows = 2", number(shape)?))
    }),
    ("deadletter", |_| Some(String::new())),
];

/// An integer over a field of the shape that takes any value.
fn number(shape: &Shape) -> Option<String> {
    let (name, kind) = field(shape)?;
    Some(if kind == FieldType::String { format!("size({name})") } else { name })
}

/// The first field that a record can be given any value of.
fn field(shape: &Shape) -> Option<(String, FieldType)> {
    let field = shape.fields().into_iter().find(|(name, slot)| {
        let some = match slot.field_type() {
            FieldType::String => Scalar::String("".into()),
            FieldType::Int => Scalar::Int(0),
            FieldType::Bool | FieldType::Double | FieldType::Strings => return false,
        };
        let given = [((*name).to_owned(), some)];
        construct(shape, &given, Making { now_ms: 1, number: 1 }).is_ok()
    });
    field.map(|(name, slot)| (name.to_owned(), slot.field_type()))
}

/// Sets each field that takes any value to that of the turn: nothing, one thing, two.
pub(super) fn turned(shape: &Shape, turn: usize, making: Making) -> imflow_proto::Record {
    let mut given = Vec::new();
    for (name, slot) in shape.fields() {
        let value = match slot.field_type() {
            FieldType::String => Scalar::String("ab"[..turn % 3].into()),
            FieldType::Int => Scalar::Int((turn % 3) as i64),
            FieldType::Bool | FieldType::Double | FieldType::Strings => continue,
        };
        let one = (name.to_owned(), value);
        if construct(shape, std::slice::from_ref(&one), making).is_ok() {
            given.push(one);
        }
    }
    construct(shape, &given, making).unwrap_or_else(|unfit| panic!("{shape}: {unfit:?}"))
}

/// Whether [`topology`] has added this node. It is beside the path, and takes whatever comes.
pub(super) fn is_added(node: &str) -> bool {
    node.starts_with("extra")
}
