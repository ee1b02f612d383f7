//! The gateway in virtual time: sessions without sockets.
//!
//! Admission, scopes, limits, outboxes and the dispatcher are those of the real gateway; only the socket
//! and the tasks around it are left out. A session takes part in a step as its connection's task would
//! in a turn: what came out is noted in the order in which it would be written. There is no push window,
//! and nobody is silent, stuck or out of time; a command without an answer meets TIMEOUT when it
//! would.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use imflow_kind::{
    Act, Action, ActionValue, Actor, Clock, Injector, IoContext, Outside, Script, Seen, Source,
    StartError, World,
};
use imflow_proto::frame::{Format, decode, encode};
use imflow_proto::record::Scopes;
use imflow_proto::wire::Envelope;
use imflow_proto::wire::envelope::Body;
use serde::Deserialize;

use super::admission::{Admission, Desk, Reader};
use super::close::Close;
use super::connection::{arrive, leave};
use super::dispatch::Dispatcher;
use super::frames;
use super::handshake::register;
use super::hub::{Gateway, Hub};
use super::peer::Peer;
use super::pending::Pending;
use crate::auth::{Claims, is_user_id};

pub(super) static SCRIPT: Script = Script {
    actor: Some(Actor { form: "USER/DEVICE", is_valid: |text| session_of(text).is_some() }),
    actions: &[
        Action {
            name: "envelope",
            value: ActionValue::Table,
            body: false,
            doc: "sends one envelope, as a client writes it in JSON; connects first if need be",
        },
        Action {
            name: "frame",
            value: ActionValue::Text,
            body: false,
            doc: "sends a text frame as it is, be it broken",
        },
        Action {
            name: "connect",
            value: ActionValue::Table,
            body: false,
            doc: "begins the session; `{ scopes = [\"read\"] }` grants less than everything",
        },
        Action {
            name: "disconnect",
            value: ActionValue::Flag,
            body: false,
            doc: "ends the session",
        },
    ],
    sees: "envelopes",
};

/// User and device of `USER/DEVICE`.
fn session_of(actor: &str) -> Option<(&str, &str)> {
    let valid = |(user, device): &(&str, &str)| is_user_id(user) && is_user_id(device);
    actor.split_once('/').filter(valid)
}

/// What a session may do, as in a token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Connect {
    #[serde(default = "every_scope")]
    scopes: Vec<Scope>,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Scope {
    Send,
    Read,
    Create,
}

fn every_scope() -> Vec<Scope> {
    vec![Scope::Send, Scope::Read, Scope::Create]
}

impl Connect {
    fn read(value: &str) -> Result<Self, String> {
        serde_json::from_str(value).map_err(|error| {
            let text = error.to_string().replace("unknown field", "unknown key");
            let text = text.replace("unknown variant", "unknown scope");
            // Its place in a value that was put together here helps nobody.
            text.split(" at line ").next().unwrap_or_default().to_owned()
        })
    }

    fn scopes(&self) -> Scopes {
        let has = |scope| self.scopes.contains(&scope);
        Scopes {
            send: has(Scope::Send),
            read: has(Scope::Read),
            create: has(Scope::Create),
            admin: false,
        }
    }
}

fn check(act: &Act) -> Result<(), String> {
    match act.action {
        "envelope" => is_envelope(&act.value),
        "connect" => Connect::read(&act.value).map(drop),
        _ => Ok(()),
    }
}

fn is_envelope(json: &str) -> Result<(), String> {
    let line = Bytes::copy_from_slice(json.as_bytes());
    let envelopes = decode(Format::Json, &line).map_err(|e| e.to_string())?;
    let bad = envelopes.into_iter().find_map(Result::err);
    bad.map_or(Ok(()), |(_, error)| Err(error.message))
}

/// The source.
pub(super) struct Simulated {
    clock: Arc<dyn Clock>,
    dispatcher: Dispatcher,
    hub: Arc<Hub>,
    world: Arc<World>,
    gateway: Option<Arc<Gateway>>,
    sessions: BTreeMap<String, Session>,
    /// What sessions saw that have ended since the last step.
    ended: Vec<Seen>,
}

pub(super) fn build(context: &IoContext) -> Result<Box<dyn Source>, StartError> {
    let hub = Hub::of(context);
    let world = World::new(&SCRIPT, check, is_envelope);
    context.roles.offer(&context.name, Arc::clone(&world) as Arc<dyn Outside>);
    Ok(Box::new(Simulated {
        clock: Arc::clone(&context.clock),
        dispatcher: Dispatcher::new(Arc::clone(&hub), None),
        hub,
        world,
        gateway: None,
        sessions: BTreeMap::new(),
        ended: Vec::new(),
    }))
}

impl Source for Simulated {
    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        self.gateway = Some(Gateway::new(Arc::clone(&self.hub), injector, None));
        Ok(())
    }

    fn step(&mut self) -> bool {
        let Some(gateway) = self.gateway.clone() else { return false };
        let now = self.clock.now_ms();
        self.hub.clock.set(now);
        let acts = self.world.take_acts();
        let mut moved = !acts.is_empty();
        // What was delivered before the acts is older than they are.
        moved |= self.dispatcher.deliver_all();
        acts.iter().for_each(|act| self.take_part(&gateway, act));
        let mut seen = std::mem::take(&mut self.ended);
        self.sessions.retain(|actor, session| {
            let turn = session.turn(&gateway, now);
            moved |= turn.moved;
            seen.extend(session.written(actor, now));
            turn.lives
        });
        self.world.note(seen);
        moved
    }

    fn next_due(&self) -> Option<u64> {
        let oldest = self.sessions.values().filter_map(|session| session.waiting_since).min();
        oldest.map(|since| since + self.hub.limits.reply_timeout_ms)
    }
}

impl Simulated {
    fn take_part(&mut self, gateway: &Arc<Gateway>, act: &Act) {
        let now = self.clock.now_ms();
        match act.action {
            "disconnect" => self.end(gateway, &act.actor, None),
            "connect" => {
                let scopes = Connect::read(&act.value).map(|connect| connect.scopes());
                self.connect(gateway, &act.actor, scopes.unwrap_or_default());
            }
            action => {
                if !self.sessions.contains_key(&act.actor) {
                    let scopes = Connect { scopes: every_scope() }.scopes();
                    self.connect(gateway, &act.actor, scopes);
                }
                let text = match action {
                    "frame" => serde_json::from_str(&act.value).unwrap_or_default(),
                    _ => act.value.clone(),
                };
                if let Some(session) = self.sessions.get_mut(&act.actor) {
                    session.receive(gateway, now, text);
                }
            }
        }
    }

    /// Begins a session; one of the same device ends.
    fn connect(&mut self, gateway: &Arc<Gateway>, actor: &str, scopes: Scopes) {
        let Some((user, device)) = session_of(actor) else { return };
        let claims = Claims {
            user_id: user.to_owned(),
            device_id: device.to_owned(),
            scopes,
            expires_at_ms: u64::MAX,
        };
        match register(gateway, claims, Format::Json, Ipv4Addr::UNSPECIFIED.into(), None) {
            Ok(peer) => {
                self.end(gateway, actor, Some(Close::Replaced));
                arrive(gateway, &peer);
                self.sessions.insert(actor.to_owned(), Session::new(peer));
            }
            Err(refusal) => {
                let error = Envelope { id: 0, body: Some(Body::Error(refusal.error)) };
                self.ended.push(seen(&error, actor, self.clock.now_ms()));
            }
        }
    }

    /// Ends a session, with a goodbye when it was not the device's own wish.
    fn end(&mut self, gateway: &Arc<Gateway>, actor: &str, why: Option<Close>) {
        let Some(mut session) = self.sessions.remove(actor) else { return };
        session.leave(gateway, why.map(|why| (why, None)));
        self.ended.extend(session.written(actor, self.clock.now_ms()));
    }
}

/// One session, and what its connection would keep.
struct Session {
    peer: Arc<Peer>,
    admission: Admission,
    pending: Pending,
    /// Frames that are written.
    out: Vec<u8>,
    /// When the oldest unanswered command was taken.
    waiting_since: Option<u64>,
    /// A frame that ends the session.
    breach: Option<(Close, String)>,
}

/// What came of a session's turn.
struct Turn {
    moved: bool,
    lives: bool,
}

impl Session {
    fn new(peer: Arc<Peer>) -> Self {
        let (admission, pending) = (Admission::default(), Pending::default());
        Self { peer, admission, pending, out: Vec::new(), waiting_since: None, breach: None }
    }

    fn receive(&mut self, gateway: &Gateway, now: u64, text: String) {
        self.peer.heard();
        let limits = &gateway.hub.limits;
        let reader = Reader {
            peer: &self.peer,
            throttle: &gateway.throttle,
            meters: &gateway.hub.meters,
            secrets: None,
            now_us: now * 1_000,
        };
        if text.len() > limits.max_frame {
            let detail = format!("{} bytes, expected at most {}", text.len(), limits.max_frame);
            self.breach = Some((Close::TooLarge, detail));
        } else if let Err(bad) = self.admission.take(&reader, &text.into()) {
            self.breach = Some((Close::Malformed, bad.to_string()));
        }
    }

    /// Takes what may be written, admits what was received, and answers what nobody else did.
    fn turn(&mut self, gateway: &Gateway, now: u64) -> Turn {
        let mut taken = self.peer.outbox.take(&mut self.out);
        let mut moved = !self.out.is_empty();
        if taken.welcomed && !self.admission.is_empty() {
            let mut desk = Desk {
                injector: &*gateway.injector,
                limits: &gateway.hub.limits,
                peer: &self.peer,
                pending: &mut self.pending,
                meters: &gateway.hub.meters,
                out: &mut self.out,
                unanswered: taken.unanswered,
                strain: gateway.hub.strain(),
            };
            self.admission.admit(&mut desk);
            moved |= desk.unanswered > taken.unanswered || !desk.out.is_empty();
            taken.unanswered = desk.unanswered;
        }
        let timeout = gateway.hub.limits.reply_timeout_ms;
        self.waiting_since = self.pending.oldest(taken.unanswered);
        if self.waiting_since.is_some_and(|since| since + timeout <= now) {
            self.pending.expire(now - timeout);
            self.waiting_since = self.pending.oldest(taken.unanswered);
            moved = true;
        }
        let closing = taken.closing.map(|closing| (closing.why, None));
        let ending = self.breach.take().map(|(why, detail)| (why, Some(detail))).or(closing);
        let lives = ending.is_none();
        if !lives {
            self.leave(gateway, ending);
        }
        Turn { moved: moved || !lives, lives }
    }

    fn leave(&mut self, gateway: &Gateway, goodbye: Option<(Close, Option<String>)>) {
        leave(gateway, &self.peer, &mut self.out, true);
        if let Some((why, detail)) = goodbye {
            frames::append(Format::Json, &why.goodbye(detail.as_deref()), &mut self.out);
        }
    }

    /// What was written since the last call.
    fn written(&mut self, actor: &str, now: u64) -> Vec<Seen> {
        let envelopes = frames::payloads(&std::mem::take(&mut self.out)).into_iter();
        let envelopes = envelopes.filter_map(|payload| decode(Format::Json, &payload).ok());
        envelopes.flatten().flatten().map(|envelope| seen(&envelope, actor, now)).collect()
    }
}

fn seen(envelope: &Envelope, actor: &str, at_ms: u64) -> Seen {
    let mut body = Vec::new();
    encode(Format::Json, envelope, &mut body);
    let refusal = matches!(envelope.body, Some(Body::Error(_) | Body::Goodbye(_)));
    let body = String::from_utf8_lossy(&body).into_owned();
    Seen { at_ms, actor: actor.to_owned(), body, refusal }
}
