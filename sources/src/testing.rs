//! What the crate's tests share: options at their defaults, and a dataflow that is a list.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use imflow_kind::{Applied, Injector, Opt, OptType, Options, Value};
use imflow_proto::Record;
use imflow_proto::ticket::Credit;
use imflow_proto::wire::{Error, ErrorCode};
use parking_lot::Mutex;

/// The options of a kind as an empty table gives them.
pub(crate) fn defaults(options: &'static [Opt]) -> Options {
    let mut values = Options::default();
    for option in options {
        let text = option.default.unwrap_or_default();
        values.set(option.name, value(option.kind, text));
    }
    values
}

fn value(kind: OptType, text: &str) -> Value {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits.parse().unwrap_or_default();
    match (kind, &text[digits.len()..]) {
        (OptType::Bool, _) => Value::Bool(text == "true"),
        (OptType::Integer(..), _) => Value::Integer(number as i64),
        (OptType::Duration(..), "ms") => Value::Duration(Duration::from_millis(number)),
        (OptType::Duration(..), _) => Value::Duration(Duration::from_secs(number)),
        (OptType::Size(..), "MiB") => Value::Size(number << 20),
        (OptType::Size(..), _) => Value::Size(number << 10),
        (OptType::Lists, _) => Value::Lists(Default::default()),
        _ => Value::Text(text.to_owned()),
    }
}

/// Takes what is sent and lets the test answer it.
#[derive(Default)]
pub(crate) struct FakeInjector {
    sent: Mutex<Vec<(usize, Vec<Record>)>>,
    /// `None`: as much as anybody wants.
    credit: Mutex<Option<usize>>,
    reaction: Mutex<Option<Reaction>>,
}

type Reaction = Box<dyn FnMut(&Record) + Send>;

struct Unit;
impl Credit for Unit {}

impl FakeInjector {
    /// Calls `reaction` for each record as it comes, in place of keeping it.
    pub(crate) fn reacting(reaction: impl FnMut(&Record) + Send + 'static) -> Arc<Self> {
        Arc::new(Self { reaction: Mutex::new(Some(Box::new(reaction))), ..Self::default() })
    }

    pub(crate) fn set_credit(&self, credit: usize) {
        *self.credit.lock() = Some(credit);
    }

    /// Ports and records, as they came.
    pub(crate) fn sent(&self) -> Vec<(usize, Vec<Record>)> {
        std::mem::take(&mut self.sent.lock())
    }
}

impl Injector for FakeInjector {
    fn worker_of(&self, _conversation_id: &str) -> usize {
        0
    }

    fn credit(
        &self,
        _worker: usize,
        _port: usize,
        _bytes: usize,
    ) -> Result<Box<dyn Credit>, Error> {
        match &mut *self.credit.lock() {
            Some(0) => return Err(Error::of(ErrorCode::Busy, "no credit")),
            Some(credit) => *credit -= 1,
            None => {}
        }
        Ok(Box::new(Unit))
    }

    fn credit_returned(&self, _worker: usize) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::task::yield_now())
    }

    fn send(&self, _worker: usize, port: usize, records: Vec<Record>) {
        match &mut *self.reaction.lock() {
            Some(reaction) => records.iter().for_each(reaction),
            None => self.sent.lock().push((port, records)),
        }
    }

    fn send_and_track(&self, worker: usize, port: usize, records: Vec<Record>, applied: Applied) {
        self.send(worker, port, records);
        drop(applied);
    }
}
