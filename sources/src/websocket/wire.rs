//! One socket: frames in, finished bytes out.
//!
//! tungstenite reads, checks and assembles frames, and answers pings and closes. What it wants to
//! write goes into the same buffer as everything else, so frames never interleave and reading can go
//! on while the socket takes nothing. The stream is polled by hand: no timer, no second task and no
//! buffer that an idle connection has to keep.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::limits::Limits;
use super::peer::Peer;
use super::rates::{Rate, STILL};

/// Read buffer of a connection: most of what an idle one costs.
const READ_BUFFER_BYTES: usize = 4_096;
/// Frames and bytes after which a turn of reading ends, so that others get theirs.
const MAX_FRAMES: usize = 64;
const MAX_BYTES: usize = 64 * 1024;
/// Pings and pongs of so long a time may come at once.
const CONTROL_BURST_MS: u64 = 10_000;
/// Bytes that an unfinished message may take beyond its own: the heads of its fragments.
const FRAGMENT_BYTES: usize = 16 * 1024;
/// The head of a client's short frame: two bytes and the mask.
const CONTROL_HEAD: usize = 6;
/// A written-out buffer above this size is not kept.
const KEEP_BYTES: usize = 16 * 1024;

/// A socket and its buffers.
pub(super) struct Wire<S> {
    stream: S,
    websocket: WebSocketContext,
    /// Finished frames; those before `sent` have left.
    out: Vec<u8>,
    sent: usize,
    /// The stream (TLS) holds bytes that the socket has not taken.
    unflushed: bool,
    messages: Vec<Data>,
    /// Bytes that were read of a message that is not whole.
    partial: usize,
    most_partial: usize,
    controls: Rate,
    control_bucket: u64,
    failure: Option<Failure>,
}

/// Why nothing more is read.
#[derive(Debug)]
pub(super) enum Failure {
    Socket(Error),
    /// Pings and pongs beyond their rate.
    Controls,
    /// More fragments than a message needs.
    Fragments,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Socket(error)
    }
}

/// A data message of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Data {
    Text(Bytes),
    Binary(Bytes),
}

impl Data {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(data) | Self::Binary(data) => data.len(),
        }
    }
}

/// Why [`Wire::poll_turn`] returned.
#[derive(Debug)]
pub(super) enum Turn {
    /// Messages have come: [`Wire::messages`].
    Read,
    /// The outbox has something new to say.
    Woken,
    /// All was written, and more can be taken from the outbox.
    Written,
    /// Nothing more can be read or written.
    Failed(Failure),
}

/// What to do in one turn.
#[derive(Clone, Copy)]
pub(super) struct Wish {
    pub(super) read: bool,
    /// Whether to return when all is written.
    pub(super) more: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// A socket after its upgrade; `early` was read behind the request's head.
    pub(super) fn new(stream: S, early: &[u8], limits: &Limits) -> Self {
        let max_frame = limits.max_frame;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(max_frame))
            .max_frame_size(Some(max_frame));
        let websocket =
            WebSocketContext::from_partially_read(early.to_vec(), Role::Server, Some(config));
        Self {
            stream,
            websocket,
            out: Vec::new(),
            sent: 0,
            unflushed: false,
            messages: Vec::new(),
            partial: early.len(),
            most_partial: max_frame + FRAGMENT_BYTES,
            controls: Rate::new(limits.control_rate, CONTROL_BURST_MS),
            control_bucket: STILL,
            failure: None,
        }
    }

    /// Where finished frames go.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Bytes that wait for the socket.
    pub(super) fn backlog(&self) -> usize {
        self.out.len() - self.sent
    }

    /// The messages of the last turn.
    pub(super) fn messages(&mut self) -> Vec<Data> {
        std::mem::take(&mut self.messages)
    }

    /// Writes, reads and listens for the outbox, until there is something to tell.
    pub(super) fn poll_turn(
        &mut self,
        cx: &mut Context<'_>,
        peer: &Peer,
        wish: Wish,
    ) -> Poll<Turn> {
        peer.outbox.register(cx.waker());
        if let Err(error) = self.write(cx, peer) {
            return Poll::Ready(Turn::Failed(Error::from(error).into()));
        }
        if !wish.read {
            // What comes late because of us is not the client's fault.
            peer.awaits_rest(false);
        }
        if wish.read {
            self.read(cx, peer);
            // Pongs, and the reply to a close.
            if let Err(error) = self.write(cx, peer) {
                self.failure.get_or_insert(Error::from(error).into());
            }
        }
        if !self.messages.is_empty() {
            return Poll::Ready(Turn::Read);
        }
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Turn::Failed(failure));
        }
        if peer.outbox.is_scheduled() {
            return Poll::Ready(Turn::Woken);
        }
        if wish.more && self.out.is_empty() {
            return Poll::Ready(Turn::Written);
        }
        Poll::Pending
    }

    /// Queues a close frame; nothing can be read after it.
    pub(super) fn close(&mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        // An error says that the other end was first.
        let _ = self.websocket.close(&mut Outgoing(&mut self.out), Some(frame));
    }

    /// Writes what is left, then waits for the other end to hang up: data that nobody read would
    /// otherwise make the kernel reset the connection, and the goodbye with it.
    pub(super) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.out.len() {
            self.sent += ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out[self.sent..]))?;
        }
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        let mut ignored = [0; 1_024];
        loop {
            let mut buffer = ReadBuf::new(&mut ignored);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn write(&mut self, cx: &mut Context<'_>, peer: &Peer) -> io::Result<()> {
        if self.out.is_empty() && !self.unflushed {
            return Ok(());
        }
        let before = self.sent;
        while self.sent < self.out.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out[self.sent..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => self.sent += written,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        self.unflushed = match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(flushed) => flushed.map(|()| false)?,
            Poll::Pending => true,
        };
        peer.wrote(self.sent > before, self.unflushed || self.sent < self.out.len());
        if self.sent == self.out.len() {
            self.sent = 0;
            match self.out.capacity() > KEEP_BYTES {
                true => self.out = Vec::new(),
                false => self.out.clear(),
            }
        }
        Ok(())
    }

    fn read(&mut self, cx: &mut Context<'_>, peer: &Peer) {
        let (mut bytes, mut budget) = (0, MAX_BYTES);
        while self.messages.len() < MAX_FRAMES && bytes < MAX_BYTES && self.failure.is_none() {
            let before = budget;
            let mut socket = Socket {
                stream: &mut self.stream,
                cx: &mut *cx,
                out: &mut self.out,
                budget: &mut budget,
            };
            let read = self.websocket.read(&mut socket);
            if budget < before {
                peer.heard();
                self.partial += before - budget;
            }
            match read {
                Ok(Message::Text(text)) => {
                    self.partial = 0;
                    bytes += text.len();
                    self.messages.push(Data::Text(text.into()));
                }
                Ok(Message::Binary(data)) => {
                    self.partial = 0;
                    bytes += data.len();
                    self.messages.push(Data::Binary(data));
                }
                // The library has queued the answer; the next read writes it.
                Ok(control) => {
                    bytes += 64;
                    self.partial = self.partial.saturating_sub(control.len() + CONTROL_HEAD);
                    let now_us = peer.clock.now() * 1_000;
                    if self.controls.is_limited()
                        && self.controls.take(&mut self.control_bucket, now_us).is_err()
                    {
                        self.failure = Some(Failure::Controls);
                    }
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => self.failure = Some(error.into()),
            }
        }
        if self.partial > self.most_partial {
            self.failure.get_or_insert(Failure::Fragments);
        }
        peer.awaits_rest(self.partial > 0);
    }
}

/// The stream as tungstenite sees it: reads from the socket, writes into the buffer.
struct Socket<'a, 'c, S> {
    stream: &'a mut S,
    cx: &'a mut Context<'c>,
    out: &'a mut Vec<u8>,
    /// Bytes that may still be read in this turn: one call reads on until a message is whole, and a
    /// client that sends nothing but empty fragments must not hold the thread.
    budget: &'a mut usize,
}

impl<S: AsyncRead + Unpin> Read for Socket<'_, '_, S> {
    fn read(&mut self, data: &mut [u8]) -> io::Result<usize> {
        if *self.budget == 0 {
            self.cx.waker().wake_by_ref();
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let most = data.len().min(*self.budget);
        let mut buffer = ReadBuf::new(&mut data[..most]);
        match Pin::new(&mut *self.stream).poll_read(self.cx, &mut buffer) {
            Poll::Ready(Ok(())) => {
                *self.budget -= buffer.filled().len();
                Ok(buffer.filled().len())
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<S> Write for Socket<'_, '_, S> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        Outgoing(self.out).write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The buffer alone.
struct Outgoing<'a>(&'a mut Vec<u8>);

impl Write for Outgoing<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Outgoing<'_> {
    fn read(&mut self, _data: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}
