//! `[service]`.

use super::{Service, unknown_key};
use crate::codes::Code;
use crate::diagnostic::Diagnostics;
use crate::document::{Document, Tree};

pub(crate) fn default_service() -> Service {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    Service {
        data: "./data".to_owned(),
        node: "node-1".to_owned(),
        partitions: 64,
        workers: (cores / 2).max(1),
    }
}

pub(super) fn read_service(
    entries: &Document,
    service: &mut Service,
    diagnostics: &mut Diagnostics,
) {
    for (key, item) in entries {
        let wrong = |diagnostics: &mut Diagnostics, expected: &str| {
            let found = format!("expected {expected}, found {}", item.value.type_name());
            diagnostics.error(
                Code::BadValue,
                &item.span,
                format!("`service.{}` cannot take this value", key.name),
                found,
            );
        };
        let number = match key.name.as_str() {
            "partitions" | "workers" => item.plain_from_variable(),
            _ => None,
        };
        match (key.name.as_str(), number.as_ref().unwrap_or(&item.value)) {
            ("data", Tree::Text(text)) if !text.is_empty() && !text.contains('\0') => {
                service.data.clone_from(text)
            }
            ("data", _) => wrong(diagnostics, "the path of a folder"),
            ("node", Tree::Text(text)) if imflow_proto::id::is_valid(text) => {
                service.node.clone_from(text)
            }
            ("node", _) => wrong(diagnostics, "a name of 1 to 64 bytes without white space"),
            ("partitions", Tree::Integer(n @ 1..=4096)) => service.partitions = *n as u32,
            ("partitions", _) => wrong(diagnostics, "an integer from 1 to 4096"),
            ("workers", Tree::Integer(n @ 1..=64)) => service.workers = *n as usize,
            ("workers", _) => wrong(diagnostics, "an integer from 1 to 64"),
            (name, _) => {
                unknown_key(
                    key,
                    name,
                    &["data", "node", "partitions", "workers"],
                    "`[service]`",
                    diagnostics,
                );
            }
        }
    }
}
