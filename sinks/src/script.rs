//! What a test can do at a sink that keeps a copy in another system, and see there.

use imflow_kind::{Action, ActionValue, Script};

pub(crate) static COPY: Script = Script {
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
