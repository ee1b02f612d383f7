//! Sink `push`: hands replies and pushes to the connections of a gateway.
//!
//! Order: a batch is delivered as it came. What a slow connection cannot take is the gateway's to
//! decide; this sink keeps nothing.

use std::sync::{Arc, OnceLock};

use imflow_kind::{
    Description, Family, Injector, Intake, IoContext, Key, Kind, Opt, OptType, Outboxes, Port,
    RoleName, Roles, Sink, StartError, State, Time,
};
use imflow_proto::{Record, RecordType};

/// `records: Committed | Reply | Rejection | Delivery | Presence`
///
/// Source: SPEC G7, M4.
pub static DESCRIPTION: Description = Description {
    name: "push",
    family: Family::Sink,
    summary: "sends acks, replies, errors and pushes to connected clients",
    doc: "A committed message becomes the ack of its sender, a rejection an error, a reply a reply; deliveries and presence are \
          pushed to the sessions that they name. `to` names the source that holds the connections.",
    key: Key::Inherit,
    state: State::None,
    inputs: &[Port::of(
        "records",
        &[
            RecordType::Committed,
            RecordType::Reply,
            RecordType::Rejection,
            RecordType::Delivery,
            RecordType::Presence,
        ],
        "what clients get to see",
    )],
    outputs: &[],
    options: &[Opt::required(
        "to",
        OptType::Reference(RoleName::Outboxes),
        "the source whose connections are pushed to",
    )],
    provides: &[],
    ..Description::EMPTY
};

/// The kind `push`.
pub fn kind() -> Kind {
    Kind::sink(&DESCRIPTION, build)
}

fn build(context: &IoContext) -> Result<Box<dyn Sink>, StartError> {
    let (name, to) = (context.name.clone(), context.options.text("to").to_owned());
    Ok(Box::new(Push { name, to, roles: context.roles.clone(), found: Arc::default() }))
}

struct Push {
    name: String,
    to: String,
    roles: Roles,
    /// Found at start, when every source has offered its own.
    found: Found,
}

type Found = Arc<OnceLock<Arc<dyn Outboxes>>>;

impl Sink for Push {
    fn intake(&mut self, _worker: usize) -> Box<dyn Intake> {
        Box::new(PushIntake(Arc::clone(&self.found)))
    }

    fn start(&mut self, _injector: Arc<dyn Injector>) -> Result<(), StartError> {
        let outboxes = self.roles.find::<Arc<dyn Outboxes>>(&self.to).ok_or_else(|| {
            StartError::new(format!("sink `{}` pushes to `{}`, which holds no connections; `to` must name a source of kind `websocket`", self.name, self.to))
        })?;
        self.found.get_or_init(|| outboxes);
        Ok(())
    }
}

struct PushIntake(Found);

impl Intake for PushIntake {
    fn on_batch(&mut self, _now: Time, _port: usize, records: &mut Vec<Record>) {
        match self.0.get() {
            Some(outboxes) => outboxes.deliver(std::mem::take(records)),
            // Nothing can have come in before the start, so there is nobody to tell.
            None => records.clear(),
        }
    }
}
