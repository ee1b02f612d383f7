//! `bench log`: the log by itself against the disk under it.
//!
//! Both write the same bytes to the same disk in turns: the log with its encoding, checksums, completions
//! and index, the loop with write and fdatasync and nothing else.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use imflow_kind::testing::{FakeInjector, io_context};
use imflow_kind::{Applied, Form, Injector, Intake, Options, Sink, Time, Value};
use imflow_proto::record::{Entry, Record};
use imflow_proto::ticket::Credit;
use imflow_proto::wire::{Error, Message, MessageType};
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

/// The log by itself: batches of 100 and of 1,000 records of 1 KB
///
/// As in the service, whoever feeds it does not wait for a commit: the next batch is handed over while one is
/// written. In turns with a loop that writes the same bytes to a zeroed file, in as many writes as the log has
/// made, and syncs each; the middle one of the rounds' ratios counts. Figure: >= 0.8 of the loop. The same with
/// a feeder that waits for each batch stands below.
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
    let mut report = Report::new("log: by itself, records of 1 KB");
    for batch in [100, 1_000] {
        let mut log = Log::open(&folder.path().join(batch.to_string()))?;
        let raw = RawFile::create(folder.path())?;
        let fed = Rounds::take(&mut log, &raw, args.rounds, Load { batch, ahead: 1 })?;
        let waiting = Rounds::take(&mut log, &raw, args.rounds, Load { batch, ahead: 0 })?;
        log.sink.stop();
        let middle = fed.ratio(0.5);
        report.goal(
            &format!("batches of {batch}"),
            format!("{middle:.2} of the plain loop"),
            format!(">= {WANTED}"),
            middle >= WANTED,
        );
        report.figure(
            "the feeder waits for each",
            format!("{:.2} of the plain loop", waiting.ratio(0.5)),
        );
        report.note(&format!("batches of {batch}"), fed.to_string());
        report.note("the feeder waits for each", waiting.to_string());
    }
    report.note("machine", machine::load());
    Ok(report)
}

/// How the log is fed.
#[derive(Clone, Copy)]
struct Load {
    /// Records.
    batch: usize,
    /// Batches handed over before the one before them is durable.
    ahead: usize,
}

/// What one round took.
struct Round {
    bytes: usize,
    commits: usize,
    log: Duration,
    raw: Duration,
}

struct Rounds(Vec<Round>);

impl Rounds {
    fn take(log: &mut Log, raw: &RawFile, rounds: u32, load: Load) -> Result<Self, Failure> {
        // About as many bytes a round, whatever the batch.
        let batches = 16_000 / load.batch;
        let one = |_| {
            let (bytes, commits, took) = log.round(load, batches)?;
            let raw = raw.round(bytes / commits, commits)?;
            Ok(Round { bytes, commits, log: took, raw })
        };
        (0..rounds).map(one).collect::<Result<_, _>>().map(Self)
    }

    /// Of the rounds' ratios, by size, the one at this part of them.
    fn ratio(&self, part: f64) -> f64 {
        let ratio = |round: &Round| round.raw.as_secs_f64() / round.log.as_secs_f64();
        let mut ratios: Vec<f64> = self.0.iter().map(ratio).collect();
        ratios.sort_by(f64::total_cmp);
        ratios[((ratios.len() - 1) as f64 * part) as usize]
    }

    fn sum(&self, of: impl Fn(&Round) -> f64) -> f64 {
        self.0.iter().map(of).sum()
    }
}

impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.sum(|round| round.bytes as f64);
        let rate = |seconds: f64| grouped((bytes / 1024.0 / seconds) as u64);
        write!(
            f,
            "rounds from {:.2} to {:.2}; log {} KiB/s, loop {} KiB/s; {:.0} KiB a write",
            self.ratio(0.0),
            self.ratio(1.0),
            rate(self.sum(|round| round.log.as_secs_f64())),
            rate(self.sum(|round| round.raw.as_secs_f64())),
            bytes / 1024.0 / self.sum(|round| round.commits as f64),
        )
    }
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
        let answers = Answers { durable: Arc::clone(&durable), others: FakeInjector::default() };
        let intake = sink.intake(0);
        sink.start(Arc::new(answers)).context(|| "starting the log".to_owned())?;
        let texts = text::plain(TEXT).into_iter().map(|text| text.text).collect();
        Ok(Self { sink, intake, durable, next_seq: 1, texts })
    }

    /// Hands so many batches over; gives the bytes, the commits and the time until all are durable.
    fn round(&mut self, load: Load, batches: usize) -> Result<(usize, usize, Duration), Failure> {
        let mut bytes = 0;
        let mut all: Vec<Vec<Record>> = Vec::with_capacity(batches);
        for _ in 0..batches {
            let messages: Vec<Message> = (0..load.batch).map(|_| self.message()).collect();
            bytes += messages.iter().map(|message| HEAD + message.encoded_len()).sum::<usize>();
            let entry = |message| Record::Ordered(Arc::new(Entry::recovered(0, message)));
            all.push(messages.into_iter().map(entry).collect());
        }
        let commits = self.durable.commits();
        let begin = Instant::now();
        for mut records in all {
            self.durable.wait(load.ahead * load.batch)?;
            self.durable.expect(load.batch);
            self.intake.on_batch(Time::default(), 0, &mut records);
        }
        self.durable.wait(0)?;
        Ok((bytes, self.durable.commits() - commits, begin.elapsed()))
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
    commits: AtomicUsize,
    waits: Thread,
}

impl Durable {
    fn here() -> Self {
        let (missing, commits) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { missing, commits, waits: thread::current() }
    }

    fn commits(&self) -> usize {
        self.commits.load(Ordering::Acquire)
    }

    fn expect(&self, records: usize) {
        self.missing.fetch_add(records, Ordering::AcqRel);
    }

    /// What one commit has made durable comes back in one piece.
    fn count(&self, records: usize) {
        self.commits.fetch_add(1, Ordering::AcqRel);
        self.missing.fetch_sub(records, Ordering::AcqRel);
        self.waits.unpark();
    }

    /// Until no more than so many are missing.
    fn wait(&self, most: usize) -> Result<(), Failure> {
        let begin = Instant::now();
        while self.missing.load(Ordering::Acquire) > most {
            if begin.elapsed() > PATIENCE {
                return Err(Failure::new("the log commits no more"));
            }
            thread::park_timeout(PATIENCE);
        }
        Ok(())
    }
}

/// Takes the log's answers.
struct Answers {
    durable: Arc<Durable>,
    others: FakeInjector,
}

impl Injector for Answers {
    fn worker_of(&self, conversation_id: &str) -> usize {
        self.others.worker_of(conversation_id)
    }

    fn credit(&self, worker: usize, port: usize, bytes: usize) -> Result<Box<dyn Credit>, Error> {
        self.others.credit(worker, port, bytes)
    }

    fn credit_returned(&self, worker: usize) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.others.credit_returned(worker)
    }

    fn send(&self, _worker: usize, _port: usize, records: Vec<Record>) {
        self.durable.count(records.len());
    }

    fn send_and_track(&self, _worker: usize, _port: usize, records: Vec<Record>, _: Applied) {
        self.durable.count(records.len());
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
