//! `bench log`: the log by itself against the disk under it.
//!
//! Both write the same bytes to the same disk in turns: the log with its encoding, checksums, completions
//! and index, the loop with write and fdatasync and nothing else.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use imflow_kind::testing::{FakeInjector, io_context};
use imflow_kind::{Form, Injector, Intake, Options, Sink, Time, Value};
use imflow_proto::record::{Entry, Record};
use imflow_proto::wire::{Message, MessageType};
use prost::Message as _;

use crate::failure::{Context as _, Failure};
use crate::machine;
use crate::report::{Report, grouped};
use crate::text;

/// Of the plain loop's rate.
const WANTED: f64 = 0.8;
/// Bytes of a record before its message.
const HEAD: usize = 17;
const TEXT: usize = 1_000;
const CONVERSATIONS: usize = 1_000;
const SEGMENT: u64 = 64 << 20;
/// For one commit.
const PATIENCE: Duration = Duration::from_secs(600);

/// The log by itself: commits of 100 and of 1,000 records of 1 KB, one after the other
///
/// In turns with a loop that writes the same bytes to a zeroed file and syncs it; the middle one of the
/// rounds' ratios counts. Figure: >= 0.8 of the loop.
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct LogArgs {
    /// Where to write; by default the folder for temporary files
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Rounds of each
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

impl Default for LogArgs {
    fn default() -> Self {
        Self { folder: None, rounds: 9 }
    }
}

pub(crate) fn run(args: &LogArgs) -> Result<Report, Failure> {
    let folder = match &args.folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let folder = folder.context(|| "making a folder for the log".to_owned())?;
    let mut report = Report::new("log: by itself, records of 1 KB, one commit after the other");
    for batch in [100, 1_000] {
        let mut log = Log::open(&folder.path().join(batch.to_string()))?;
        let raw = RawFile::create(folder.path())?;
        let mut pairs = Vec::new();
        for _ in 0..args.rounds {
            // About as many bytes a round, whatever the batch.
            let commits = 16_000 / batch;
            let (bytes, took) = log.round(batch, commits)?;
            pairs.push((took, raw.round(bytes / commits, commits)?, bytes));
        }
        log.sink.stop();
        let mut ratios: Vec<f64> =
            pairs.iter().map(|(log, raw, _)| raw.as_secs_f64() / log.as_secs_f64()).collect();
        ratios.sort_by(f64::total_cmp);
        let middle = ratios[ratios.len() / 2];
        report.goal(
            &format!("commits of {batch}"),
            format!("{middle:.2} of the plain loop"),
            format!(">= {WANTED}"),
            middle >= WANTED,
        );
        let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
        let rate = |took: &dyn Fn(&(Duration, Duration, usize)) -> Duration| {
            let (seconds, bytes) = pairs.iter().fold((0.0, 0), |(seconds, bytes), pair| {
                (seconds + took(pair).as_secs_f64(), bytes + pair.2)
            });
            grouped((bytes as f64 / 1024.0 / seconds) as u64)
        };
        report.note(
            &format!("commits of {batch}"),
            format!(
                "rounds from {least:.2} to {most:.2}; log {} KiB/s, loop {} KiB/s",
                rate(&|pair| pair.0),
                rate(&|pair| pair.1)
            ),
        );
    }
    report.note("machine", machine::load());
    Ok(report)
}

/// The sink as the service has it, fed by hand.
struct Log {
    sink: Box<dyn Sink>,
    intake: Box<dyn Intake>,
    durable: Arc<Durable>,
    next_seq: u64,
    texts: Vec<String>,
}

impl Log {
    fn open(data: &Path) -> Result<Self, Failure> {
        let mut options = Options::default();
        for opt in imflow_sinks::log::DESCRIPTION.options {
            if let Some(value) = imflow_topology::default_of(opt) {
                options.set(opt.name, value);
            }
        }
        options.set("segment", Value::Size(SEGMENT));
        let context = io_context("store", options, data);
        let Form::Sink(build) = imflow_sinks::log::kind().form else {
            return Err(Failure::new("the kind `log` is no sink"));
        };
        let mut sink = build(&context).context(|| format!("opening {}", data.display()))?;
        let durable = Arc::new(Durable::here());
        let counted = Arc::clone(&durable);
        let injector = FakeInjector::reacting(move |_| counted.count());
        let intake = sink.intake(0);
        sink.start(injector as Arc<dyn Injector>).context(|| "starting the log".to_owned())?;
        let texts = text::plain(TEXT).into_iter().map(|text| text.text).collect();
        Ok(Self { sink, intake, durable, next_seq: 1, texts })
    }

    /// Commits so many batches, each when the one before is durable; gives the bytes and the time.
    fn round(&mut self, batch: usize, commits: usize) -> Result<(usize, Duration), Failure> {
        let mut bytes = 0;
        let mut batches: Vec<Vec<Record>> = Vec::with_capacity(commits);
        for _ in 0..commits {
            let messages: Vec<Message> = (0..batch).map(|_| self.message()).collect();
            bytes += messages.iter().map(|message| HEAD + message.encoded_len()).sum::<usize>();
            let entry = |message| Record::Ordered(Arc::new(Entry::recovered(0, message)));
            batches.push(messages.into_iter().map(entry).collect());
        }
        let begin = Instant::now();
        for mut records in batches {
            self.durable.expect(batch);
            self.intake.on_batch(Time::default(), 0, &mut records);
            self.durable.wait()?;
        }
        Ok((bytes, begin.elapsed()))
    }

    fn message(&mut self) -> Message {
        let n = self.next_seq as usize;
        self.next_seq += 1;
        Message {
            conversation_id: format!("conversation-{}", n % CONVERSATIONS),
            seq: (n / CONVERSATIONS) as u64 + 1,
            server_msg_id: n as i64,
            client_msg_id: format!("user-phone-{n}-1700000000000"),
            sender_id: "user".into(),
            r#type: MessageType::Text.into(),
            text: self.texts[n % self.texts.len()].clone(),
            payload: Default::default(),
            created_at: 1_700_000_000_000 + n as i64,
            ..Default::default()
        }
    }
}

/// Lets the one who feeds the log sleep until the log has answered, as a worker does.
struct Durable {
    /// Records that the log has not answered.
    missing: AtomicUsize,
    waits: Thread,
}

impl Durable {
    fn here() -> Self {
        Self { missing: AtomicUsize::new(0), waits: thread::current() }
    }

    fn expect(&self, records: usize) {
        self.missing.store(records, Ordering::Release);
    }

    fn count(&self) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waits.unpark();
        }
    }

    fn wait(&self) -> Result<(), Failure> {
        let begin = Instant::now();
        while self.missing.load(Ordering::Acquire) > 0 {
            if begin.elapsed() > PATIENCE {
                return Err(Failure::new("the log commits no more"));
            }
            thread::park_timeout(PATIENCE);
        }
        Ok(())
    }
}

/// A zeroed file as large as a segment.
struct RawFile(File);

impl RawFile {
    fn create(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join("raw");
        let doing = || format!("preparing {}", path.display());
        let file = File::create(&path).context(doing)?;
        let zeros = vec![0; 1 << 20];
        for megabyte in 0..SEGMENT >> 20 {
            file.write_all_at(&zeros, megabyte << 20).context(doing)?;
        }
        file.sync_all().context(doing)?;
        Ok(Self(file))
    }

    /// Writes and syncs so many times.
    fn round(&self, bytes: usize, commits: usize) -> Result<Duration, Failure> {
        let doing = || "writing in the plain loop".to_owned();
        let block = vec![0xA5; bytes];
        let begin = Instant::now();
        let mut at = 0;
        for _ in 0..commits {
            if at + bytes as u64 > SEGMENT {
                at = 0;
            }
            self.0.write_all_at(&block, at).context(doing)?;
            self.0.sync_data().context(doing)?;
            at += bytes as u64;
        }
        Ok(begin.elapsed())
    }
}
