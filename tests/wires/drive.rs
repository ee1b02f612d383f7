//! Plays everything that the kinds of the shipped file react to, and feeds the general operators.

use std::sync::Arc;

use imflow_kind::construct::Making;
use imflow_kind::{Act, Outside, Roles, VirtualClock};
use imflow_topology::{Injection, Plan, Simulation};

use super::generate::{is_added, turned};

/// The first of January 2026.
const START_MS: u64 = 1_767_225_600_000;
const SECOND: u64 = 1_000;

/// What devices do (`USER/DEVICE`, an envelope) and callers (a method, a path, a body), second by second.
const PLAY: &[(&str, &str)] = &[
    // A copy that is out of reach until its retries are used up.
    ("outage", "true"),
    // Before bob has a live device.
    (
        "alice/phone",
        r#"{"id":30,"send":{"conversationId":"lobby","clientMsgId":"alice-phone-2-1767225600000","type":"TEXT","text":"nobody?"}}"#,
    ),
    ("bob/phone", r#"{"id":1,"presenceSubscribe":{"userIds":["alice","carol"]}}"#),
    (
        "alice/phone",
        r#"{"id":1,"send":{"conversationId":"lobby","clientMsgId":"alice-phone-5-1767225600000","type":"TEXT","text":"hi"}}"#,
    ),
    // Again, and below the mark of the device. With a small window only the index knows the latter.
    (
        "alice/phone",
        r#"{"id":2,"send":{"conversationId":"lobby","clientMsgId":"alice-phone-5-1767225600000","type":"TEXT","text":"hi"}}"#,
    ),
    (
        "alice/phone",
        r#"{"id":3,"send":{"conversationId":"lobby","clientMsgId":"alice-phone-3-1767225600000","type":"TEXT","text":"ho"}}"#,
    ),
    (
        "alice/phone",
        r#"{"id":31,"send":{"conversationId":"lobby","clientMsgId":"alice-phone-8-1767225600000","type":"TEXT","text":"one"}}"#,
    ),
    (
        "alice/phone",
        r#"{"id":32,"send":{"conversationId":"lobby","clientMsgId":"alice-phone-4-1767225600000","type":"TEXT","text":"two"}}"#,
    ),
    (
        "alice/phone",
        r#"{"id":4,"send":{"conversationId":"lobby","clientMsgId":"nobody","type":"TEXT","text":"bad"}}"#,
    ),
    (
        "alice/phone",
        r#"{"id":5,"send":{"conversationId":"lobby","clientMsgId":"alice-phone-9-1767225600000","type":"TEXT","text":"casino"}}"#,
    ),
    (
        "carol/phone",
        r#"{"id":1,"send":{"conversationId":"lobby","clientMsgId":"carol-phone-1-1767225600000","type":"TEXT","text":"hi"}}"#,
    ),
    (
        "alice/phone",
        r#"{"id":6,"createConversation":{"conversationId":"new","type":"GROUP","members":["bob"]}}"#,
    ),
    (
        "alice/phone",
        r#"{"id":7,"createConversation":{"conversationId":"new","type":"GROUP","members":["bob"]}}"#,
    ),
    ("alice/phone", r#"{"id":8,"history":{"conversationId":"lobby","afterSeq":0,"limit":10}}"#),
    ("alice/phone", r#"{"id":33,"typing":{"conversationId":"lobby"}}"#),
    // What refers to a message asks the log for it.
    (
        "alice/phone",
        r#"{"id":9,"edit":{"conversationId":"lobby","seq":1,"clientMsgId":"alice-phone-10-1767225600000","text":"hello"}}"#,
    ),
    // Confirms the first message only, so that it is reminded of the others.
    ("bob/phone", r#"{"id":2,"delivered":{"conversationId":"lobby","seq":1}}"#),
    ("bob/phone", r#"{"id":3,"read":{"conversationId":"lobby","seq":1}}"#),
    // Of a conversation that it is no member of.
    ("carol/phone", r#"{"id":2,"presenceSubscribe":{"conversationIds":["lobby"]}}"#),
    ("get", "/v1/conversations/lobby/cursors"),
    ("put", "/v1/conversations/lobby/mutes/bob"),
    ("post", "/v1/conversations/lobby/messages"),
    ("back", "true"),
    // On another node, whose heartbeat then ends.
    ("elsewhere", r#"{"userId":"carol","deviceId":"pad","nodeId":"node-2","online":true}"#),
];

const BODIES: &[(&str, &str)] = &[
    ("/v1/conversations/lobby/mutes/bob", r#"{"until":1767225660000}"#),
    (
        "/v1/conversations/lobby/messages",
        r#"{"senderId":"robot","clientMsgId":"one","text":"beep"}"#,
    ),
];

/// Runs a plan through all of it and some minutes more.
///
/// # Errors
/// When it cannot be built, or does not come to rest.
pub(crate) fn drive(mut plan: Plan) -> Result<Simulation, String> {
    let injections = injections(&mut plan);
    let nodes: Vec<String> = plan.nodes.iter().map(|node| node.name.clone()).collect();
    let roles = Roles::default();
    let simulation = Simulation::start(plan, &roles, Arc::new(VirtualClock::at(START_MS)));
    let mut simulation = simulation.map_err(|error| error.to_string())?;
    let outsides = nodes.iter().filter_map(|name| roles.find::<Arc<dyn Outside>>(name));
    let outsides: Vec<_> = outsides.collect();
    let mut now = START_MS;
    for (number, (who, what)) in PLAY.iter().enumerate() {
        outsides.iter().for_each(|outside| play(outside.as_ref(), who, what));
        feed(&injections, number, now);
        now += SECOND;
        simulation.advance_to(now).map_err(|error| error.to_string())?;
    }
    simulation.advance_to(now + 600 * SECOND).map_err(|error| error.to_string())?;
    Ok(simulation)
}

/// Acts at a node that knows such an act.
fn play(outside: &dyn Outside, who: &str, what: &str) {
    let script = outside.script();
    let name = if script.actor.is_some() { "envelope" } else { who };
    let Some(action) = script.actions.iter().find(|action| action.name == name) else { return };
    let is_device = who.contains('/');
    if is_device != script.actor.is_some() {
        return;
    }
    let body = BODIES.iter().find(|(path, _)| *path == what).map(|(_, body)| (*body).to_owned());
    let (actor, value) = match is_device {
        true => (who.to_owned(), what.to_owned()),
        false if what == "true" || what.starts_with('{') => (String::new(), what.to_owned()),
        false => (String::new(), format!("{what:?}")),
    };
    let act = Act { actor, action: action.name, value, body };
    outside.check(&act).unwrap_or_else(|error| panic!("{act:?}: {error}"));
    outside.act(&act);
}

/// The ways into the operators that were added. The path itself is not fed: it trusts what has come
/// through its beginning.
fn injections(plan: &mut Plan) -> Vec<Injection> {
    let mut injections = Vec::new();
    // A part that splitting has made bears the name of the whole and a dot.
    let is_whole = |name: &str| is_added(name) && !name.contains('.');
    for node in 0..plan.nodes.len() {
        if is_whole(&plan.nodes[node].name) {
            let ports = 0..plan.nodes[node].kind.description.inputs.len();
            injections.extend(ports.filter_map(|port| plan.add_injection((node, port))));
        }
    }
    injections
}

fn feed(injections: &[Injection], number: usize, now_ms: u64) {
    for injection in injections {
        for turn in 0..4 {
            let making = Making { now_ms, number: (number * 4 + turn) as u64 + 1 };
            injection.send(&turned(&injection.shape, turn, making));
        }
    }
}
