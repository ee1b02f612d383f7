//! `imflow chat`: a terminal client for trying a server out, and the reference of how a client behaves.
//!
//! This file joins three things: the keyboard, one connection at a time, and the state machine that
//! outlives connections (`state`). A lost connection is made again with growing pauses; the state then
//! asks for what was missed and sends again what was not answered.

mod entry;
mod input;
mod outbox;
mod screen;
mod state;
mod timeline;

use std::io::BufRead as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use imflow_proto::wire::Push;
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::push::Event;
use imflow_sources::auth::Secrets;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::token::{ALL_SCOPES, mint};
use crate::client::{Connection, Lost};
use screen::Screen;
use state::State;

/// Pauses between attempts to connect: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// A client makes a fresh token for every connection, and when one is about to expire.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// Talk in a conversation from the terminal, or from a pipe
///
/// Makes its own token with the data directory's key, so it needs nothing but a running server:
///
///   imflow chat --as alice            (in one terminal)
///   imflow chat --as bob              (in another)
///   seq 3 | imflow chat --as alice --device script
///
/// Each typed line is a message; it appears with its seq once the server has it on disk. /help shows
/// the commands. From a pipe, every line is sent and acknowledged before the command ends, and stdout
/// carries messages only; it ends with an error if one was refused.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ChatArgs {
    /// The user to talk as
    #[arg(long = "as", value_name = "USER")]
    user: String,
    /// The device of that user; a second client of one device replaces the first
    #[arg(long, default_value = "cli")]
    device: String,
    /// The conversation to start in
    #[arg(long, default_value = "lobby", value_name = "ID")]
    conversation: String,
    /// The server; by default the address of the topology's listener `main`
    #[arg(long, value_name = "ws://HOST:PORT/ws")]
    pub(crate) url: Option<String>,
    /// A token to use instead of making one, for a server elsewhere
    #[arg(long, env = "IMFLOW_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// What the topology file says about the server.
#[derive(Clone, Debug)]
pub(crate) struct ChatConfig {
    /// Of the listener that the gateway is on.
    pub(crate) address: String,
    /// Where the secrets are.
    pub(crate) data_dir: PathBuf,
}

/// Why the talk over one connection ended.
enum End {
    Done,
    Lost(Lost),
}

/// Runs the client until its input ends.
///
/// # Errors
/// When the server cannot be reached at first, refuses the token, or refused a line.
pub(crate) async fn chat(args: ChatArgs, config: &ChatConfig) -> Result<(), String> {
    let url = args.url.clone().unwrap_or_else(|| url_of(&config.address));
    let mut state =
        State::new(&args.user, &args.device, &args.conversation, now_ms(), Screen::of_stdout());
    let mut keyboard = Keyboard::open();
    // A token that was given cannot be made anew: the server says when it has expired.
    let fresh = || match args.token {
        None => token(&args, config).ok(),
        Some(_) => None,
    };
    let mut was_connected = false;
    let mut pause = PAUSES.0;
    loop {
        let end = match Connection::open(&url, &token(&args, config)?).await {
            Ok(connection) => {
                (was_connected, pause) = (true, PAUSES.0);
                converse(connection, &mut state, &mut keyboard, &fresh).await?
            }
            Err(lost) => End::Lost(lost),
        };
        match end {
            End::Done => break,
            End::Lost(Lost::Final(reason)) => return Err(reason),
            End::Lost(Lost::Retryable(reason)) if !was_connected => {
                return Err(format!(
                    "{reason}; is the server running? Start it with `imflow run`, or name another with --url"
                ));
            }
            End::Lost(Lost::Retryable(reason)) => state.disconnected(&reason),
        }
        wait(pause.max(state.told_to_stay_away()), &mut state, &mut keyboard).await?;
        if state.has_quit() {
            break;
        }
        pause = (pause * 2).min(PAUSES.1);
    }
    match state.unsent() {
        0 => Ok(()),
        unsent => Err(format!("{unsent} lines were not sent")),
    }
}

/// Talks over one connection until it or the input ends.
async fn converse(
    mut connection: Connection,
    state: &mut State,
    keyboard: &mut Keyboard,
    fresh: &dyn Fn() -> Option<String>,
) -> Result<End, String> {
    let mut retry_at = None;
    state.connected();
    loop {
        let effects = show(state)?;
        retry_at = effects.retry_after.map(|after| Instant::now() + after).or(retry_at);
        if !effects.send.is_empty()
            && let Err(lost) = connection.send(&effects.send).await
        {
            return Ok(End::Lost(lost));
        }
        if state.has_quit() || keyboard.ended && state.is_idle() {
            connection.close().await;
            return Ok(End::Done);
        }
        tokio::select! {
            envelope = connection.next() => match envelope {
                Ok(envelope) => match envelope.body {
                    Some(Body::Goodbye(goodbye)) if goodbye.reconnect => {
                        state.stay_away(Duration::from_millis(goodbye.retry_after_ms));
                        return Ok(End::Lost(Lost::Retryable(format!("the server says good-bye: {}", goodbye.reason))));
                    }
                    Some(Body::Goodbye(goodbye)) => return Ok(End::Lost(Lost::Final(goodbye.reason))),
                    Some(Body::Push(Push { event: Some(Event::TokenExpiring(_)) })) => {
                        fresh().into_iter().for_each(|token| state.refresh(token));
                    }
                    _ => state.envelope(envelope),
                },
                Err(lost) => return Ok(End::Lost(lost)),
            },
            line = keyboard.next(), if keyboard.wants(state) => keyboard.typed(line, state),
            () = at(retry_at), if retry_at.is_some() => {
                retry_at = None;
                state.retry();
            }
        }
    }
}

/// Waits before the next attempt to connect; lines are taken meanwhile.
async fn wait(pause: Duration, state: &mut State, keyboard: &mut Keyboard) -> Result<(), String> {
    let end = Instant::now() + pause;
    loop {
        show(state)?;
        tokio::select! {
            () = tokio::time::sleep_until(end) => return Ok(()),
            line = keyboard.next(), if keyboard.wants(state) => keyboard.typed(line, state),
        }
        if state.has_quit() {
            return Ok(());
        }
    }
}

/// Prints what the state has to say and hands the rest of its effects on.
fn show(state: &mut State) -> Result<state::Effects, String> {
    let effects = state.effects();
    let screen = state.screen();
    let erased = if effects.erase_typed { screen.erase_typed() } else { Ok(()) };
    let printed = erased.and_then(|()| screen.print(&effects.print));
    printed.map_err(|error| format!("cannot write to the terminal: {error}"))?;
    Ok(effects)
}

async fn at(time: Option<Instant>) {
    if let Some(time) = time {
        tokio::time::sleep_until(time).await;
    }
}

fn token(args: &ChatArgs, config: &ChatConfig) -> Result<String, String> {
    if let Some(token) = &args.token {
        return Ok(token.clone());
    }
    let secrets = Secrets::open(&config.data_dir).map_err(|error| error.to_string())?;
    mint(&secrets, &args.user, &args.device, &ALL_SCOPES, TOKEN_LIFE)
}

/// A server that listens on every address is reached on this machine's own.
fn url_of(address: &str) -> String {
    let address = match address.rsplit_once(':') {
        Some(("0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        Some(("[::]", port)) => format!("[::1]:{port}"),
        _ => address.to_owned(),
    };
    format!("ws://{address}/ws")
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Lines of stdin.
///
/// They are read on a thread of their own: a read of stdin cannot be cancelled, and the client must be
/// able to end while one waits.
struct Keyboard {
    lines: mpsc::Receiver<String>,
    ended: bool,
}

impl Keyboard {
    fn open() -> Self {
        let (sender, lines) = mpsc::channel(16);
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if sender.blocking_send(line).is_err() {
                    break;
                }
            }
        });
        Self { lines, ended: false }
    }

    fn wants(&self, state: &State) -> bool {
        !self.ended && !state.is_full()
    }

    async fn next(&mut self) -> Option<String> {
        self.lines.recv().await
    }

    fn typed(&mut self, line: Option<String>, state: &mut State) {
        match line {
            Some(line) => state.line(&line, now_ms()),
            None => self.ended = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_every_address_is_reached_on_this_machine() {
        assert_eq!(url_of("0.0.0.0:80"), "ws://127.0.0.1:80/ws");
        assert_eq!(url_of("[::]:80"), "ws://[::1]:80/ws");
        assert_eq!(url_of("10.0.0.1:8080"), "ws://10.0.0.1:8080/ws");
    }
}
