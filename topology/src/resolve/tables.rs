//! `[service]` and `[listeners.NAME]`.

use super::{Listener, Service, missing, table, unknown_key};
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

pub(super) fn read_listeners(
    entries: &Document,
    listeners: &mut Vec<Listener>,
    diagnostics: &mut Diagnostics,
) {
    for (key, item) in entries {
        let Some(entries) = table(key, item, diagnostics) else { continue };
        let mut address = None;
        for (option, item) in entries {
            match (option.name.as_str(), &item.value) {
                ("address", Tree::Text(text)) => match text.parse() {
                    Ok(parsed) => address = Some((parsed, item.span.clone())),
                    Err(_) => {
                        let message = format!("`{text}` is not an address");
                        diagnostics
                            .error(Code::BadValue, &item.span, message, "expected IP:PORT")
                            .help("for example \"127.0.0.1:8080\", or \"0.0.0.0:8080\" for all interfaces");
                        address = Some((([127, 0, 0, 1], 0).into(), item.span.clone()));
                    }
                },
                ("address", other) => {
                    let found = format!("expected a text, found {}", other.type_name());
                    diagnostics.error(
                        Code::WrongType,
                        &item.span,
                        "`address` is not a text".to_owned(),
                        found,
                    );
                }
                (name, _) => {
                    unknown_key(option, name, &["address"], "a listener", diagnostics);
                }
            }
        }
        match address {
            Some((address, span)) => {
                listeners.push(Listener { name: key.name.clone(), address, span })
            }
            None => missing(
                &key.span,
                &format!("listener `{}`", key.name),
                "address",
                "\"127.0.0.1:8080\"",
                diagnostics,
            ),
        }
    }
}
