//! `imflow list`: the kinds of this build, a line each.

use std::fmt::Write as _;

use clap::Args;
use imflow_kind::Family;
use serde_json::json;

use super::explain::{FAMILIES, family_title};
use crate::{Failure, assembly, terminal};

/// List the kinds of sources, operators and sinks that this build holds
///
///   imflow list
///   imflow list --json | jq -r '.[] | select(.family == "sink").name'
///   imflow explain filter                      all that there is to know of one of them
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct ListArgs {
    /// As a JSON array of objects with name, family and summary
    #[arg(long)]
    json: bool,
}

pub fn list(args: &ListArgs) -> Result<(), Failure> {
    let registry = assembly::registry();
    let kinds = |family: Family| {
        let kinds = registry.kinds().iter().map(|kind| kind.description);
        kinds.filter(move |kind| kind.family == family)
    };
    if args.json {
        let all = FAMILIES.into_iter().flat_map(kinds).map(|kind| {
            json!({ "name": kind.name, "family": kind.family.word(), "summary": kind.summary })
        });
        return terminal::print(&format!("{:#}\n", serde_json::Value::from_iter(all)));
    }
    let longest =
        FAMILIES.into_iter().flat_map(kinds).map(|kind| kind.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for family in FAMILIES {
        let _ = writeln!(text, "{}", family_title(family));
        for kind in kinds(family) {
            let _ = writeln!(text, "  {:<longest$}  {}", kind.name, kind.summary);
        }
        text.push('\n');
    }
    text += "`imflow explain KIND` tells the rest.\n";
    terminal::print(&text)
}
