//! What connected clients would notice of a change.

use std::collections::BTreeMap;

use super::{Action, Changes, NodeChange};
use crate::outline::{NodeOutline, Outline};

pub(super) fn notice(old: &Outline, new: &Outline, changes: &Changes) -> Vec<String> {
    let mut notices = Vec::new();
    for setting in &changes.listeners {
        notices.push(match (&setting.old, &setting.new) {
            (Some(old), Some(new)) => format!(
                "clients of listener `{}` must connect to {new} instead of {old}",
                setting.name
            ),
            (Some(old), None) => format!("nothing listens on {old} any more"),
            (None, Some(new)) => format!("clients can connect to {new} too"),
            (None, None) => continue,
        });
    }
    for change in &changes.nodes {
        let (before, after) = (earlier(old, change), find(new, &change.name));
        let either = after.or(before);
        let Some(node) = either else { continue };
        if node.clients.holds {
            notices.extend(connections(change));
        } else if let Some(gateway) = &node.clients.pushes_to {
            notices.extend(pushes(change, gateway));
        } else if node.clients.decides {
            notices.extend(decisions(change));
        }
    }
    notices
}

fn find<'a>(outline: &'a Outline, name: &str) -> Option<&'a NodeOutline> {
    outline.nodes.iter().find(|node| node.name == name)
}

fn earlier<'a>(old: &'a Outline, change: &NodeChange) -> Option<&'a NodeOutline> {
    find(old, change.was.as_deref().unwrap_or(&change.name))
}

fn connections(change: &NodeChange) -> Option<String> {
    let name = &change.name;
    match change.action {
        Action::Added => Some(format!("clients can connect to `{name}`")),
        Action::Removed => {
            Some(format!("clients of `{name}` are disconnected and cannot come back"))
        }
        Action::Replaced => Some(format!("clients of `{name}` are disconnected and connect again")),
        Action::Changed if change.settings.is_empty() => None,
        Action::Changed => Some(format!(
            "clients of `{name}` connect again and meet its new {}",
            words(change.settings.iter().map(|setting| setting.name.as_str()))
        )),
        Action::Renamed => Some(format!("clients of `{name}` connect again")),
    }
}

/// By record type: what is pushed no more, and what is pushed too.
fn pushes(change: &NodeChange, gateway: &str) -> Vec<String> {
    let mut by_record: BTreeMap<(bool, &str), Vec<&str>> = BTreeMap::new();
    for wire in &change.wires {
        by_record.entry((wire.added, &wire.record)).or_default().push(&wire.from);
    }
    let notice = |((added, record), from): ((bool, &str), Vec<&str>)| {
        let (verb, from) = (if added { "get" } else { "no longer get" }, words(from.into_iter()));
        let effect = match record {
            "Committed" => "acks",
            "Rejection" => "refusals",
            "Reply" => "replies",
            "Delivery" => "pushed messages",
            "Presence" => "presence notices",
            "Submission" => "refusals of what was filtered out",
            other => other,
        };
        format!("clients of `{gateway}` {verb} {effect} from {from}")
    };
    by_record.into_iter().map(notice).collect()
}

fn decisions(change: &NodeChange) -> Option<String> {
    let (name, kind) = (&change.name, &change.kind);
    Some(match change.action {
        Action::Added => format!("commands pass `{name}` (`{kind}`) too and may be answered by it"),
        Action::Removed => format!("commands no longer pass `{name}` (`{kind}`)"),
        Action::Replaced => format!("commands are judged by `{kind}` at `{name}`"),
        Action::Renamed => return None,
        Action::Changed if change.settings.is_empty() => {
            format!("other commands, or by another way, come to `{name}` (`{kind}`)")
        }
        Action::Changed => format!(
            "`{name}` (`{kind}`) answers by its new {}",
            words(change.settings.iter().map(|setting| setting.name.as_str()))
        ),
    })
}

fn words<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
