//! The task of one connection, from the welcome to the goodbye.
//!
//! ```text
//!            +-- take: replies, pushes --- outbox <--- dispatcher, tickets
//!  socket <--+
//!         ---+-- read: frames -> admission (credit) -> dataflow
//! ```
//!
//! A turn takes from the outbox what may be written, admits what was read, then polls the socket and
//! the outbox. The socket is read only while nothing waits for admission and little waits for the
//! socket, so a client meets back-pressure and never an unbounded buffer.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use imflow_proto::Record;
use imflow_proto::frame::Format;
use imflow_proto::record::{SessionEvent, Subscription};
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{Envelope, Welcome};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::CapacityError;

use super::admission::{Admission, Admitted, Desk, Reader};
use super::close::Close;
use super::commands::port;
use super::frames;
use super::hub::Gateway;
use super::outbox::{self, Taken};
use super::parking;
use super::peer::Peer;
use super::pending::Pending;
use super::refresh;
use super::wire::{Data, Failure, Turn, Wire, Wish};

/// Replies that may wait for a socket before it is read no more.
const MAX_UNWRITTEN: usize = 1024 * 1024;
/// How long a goodbye may take.
pub(super) const FAREWELL: Duration = Duration::from_secs(3);

/// A live connection.
pub(super) struct Connection<S> {
    gateway: Arc<Gateway>,
    peer: Arc<Peer>,
    wire: Wire<S>,
    admission: Admission,
    pending: Pending,
}

/// Why it is over.
#[derive(Debug)]
pub(super) enum End {
    /// The client closed.
    Gone,
    /// The client is not there any more.
    Lost,
    Close(Close, Option<String>),
    /// A breach of WebSocket, with RFC 6455's code.
    Breach(u16, &'static str),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection of a session that is registered already.
    pub(super) fn new(gateway: Arc<Gateway>, peer: Arc<Peer>, stream: S, early: &[u8]) -> Self {
        let wire = Wire::new(stream, early, &gateway.hub.limits);
        Self { gateway, peer, wire, admission: Admission::default(), pending: Pending::default() }
    }

    /// Lives until either end closes.
    pub(super) async fn run(mut self) {
        self.peer.heard();
        arrive(&self.gateway, &self.peer);
        let end = self.talk().await;
        if !(end.is_resumable() && parking::park(&self.gateway, &self.peer)) {
            leave(&self.gateway, &self.peer, self.wire.out(), true);
        }
        self.gateway.hub.meters.close(end.code());
        self.say_goodbye(end).await;
    }

    async fn talk(&mut self) -> End {
        let gateway = Arc::clone(&self.gateway);
        loop {
            let mut taken = self.peer.outbox.take(self.wire.out());
            self.count(&taken);
            self.heed(&taken);
            let admitted = self.admit(&mut taken);
            if let Some(end) = self.closing(&taken) {
                return end;
            }
            let wish = self.wish(&taken, &admitted);
            let (wire, peer) = (&mut self.wire, &self.peer);
            let turn = poll_fn(|cx| wire.poll_turn(cx, peer, wish));
            let turn = match admitted {
                Admitted::Blocked(worker) => tokio::select! {
                    turn = turn => turn,
                    () = gateway.injector.credit_returned(worker) => continue,
                },
                Admitted::All | Admitted::Full => turn.await,
            };
            match turn {
                Turn::Woken | Turn::Written => {}
                Turn::Failed(error) => return End::from(error),
                Turn::Read => {
                    if let Err(end) = self.receive() {
                        return end;
                    }
                }
            }
        }
    }

    /// At most one look at each shared counter in a turn.
    fn count(&mut self, taken: &Taken) {
        let meters = &self.gateway.hub.meters;
        if taken.frames > 0 {
            meters.frames_out.inc_by(taken.frames as u64);
            meters.bytes_out.inc_by(self.wire.backlog() as u64);
        }
        if taken.dropped > 0 {
            meters.dropped.inc_by(taken.dropped as u64);
        }
    }

    fn heed(&mut self, taken: &Taken) {
        let signals = taken.signals;
        if signals & outbox::EXPIRING != 0 {
            match taken.welcomed {
                true => {
                    frames::append(self.peer.format, &refresh::warning(&self.peer), self.wire.out())
                }
                // Nothing goes before the welcome: it is told at the next look.
                false => self.peer.warned.store(false, Ordering::Relaxed),
            }
        }
        if signals & outbox::PING != 0 {
            self.wire.out().extend_from_slice(&frames::PING);
        }
        if signals & outbox::DEADLINES != 0 {
            let limit =
                self.peer.clock.now().saturating_sub(self.gateway.hub.limits.reply_timeout_ms);
            self.pending.expire(limit);
        }
    }

    fn admit(&mut self, taken: &mut Taken) -> Admitted {
        let mut desk = Desk {
            injector: &*self.gateway.injector,
            limits: &self.gateway.hub.limits,
            peer: &self.peer,
            pending: &mut self.pending,
            meters: &self.gateway.hub.meters,
            out: self.wire.out(),
            unanswered: taken.unanswered,
            strain: self.gateway.hub.strain(),
        };
        let admitted = self.admission.admit(&mut desk);
        taken.unanswered = desk.unanswered;
        let oldest = self.pending.oldest(taken.unanswered);
        self.peer.times.waiting_since.store(oldest.unwrap_or(0), Ordering::Relaxed);
        admitted
    }

    fn closing(&self, taken: &Taken) -> Option<End> {
        let closing = taken.closing?;
        let busy = taken.unanswered > 0 || !self.admission.is_empty();
        (!closing.patient || !busy).then_some(End::Close(closing.why, None))
    }

    fn wish(&self, taken: &Taken, admitted: &Admitted) -> Wish {
        let keeps_up = self.wire.backlog() + taken.reply_bytes < MAX_UNWRITTEN;
        let room = taken.unanswered < self.gateway.hub.limits.in_flight;
        let open = taken.welcomed && taken.closing.is_none();
        Wish {
            read: open && room && keeps_up && *admitted == Admitted::All,
            more: taken.left || (*admitted == Admitted::Full && self.wire.backlog() > 0),
        }
    }

    fn receive(&mut self) -> Result<(), End> {
        let messages = self.wire.messages();
        let meters = &self.gateway.hub.meters;
        meters.frames_in.inc_by(messages.len() as u64);
        meters.bytes_in.inc_by(messages.iter().map(|data| data.len() as u64).sum());
        let reader = Reader {
            peer: &self.peer,
            throttle: &self.gateway.throttle,
            meters,
            secrets: self.gateway.secrets.as_deref(),
            now_us: self.gateway.now_us(),
        };
        for data in messages {
            let data = match (self.peer.format, data) {
                (Format::Json, Data::Text(data)) | (Format::Proto, Data::Binary(data)) => data,
                (Format::Json, Data::Binary(_)) => {
                    return Err(malformed("a binary frame, expected text"));
                }
                (Format::Proto, Data::Text(_)) => {
                    return Err(malformed("a text frame, expected binary"));
                }
            };
            let taken = self.admission.take(&reader, &data);
            taken.map_err(|bad| malformed(&bad.to_string()))?;
        }
        Ok(())
    }

    /// When a client may come back: those of a node that stops not all at once.
    fn pause_after(&self, close: Close) -> u64 {
        match close {
            Close::ShuttingDown => rand::random_range(0..=self.gateway.hub.limits.drain_over_ms),
            _ => 0,
        }
    }

    async fn say_goodbye(&mut self, end: End) {
        match end {
            // Its own close frame is answered already; the answer has to leave.
            End::Gone | End::Lost => {}
            End::Close(close, detail) => {
                let goodbye = close.goodbye_for(detail.as_deref(), self.pause_after(close));
                frames::append(self.peer.format, &goodbye, self.wire.out());
                self.wire.close(close.code(), close.short_reason());
            }
            End::Breach(code, reason) => self.wire.close(code, reason),
        }
        let _ = timeout(FAREWELL, poll_fn(|cx| self.wire.poll_finish(cx))).await;
    }
}

/// Tells the dataflow of a session. The welcome goes when all stages know of it, so that after it nothing
/// is missed.
pub(super) fn arrive(gateway: &Arc<Gateway>, peer: &Arc<Peer>) {
    let welcome = Arc::new(WelcomeOnDrop { gateway: Arc::clone(gateway), peer: Arc::clone(peer) });
    let (session, node) = (Arc::clone(&peer.session), Arc::clone(&gateway.hub.node));
    let event = session_event(SessionEvent::began(session, node, peer.since));
    gateway.injector.send_and_track(0, port::SESSIONS, vec![event], welcome);
    // Behind the arrival, so that a user who goes on is offline at no time.
    parking::succeed(gateway, peer);
}

/// Takes a session out of the registry and, if the dataflow knows of it, out of the dataflow.
pub(super) fn leave(gateway: &Gateway, peer: &Arc<Peer>, out: &mut Vec<u8>, known: bool) {
    gateway.hub.registry.remove(peer);
    peer.outbox.finish(out);
    if !known {
        return;
    }
    gateway.hub.departed.note(&peer.session.user_id, gateway.hub.last_seen(peer));
    if peer.follows.lock().take().is_some() {
        let ended = Subscription {
            ticket: None,
            session: Arc::clone(&peer.session),
            user_ids: Vec::new(),
            conversation_ids: Vec::new(),
        };
        gateway.injector.send(0, port::SUBSCRIPTIONS, vec![Record::Subscription(Arc::new(ended))]);
    }
    let (session, node) = (Arc::clone(&peer.session), Arc::clone(&gateway.hub.node));
    let at = gateway.hub.wall.now_ms() as i64;
    let event = session_event(SessionEvent::ended(session, node, peer.since, at));
    gateway.injector.send(0, port::SESSIONS, vec![event]);
}

fn session_event(event: SessionEvent) -> Record {
    Record::SessionEvent(Arc::new(event))
}

fn malformed(detail: &str) -> End {
    End::Close(Close::Malformed, Some(detail.to_owned()))
}

impl End {
    /// The code that the server closes with; 0 where the client went.
    fn code(&self) -> u16 {
        match self {
            Self::Gone | Self::Lost => 0,
            Self::Close(close, _) => close.code(),
            Self::Breach(code, _) => *code,
        }
    }
}

impl End {
    /// Whether the client is likely to come back for the rest.
    fn is_resumable(&self) -> bool {
        matches!(self, Self::Lost | Self::Close(Close::NoPong | Close::SlowConsumer, _))
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Socket(error) => Self::from(error),
            Failure::Controls => Self::Close(Close::TooManyPings, None),
            Failure::Fragments => {
                let detail = "its fragments are too many for what they hold";
                Self::Close(Close::TooLarge, Some(detail.to_owned()))
            }
        }
    }
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        match error {
            Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => Self::Close(
                Close::TooLarge,
                Some(format!("{size} bytes, expected at most {max_size}")),
            ),
            Error::Utf8(_) => Self::Breach(1007, "a text frame is not UTF-8"),
            Error::Protocol(
                tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            )
            | Error::Io(_) => Self::Lost,
            Error::Protocol(_) | Error::AttackAttempt => {
                Self::Breach(1002, "a frame breaks the WebSocket protocol")
            }
            _ => Self::Gone,
        }
    }
}

/// Welcomes the client when the dataflow lets go of it.
struct WelcomeOnDrop {
    gateway: Arc<Gateway>,
    peer: Arc<Peer>,
}

impl Drop for WelcomeOnDrop {
    fn drop(&mut self) {
        let session = &self.peer.session;
        let welcome = Welcome {
            user_id: session.user_id.to_string(),
            device_id: session.device_id.to_string(),
            node_id: self.gateway.hub.node.to_string(),
            session_id: self.peer.session_id(&self.gateway.hub.node),
            recovered: self.peer.recovered.load(Ordering::Relaxed),
            resume_window_ms: parking::window(&self.gateway.hub.limits, &self.peer),
            server_time: self.gateway.hub.wall.now_ms() as i64,
            ping_interval_ms: u32::try_from(self.gateway.hub.limits.ping_interval_ms)
                .unwrap_or(u32::MAX),
        };
        let mut frame = Vec::with_capacity(256);
        frames::append(
            self.peer.format,
            &Envelope { id: 0, body: Some(Body::Welcome(welcome)) },
            &mut frame,
        );
        self.peer.outbox.welcome(&frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::limits::Limits;
    use crate::websocket::testing::{gateway, send_line, session};
    use futures_util::{SinkExt, StreamExt};
    use imflow_kind::testing::FakeInjector;
    use imflow_proto::frame::decode;
    use imflow_proto::wire::{Ack, AckStatus, ErrorCode, Goodbye};
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::Role;

    type Client = WebSocketStream<DuplexStream>;

    /// A dataflow that acks each message with the number in its clientMsgId.
    fn acking() -> Arc<FakeInjector> {
        FakeInjector::reacting(|record| {
            if let Record::Submission(submission) = record {
                let seq =
                    submission.send.client_msg_id.split('-').nth(2).and_then(|n| n.parse().ok());
                let ack = Ack {
                    seq: seq.expect("as the test made it"),
                    status: AckStatus::Ok.into(),
                    ..Ack::default()
                };
                submission.ticket.answer(Body::Ack(ack));
            }
        })
    }

    fn connect(gateway: &Arc<Gateway>, format: Format, buffer: usize) -> (Arc<Peer>, DuplexStream) {
        let hub = &gateway.hub;
        let session = session("alice", "phone", gateway.next_session());
        let (ip, since) = ([127, 0, 0, 1].into(), gateway.begin());
        let peer = Peer::new(session, format, ip, since, u64::MAX, hub);
        hub.registry.insert(&peer, 9, |_| {}).expect("room");
        let (client, server) = duplex(buffer);
        tokio::spawn(Connection::new(Arc::clone(gateway), Arc::clone(&peer), server, &[]).run());
        (peer, client)
    }

    async fn speak(stream: DuplexStream) -> Client {
        WebSocketStream::from_raw_socket(stream, Role::Client, None).await
    }

    async fn next(client: &mut Client) -> Envelope {
        let message = client.next().await.expect("a message").expect("well-formed");
        let decoded = decode(Format::Json, &message.into_data()).expect("well-formed");
        decoded.into_iter().next().expect("one envelope").expect("of the schema")
    }

    async fn acks(client: &mut Client, count: usize) -> Vec<(u64, u64)> {
        let mut acks = Vec::new();
        while acks.len() < count {
            match next(client).await {
                Envelope { id, body: Some(Body::Ack(ack)) } => acks.push((id, ack.seq)),
                Envelope { body: Some(Body::Welcome(_)), .. } => {}
                other => panic!("{other:?}"),
            }
        }
        acks
    }

    async fn goodbye(client: &mut Client) -> (Goodbye, u16) {
        loop {
            let envelope = next(client).await;
            if let Some(Body::Goodbye(goodbye)) = envelope.body {
                let close = client.next().await;
                let Some(Ok(Message::Close(Some(frame)))) = close else {
                    panic!("a close frame, got {close:?}")
                };
                return (goodbye, frame.code.into());
            }
        }
    }

    /// Masked text frames, as a client writes them.
    async fn frames(texts: impl IntoIterator<Item = String>) -> Vec<u8> {
        let (near, mut far) = duplex(1 << 20);
        let mut client = speak(near).await;
        for text in texts {
            client.send(Message::text(text)).await.expect("the buffer is large");
        }
        drop(client);
        let mut bytes = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut far, &mut bytes).await.expect("in memory");
        bytes
    }

    /// A peer of ours queued a slice of its read buffer, and lost or doubled pipelined sends.
    #[tokio::test]
    async fn frames_in_one_write_split_at_every_byte_arrive_once_in_order() {
        let gateway = gateway(acking(), Limits::default());
        let bytes = frames((1..=4).map(send_line)).await;
        for split in 0..=bytes.len() {
            let (_, mut stream) = connect(&gateway, Format::Json, 1 << 16);
            stream.write_all(&bytes[..split]).await.expect("open");
            tokio::task::yield_now().await;
            stream.write_all(&bytes[split..]).await.expect("open");
            let acks = acks(&mut speak(stream).await, 4).await;
            assert_eq!(acks, [(1, 1), (2, 2), (3, 3), (4, 4)], "split at {split}");
        }
    }

    #[tokio::test]
    async fn ten_thousand_pipelined_commands_are_all_answered() {
        let gateway = gateway(acking(), Limits { in_flight: 64, ..Limits::default() });
        let (_, stream) = connect(&gateway, Format::Json, 4_096);
        let (mut sink, mut source) = speak(stream).await.split();
        let writer = tokio::spawn(async move {
            for id in 1..=10_000 {
                sink.send(Message::text(send_line(id))).await.expect("open");
            }
            sink
        });
        let mut answered = 0;
        while answered < 10_000 {
            let message = source.next().await.expect("open").expect("well-formed");
            let decoded = decode(Format::Json, &message.into_data()).expect("well-formed");
            answered += decoded
                .iter()
                .filter(|e| matches!(e, Ok(Envelope { body: Some(Body::Ack(_)), .. })))
                .count();
        }
        drop(writer.await.expect("all sent"));
    }

    #[tokio::test]
    async fn a_malformed_frame_closes_with_its_code() {
        let gateway = gateway(acking(), Limits::default());
        for message in [Message::text("{"), Message::binary(vec![1, 2, 3])] {
            let (_, stream) = connect(&gateway, Format::Json, 4_096);
            let mut client = speak(stream).await;
            client.send(message).await.expect("open");
            let (goodbye, code) = goodbye(&mut client).await;
            assert_eq!((goodbye.code, goodbye.reconnect, code), (4500, false, 4500));
        }
    }

    #[tokio::test]
    async fn a_frame_beyond_the_limit_closes_with_its_code() {
        let gateway = gateway(acking(), Limits { max_frame: 1_024, ..Limits::default() });
        let (_, stream) = connect(&gateway, Format::Json, 1 << 16);
        let mut client = speak(stream).await;
        client.send(Message::text("x".repeat(2_000))).await.expect("open");
        let (goodbye, code) = goodbye(&mut client).await;
        assert!(code == 4513 && goodbye.reason.contains("1024"), "{goodbye:?}");
    }

    #[tokio::test]
    async fn a_drained_connection_answers_first_then_says_goodbye() {
        let injector = Arc::new(FakeInjector::default());
        let gateway = gateway(Arc::clone(&injector), Limits::default());
        let (peer, stream) = connect(&gateway, Format::Json, 4_096);
        let mut client = speak(stream).await;
        assert!(matches!(next(&mut client).await.body, Some(Body::Welcome(_))));
        client.send(Message::text(send_line(7))).await.expect("open");
        let submission = loop {
            tokio::task::yield_now().await;
            let mut sent = injector.take_records().into_iter().map(|(_, _, record)| record);
            if let Some(Record::Submission(submission)) =
                sent.find(|record| matches!(record, Record::Submission(_)))
            {
                break submission;
            }
        };
        peer.outbox.close(Close::ShuttingDown, true);
        tokio::task::yield_now().await;
        submission.ticket.answer(Body::Ack(Ack {
            seq: 1,
            status: AckStatus::Ok.into(),
            ..Ack::default()
        }));
        assert_eq!(acks(&mut client, 1).await, [(7, 1)]);
        assert!(goodbye(&mut client).await.0.reconnect);
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_nobody_answers_times_out() {
        let gateway = gateway(Arc::new(FakeInjector::default()), Limits::default());
        tokio::spawn(crate::websocket::watch::run(Arc::clone(&gateway)));
        let (_, stream) = connect(&gateway, Format::Json, 4_096);
        let mut client = speak(stream).await;
        client.send(Message::text(send_line(9))).await.expect("open");
        assert!(matches!(next(&mut client).await.body, Some(Body::Welcome(_))));
        let reply = next(&mut client).await;
        assert!(
            matches!(&reply, Envelope { id: 9, body: Some(Body::Error(e)) } if e.code() == ErrorCode::Timeout),
            "{reply:?}"
        );
    }

    #[tokio::test]
    async fn a_session_that_ends_tells_the_dataflow() {
        let injector = Arc::new(FakeInjector::default());
        let gateway = gateway(Arc::clone(&injector), Limits::default());
        let (peer, stream) = connect(&gateway, Format::Json, 4_096);
        *peer.follows.lock() = Some(Arc::new(Subscription {
            ticket: None,
            session: Arc::clone(&peer.session),
            user_ids: vec!["bob".into()],
            conversation_ids: Vec::new(),
        }));
        let mut client = speak(stream).await;
        next(&mut client).await;
        client.close(None).await.expect("open");
        while client.next().await.is_some() {}
        let ports: Vec<usize> = injector.take().into_iter().map(|(_, port, _)| port).collect();
        assert_eq!(ports, [port::SESSIONS, port::SUBSCRIPTIONS, port::SESSIONS]);
        assert!(gateway.hub.registry.numbered(peer.session.number).is_none());
    }

    /// The next connection of a device, as its handshake makes it.
    fn come_back(
        gateway: &Arc<Gateway>,
        older: &Arc<Peer>,
        read: u64,
    ) -> (Arc<Peer>, DuplexStream) {
        let session = session("alice", "phone", gateway.next_session());
        let (ip, since) = ([127, 0, 0, 1].into(), gateway.begin());
        let peer = Peer::new(session, older.format, ip, since, u64::MAX, &gateway.hub);
        peer.outbox.keep();
        let session_id = older.session_id(&gateway.hub.node);
        let wanted = crate::websocket::resume::Resume { session_id: &session_id, read };
        let take_over = |older: &Arc<Peer>| parking::take_over(gateway, older, &peer, &wanted);
        *peer.older.lock() = gateway.hub.registry.insert(&peer, 9, take_over).expect("room");
        let (client, server) = duplex(4_096);
        tokio::spawn(Connection::new(Arc::clone(gateway), Arc::clone(&peer), server, &[]).run());
        (peer, client)
    }

    fn push(peer: &Peer, text: &str) {
        let goodbye = Goodbye { reason: text.into(), ..Goodbye::default() };
        let shared = frames::Shared::new(Envelope { id: 0, body: Some(Body::Goodbye(goodbye)) });
        peer.outbox.push_fleeting(shared.frame(peer.format), 0);
    }

    async fn reason(client: &mut Client) -> String {
        match next(client).await.body {
            Some(Body::Goodbye(goodbye)) => goodbye.reason,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_lost_session_goes_on_where_the_client_has_read_to() {
        let injector = Arc::new(FakeInjector::default());
        let gateway = gateway(Arc::clone(&injector), Limits::default());
        let (lost, stream) = connect(&gateway, Format::Json, 4_096);
        lost.outbox.keep();
        let mut client = speak(stream).await;
        assert!(matches!(next(&mut client).await.body, Some(Body::Welcome(_))));
        push(&lost, "read");
        assert_eq!(reason(&mut client).await, "read");
        push(&lost, "written");
        tokio::task::yield_now().await;
        drop(client);
        while lost.times.parked_since.load(Ordering::Acquire) == 0 {
            tokio::task::yield_now().await;
        }
        push(&lost, "gathered");
        let (_, stream) = come_back(&gateway, &lost, 1);
        let mut client = speak(stream).await;
        let Some(Body::Welcome(welcome)) = next(&mut client).await.body else { panic!() };
        assert!(welcome.recovered && welcome.resume_window_ms == 10_000);
        assert_eq!(reason(&mut client).await, "written");
        assert_eq!(reason(&mut client).await, "gathered");
        let online: Vec<bool> = injector
            .take_records()
            .into_iter()
            .filter_map(|(_, _, record)| match record {
                Record::SessionEvent(event) => Some(event.online),
                _ => None,
            })
            .collect();
        assert_eq!(online, [true, true, false], "the user is offline at no time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_session_ends_when_its_window_is_over() {
        let injector = Arc::new(FakeInjector::default());
        let gateway = gateway(Arc::clone(&injector), Limits::default());
        tokio::spawn(crate::websocket::watch::run(Arc::clone(&gateway)));
        let (lost, stream) = connect(&gateway, Format::Json, 4_096);
        lost.outbox.keep();
        let mut client = speak(stream).await;
        next(&mut client).await;
        drop(client);
        tokio::time::sleep(std::time::Duration::from_secs(9)).await;
        assert!(gateway.hub.registry.numbered(lost.session.number).is_some());
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        assert!(gateway.hub.registry.numbered(lost.session.number).is_none());
        assert_eq!(gateway.parked.load(Ordering::Relaxed), 0);
        let (_, stream) = come_back(&gateway, &lost, 0);
        let mut client = speak(stream).await;
        let Some(Body::Welcome(welcome)) = next(&mut client).await.body else { panic!() };
        assert!(!welcome.recovered);
    }
}
