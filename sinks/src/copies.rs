//! What sinks that keep a copy of the log in another system have in common: how they follow it, and what
//! a test can do there.

use imflow_kind::{Action, ActionValue, Opt, OptType, RoleName, Script};

/// The log that is copied.
pub(crate) const OF: Opt =
    Opt::required("of", OptType::Reference(RoleName::Journal), "the sink that keeps the log");

pub(crate) const BATCH: Opt =
    Opt::new("batch", OptType::Integer(1, 10_000), "1000", "records written at once, at most");

pub(crate) const WINDOW: Opt = Opt::new(
    "window",
    OptType::Duration(0, 1_000),
    "5ms",
    "how long records gather after the first",
);

/// `doc` says what is before what.
pub(crate) const fn retries(doc: &'static str) -> Opt {
    Opt::new("retries", OptType::Integer(0, 100), "5", doc)
}

pub(crate) const PAUSE: Opt = Opt::new(
    "pause",
    OptType::Duration(10, 60_000),
    "100ms",
    "before the second attempt; doubled at each further one, up to 5s",
);

pub(crate) static SCRIPT: Script = Script {
    actor: None,
    actions: &[
        flag("outage", "the other system is out of reach from here on"),
        flag("back", "and can be reached again"),
    ],
    sees: "copied",
};

const fn flag(name: &'static str, doc: &'static str) -> Action {
    Action { name, value: ActionValue::Flag, body: false, doc }
}
