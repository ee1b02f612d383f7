//! `bench replay`: real text in conversations of real sizes, checked to the last message.

use std::path::PathBuf;
use std::rc::Rc;

use imflow_proto::frame::Format;
use rand::seq::index::sample;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::fleet::{Fleet, FleetPlan};
use super::{finish, open_loop};
use crate::client::{Session, Window};
use crate::failure::Failure;
use crate::fsync::RawFile;
use crate::report::{Report, grouped};
use crate::server::ServerArgs;
use crate::text::{self, Text};

/// Of so many users, one has a second device; it gets what its user's first one sends.
const SECOND_DEVICE_ONE_IN: u32 = 10;
const PAGE: u32 = 100;
/// Asked again so often when a page is refused.
const PAGE_ATTEMPTS: usize = 50;

/// Real text, Chinese and English, in conversations of 2 to 1,000 members, checked to the last message
///
/// The texts are the fortunes of Debian (apt-get install fortunes fortunes-zh). The sizes of the
/// conversations are heavy-tailed: the k-th has 1,000 / k members. Half of the sessions speak JSON,
/// half protobuf, and some users have two devices. At the end the history of every conversation is
/// read and must be what was pushed.
///
///   bench replay
///   bench replay --messages 20000 --rate 2000 --seed 7
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct ReplayArgs {
    /// Messages in all
    #[arg(long, default_value_t = 6_000, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,
    /// Messages a second
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Conversations
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    conversations: u32,
    /// Users; the largest conversation has all of them, up to 1,000
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(2..))]
    users: u32,
    /// Decides who is where, who says what, and when
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The folder of the fortunes
    #[arg(long, value_name = "DIR", default_value = "/usr/share/games/fortunes")]
    fortunes: PathBuf,
}

impl Default for ReplayArgs {
    fn default() -> Self {
        let fortunes = PathBuf::from("/usr/share/games/fortunes");
        Self { messages: 6_000, rate: 500, conversations: 300, users: 1_000, seed: 1, fortunes }
    }
}

pub(crate) fn run(server: &ServerArgs, args: &ReplayArgs) -> Result<Report, Failure> {
    let texts = text::fortunes(&args.fortunes, args.seed)?;
    super::run(measure(server, args, texts))
}

async fn measure(
    server: &ServerArgs,
    args: &ReplayArgs,
    texts: Vec<Text>,
) -> Result<Report, Failure> {
    let folder = server.folder()?;
    let mut file = RawFile::create(folder.path())?;
    let raw = file.closed_loop(1, std::time::Duration::from_secs(2))?;

    let used = texts.len().min(args.messages as usize);
    let chinese = texts[..used].iter().filter(|text| text::is_chinese(&text.text)).count();
    let text_count = texts.len() as u64;
    let fleet = Fleet::start(server, plan(args, texts)).await?;
    let crowd = Rc::clone(&fleet.crowd);
    let begin = crowd.now_ns();
    *crowd.window.borrow_mut() = Window::new(begin, u64::MAX);
    let cpu = fleet.cpu();
    let mut random = StdRng::seed_from_u64(args.seed);
    open_loop::run(&fleet, begin, args.rate, args.messages, |message, due| {
        let conversation = random.random_range(0..fleet.members.len());
        let members = &fleet.members[conversation];
        let session = members[random.random_range(0..members.len())] as usize;
        fleet.sessions[session].send(conversation as u32, (message % text_count) as u32, due);
        session
    })
    .await?;
    fleet.answered().await?;
    fleet.delivered().await?;
    let cpu = cpu.end();
    let read = read_all(&fleet).await?;

    let title = format!(
        "replay: {} messages in {} conversations of 2 to {} members, {} sessions, seed {}",
        grouped(args.messages),
        args.conversations,
        fleet.members.first().map_or(0, Vec::len),
        fleet.sessions.len(),
        args.seed
    );
    let mut report = Report::new(title);
    report.figure(
        "texts",
        format!(
            "{} in Chinese, {} in English",
            grouped(chinese as u64),
            grouped((used - chinese) as u64)
        ),
    );
    report.figure("durable ack", crowd.window.borrow().latencies.summary());
    report.figure("read back from history", format!("{} messages", grouped(read)));
    Ok(finish(report, fleet, cpu, &[("raw append+fdatasync, one record", &raw)]))
}

/// Reads the history of every conversation through one of its members, and checks it.
async fn read_all(fleet: &Fleet) -> Result<u64, Failure> {
    let mut read = 0;
    for (conversation, members) in (0u32..).zip(&fleet.members) {
        let session = &fleet.sessions[members[members.len() - 1] as usize];
        let last = fleet.crowd.check.borrow().last_seq(conversation);
        let (mut after, mut more) = (0, true);
        while more {
            let page = read_page(session, conversation, after).await?;
            for (seq, print) in &page.items {
                if *seq != after + 1 {
                    return Err(Failure::new(format!(
                        "the history of g{conversation} has seq {seq} after {after}"
                    )));
                }
                fleet.crowd.check.borrow_mut().read(conversation, *seq, *print);
                after = *seq;
                read += 1;
            }
            more = page.more && !page.items.is_empty();
        }
        if after != last {
            return Err(Failure::new(format!(
                "the history of g{conversation} ends at seq {after} instead of {last}"
            )));
        }
    }
    Ok(read)
}

async fn read_page(
    session: &Rc<Session>,
    conversation: u32,
    after: u64,
) -> Result<crate::client::Page, Failure> {
    let mut attempt = 1;
    loop {
        match session.history(conversation, after, PAGE).await {
            Err(_) if attempt < PAGE_ATTEMPTS => attempt += 1,
            page => return page,
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// The k-th conversation has a k-th of the users, but at least two.
fn plan(args: &ReplayArgs, texts: Vec<Text>) -> FleetPlan {
    let mut random = StdRng::seed_from_u64(args.seed);
    let users = args.users as usize;
    let mut members = |rank: u32| {
        let size = (users.min(1_000) / rank as usize).max(2);
        sample(&mut random, users, size).iter().map(|user| user as u32).collect()
    };
    let conversations = (1..=args.conversations).map(&mut members).collect();
    let second = (0..args.users).filter(|user| user.is_multiple_of(SECOND_DEVICE_ONE_IN));
    let format =
        |(session, user)| (user, if session % 2 == 0 { Format::Proto } else { Format::Json });
    let sessions = (0u32..).zip((0..args.users).chain(second)).map(format).collect();
    FleetPlan { sessions, conversations, texts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_heavy_tailed_and_both_encodings_take_part() {
        let plan = plan(&ReplayArgs::default(), Vec::new());
        let sizes: Vec<_> = plan.conversations.iter().map(Vec::len).collect();
        assert_eq!((sizes[0], sizes[1], sizes[9], sizes[299]), (1_000, 500, 100, 3));
        assert_eq!(plan.sessions.len(), 1_100);
        let json = plan.sessions.iter().filter(|(_, format)| *format == Format::Json).count();
        assert_eq!(json, 550);
    }
}
