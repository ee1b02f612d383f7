//! Sink `push`: hands replies and pushes to the connections of a gateway.
//!
//! Order: a batch is delivered as it came. What a slow connection cannot take is the gateway's to
//! decide; this sink keeps nothing.

use std::sync::{Arc, OnceLock};

use imflow_kind::{
    Description, Family, Injector, Intake, IoContext, Key, Kind, Opt, OptType, Outboxes, Port,
    RoleName, Roles, Sink, StartError, State, Time,
};
use imflow_proto::record::{Refused, Rejection};
use imflow_proto::wire::{Error, ErrorCode};
use imflow_proto::{Record, RecordType};

/// `records: Committed | Reply | Rejection | Delivery | Presence | Nudge | Submission`
///
/// Errors: FORBIDDEN. Source: SPEC G7, M4.
pub static DESCRIPTION: Description = Description {
    name: "push",
    family: Family::Sink,
    summary: "sends acks, replies, errors and pushes to connected clients",
    doc: "A committed message becomes the ack of its sender, a rejection an error, a reply a reply; deliveries, presence and nudges are \
          pushed to the users and sessions that they name. A message that arrives as it was sent has left the path here, as from \
          `dropped` of a filter: its sender is told FORBIDDEN, and by which node. `to` names the source that holds the connections.",
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
            RecordType::Nudge,
            RecordType::Submission,
        ],
        "what clients get to see",
    )
    .pays()],
    outputs: &[],
    options: &[Opt::required(
        "to",
        OptType::Reference(RoleName::Outboxes),
        "the source whose connections are pushed to",
    )],
    provides: &[],
    example: "[sinks.push]\n\
              kind = \"push\"\n\
              to = \"clients\"\n\
              inputs = [\n\
              \x20   \"store.committed\",\n\
              \x20   \"fanout\",\n\
              \x20   \"valid.rejected\",\n\
              \x20   \"fresh.repeated\",\n\
              \x20   \"allowed.denied\",\n\
              \x20   \"online\",\n\
              \x20   \"online.replies\",\n\
              \x20   \"followed.refused\",\n\
              \x20   \"reader\",\n\
              ]\n",
    ..Description::EMPTY
};

/// The kind `push`.
pub fn kind() -> Kind {
    Kind::sink(&DESCRIPTION, build).simulated_as_it_is()
}

fn build(context: &IoContext) -> Result<Box<dyn Sink>, StartError> {
    let (name, to) = (context.name.clone(), context.options.text("to").to_owned());
    let droppers: Vec<&str> = (context.feeds.iter())
        .filter(|feed| feed.record == RecordType::Submission)
        .map(|feed| &*feed.from)
        .collect();
    let forbidden = Arc::new(forbidden(&droppers));
    Ok(Box::new(Push { name, to, forbidden, roles: context.roles.clone(), found: Arc::default() }))
}

/// The error of a message that left the path at one of these nodes.
fn forbidden(droppers: &[&str]) -> Error {
    let by = match droppers {
        [dropper] => format!("`{dropper}`"),
        _ => "a rule".to_owned(),
    };
    let sentence =
        format!("{by} of this service's dataflow lets no such message pass; nothing was stored");
    Error::of(ErrorCode::Forbidden, sentence)
}

struct Push {
    name: String,
    to: String,
    forbidden: Arc<Error>,
    roles: Roles,
    /// Found at start, when every source has offered its own.
    found: Found,
}

type Found = Arc<OnceLock<Arc<dyn Outboxes>>>;

impl Sink for Push {
    fn intake(&mut self, _worker: usize) -> Box<dyn Intake> {
        Box::new(PushIntake {
            found: Arc::clone(&self.found),
            forbidden: Arc::clone(&self.forbidden),
        })
    }

    fn start(&mut self, _injector: Arc<dyn Injector>) -> Result<(), StartError> {
        let outboxes = self.roles.find::<Arc<dyn Outboxes>>(&self.to).ok_or_else(|| {
            StartError::new(format!("sink `{}` pushes to `{}`, which holds no connections; `to` must name a source of kind `websocket`", self.name, self.to))
        })?;
        self.found.get_or_init(|| outboxes);
        Ok(())
    }
}

struct PushIntake {
    found: Found,
    forbidden: Arc<Error>,
}

impl Intake for PushIntake {
    fn on_batch(&mut self, _now: Time, _port: usize, records: &mut Vec<Record>) {
        for record in &mut *records {
            if let Record::Submission(submission) = record {
                let refused = Refused::Submission(Arc::clone(submission));
                let error = (*self.forbidden).clone();
                *record = Record::Rejection(Arc::new(Rejection { refused, error }));
            }
        }
        match self.found.get() {
            Some(outboxes) => outboxes.deliver(std::mem::take(records)),
            // Nothing can have come in before the start, so there is nobody to tell.
            None => records.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_left_the_path_is_told_by_which_node_if_that_is_known() {
        let told = |droppers: &[&str]| forbidden(droppers).message;
        assert!(told(&["no_files"]).starts_with("`no_files` of this service's"));
        assert!(told(&["no_files", "no_links"]).starts_with("a rule of this service's"));
    }
}
