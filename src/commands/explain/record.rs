//! The page of a record type: its fields, and the ports that carry it.

use imflow_kind::fields::fields_of;
use imflow_kind::{Description, Port, record_meaning};
use imflow_proto::RecordType;
use imflow_topology::Registry;

use super::page::{Block, Entry, Page};

pub fn page(record: RecordType, registry: &Registry) -> Page {
    let mut blocks = vec![Block::Text(record_meaning(record).to_owned())];
    blocks.push(Block::Heading("Fields".to_owned()));
    let fields = fields_of(record).iter().map(|(name, slot)| Entry {
        name: format!("`{name}`"),
        note: slot.field_type().to_string(),
        meaning: String::new(),
    });
    let rows: Vec<_> = fields.collect();
    blocks.push(match record {
        RecordType::Row => Block::Text(
            "The file names them: the kind that makes the rows derives their names and types."
                .to_owned(),
        ),
        _ => Block::Entries { columns: &["field", "type"], rows },
    });
    let (makers, takers) = (makers(record, registry), takers(record, registry));
    for (title, ports) in [("Made by", makers), ("Taken by", takers)] {
        if !ports.is_empty() {
            blocks.push(Block::Heading(title.to_owned()));
            let ports: Vec<_> = ports.iter().map(|port| format!("`{port}`")).collect();
            blocks.push(Block::Text(ports.join(", ")));
        }
    }
    Page { title: format!("{record:?}"), blocks }
}

/// `KIND.PORT` of each output port of this type.
pub fn makers(record: RecordType, registry: &Registry) -> Vec<String> {
    ports(record, registry, |kind| kind.outputs)
}

/// `KIND.PORT` of each input port that names this type; kinds that take any are not listed.
pub fn takers(record: RecordType, registry: &Registry) -> Vec<String> {
    ports(record, registry, |kind| kind.inputs)
}

fn ports(
    record: RecordType,
    registry: &Registry,
    side: fn(&Description) -> &'static [Port],
) -> Vec<String> {
    let of = |kind: &'static Description| {
        let carries = side(kind).iter().filter(move |port| port.types.contains(&record));
        carries.map(|port| format!("{}.{}", kind.name, port.name))
    };
    registry.kinds().iter().flat_map(|kind| of(kind.description)).collect()
}
