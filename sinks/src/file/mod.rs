//! Sink `file`: records of any type as JSON lines, in files that rotate.
//!
//! It watches and never holds anybody up: what its thread cannot write in time is dropped and counted.
//! The message path's own log is the sink `log`.

mod rotation;
mod writer;

use std::sync::Arc;
use std::thread::JoinHandle;

use imflow_kind::{
    ANY, Claim, ClaimKey, Description, Family, Injector, Intake, IoContext, Key, Kind, Limit, Opt,
    OptType, Port, Sink, StartError, State, Time,
};
use imflow_proto::Record;

use crate::discard;
use crate::queue::Queue;
pub(crate) use rotation::Rotation;
use writer::Writer;

/// Records that may wait for the thread.
const WAITING_RECORDS: usize = 65_536;

/// `records: any`
///
/// Source: SPEC T4.
pub static DESCRIPTION: Description = Description {
    name: "file",
    family: Family::Sink,
    summary: "writes records of any type as JSON lines",
    doc: "One line for each record, a JSON object of its fields. A file that has reached `rotate` is renamed to `PATH.1`, \
          older ones to `PATH.2` and on; `keep` of them stay. Lines are handed to the operating system at once and to the \
          disk within a second. When the disk is slow, full or gone, lines are dropped and counted; the service goes on, and \
          so does the file when the disk is back.",
    key: Key::Inherit,
    state: State::None,
    inputs: &[Port::of("records", ANY, "what to write")],
    options: &[
        Opt::required("path", OptType::Text, "the file; a relative path is below `service.data`"),
        Opt::new(
            "rotate",
            OptType::Size(1 << 10, 1 << 40),
            "64MiB",
            "size of a file at which the next begins",
        ),
        Opt::new("keep", OptType::Integer(0, 10_000), "10", "full files that stay"),
    ],
    claims: &[Claim { thing: "the file", key: &[ClaimKey::Option("path")] }],
    limits: &[Limit {
        what: "records waiting to be written",
        bound: "65,536",
        policy: "further ones are dropped and counted",
    }],
    example: "[sinks.mirror]\nkind = \"file\"\ninputs = [\"store.committed\"]\npath = \"mirror.ndjson\"\nrotate = \"256MiB\"\n",
    ..Description::EMPTY
};

/// The kind `file`.
pub fn kind() -> Kind {
    Kind::sink(&DESCRIPTION, build).simulated_by(discard::form())
}

fn build(context: &IoContext) -> Result<Box<dyn Sink>, StartError> {
    let options = &context.options;
    let path = context.data.join(options.text("path"));
    let rotation = Rotation::open(
        path.clone(),
        options.size("rotate"),
        options.integer("keep") as usize,
    )
    .map_err(|error| {
        StartError::new(format!(
            "cannot open `{}`: {error}; name another file with `path`, or make its folder writable",
            path.display()
        ))
    })?;
    let (queue, inbox) = Queue::new(WAITING_RECORDS);
    let writer = Writer::new(inbox, rotation, queue.waiting());
    Ok(Box::new(File { name: context.name.clone(), queue, writer: Some(writer), thread: None }))
}

struct File {
    name: String,
    queue: Queue,
    writer: Option<Writer>,
    thread: Option<JoinHandle<()>>,
}

impl Sink for File {
    fn intake(&mut self, _worker: usize) -> Box<dyn Intake> {
        Box::new(FileIntake { name: self.name.clone(), queue: self.queue.clone() })
    }

    fn start(&mut self, _injector: Arc<dyn Injector>) -> Result<(), StartError> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let thread =
            std::thread::Builder::new().name(self.name.clone()).spawn(move || writer.run());
        self.thread =
            Some(thread.map_err(|error| {
                StartError::new(format!("a thread cannot be started: {error}"))
            })?);
        Ok(())
    }

    fn stop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(sink = self.name, "the thread of the file ended with a panic");
        }
    }
}

struct FileIntake {
    name: String,
    queue: Queue,
}

impl Intake for FileIntake {
    fn on_batch(&mut self, _now: Time, _port: usize, records: &mut Vec<Record>) {
        self.queue.offer(&self.name, std::mem::take(records));
    }
}

#[cfg(test)]
mod tests;
