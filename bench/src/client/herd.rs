//! Thousands of connections that mostly read: one epoll, one shared buffer, no task and no timer each.
//!
//! What the crowd of the other loads checks is not checked here, only counted: this driver must cost less
//! than the server that it measures.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll;

use super::frame;
use crate::failure::{Context as _, Failure};

/// One read takes what a coalescing server writes at a time.
const READ_BYTES: usize = 256 << 10;
const EVENTS: usize = 1_024;
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Herd {
    epoll: OwnedFd,
    members: Vec<Member>,
    buffer: Vec<u8>,
    /// Data frames that came.
    pub(crate) frames: u64,
    /// Pings that were answered.
    pub(crate) pongs: u64,
}

/// What was in one read.
#[derive(Default)]
struct Taken {
    frames: u64,
    pongs: u64,
}

struct Member {
    stream: TcpStream,
    /// The start of a frame whose end has not come.
    partial: Vec<u8>,
}

impl Herd {
    pub(crate) fn new() -> Result<Self, Failure> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC);
        let epoll = epoll.context(|| "making an epoll".to_owned())?;
        Ok(Self { epoll, members: Vec::new(), buffer: vec![0; READ_BYTES], frames: 0, pongs: 0 })
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Takes over a connected stream.
    pub(crate) fn add(&mut self, stream: TcpStream) -> Result<(), Failure> {
        let doing = || "adding a connection".to_owned();
        stream.set_nonblocking(true).context(doing)?;
        let data = epoll::EventData::new_u64(self.members.len() as u64);
        epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN).context(doing)?;
        self.members.push(Member { stream, partial: Vec::new() });
        Ok(())
    }

    /// Upgrades a connection and takes it over once its welcome has come.
    pub(crate) fn join(&mut self, address: SocketAddr, token: &str) -> Result<(), Failure> {
        let stream = upgrade(address, token)?;
        self.add(stream)
    }

    /// Reads what has come, waiting for `patience` at most, and calls `on_frame` with the member, the
    /// opcode and the payload of each frame. Pings are answered.
    pub(crate) fn read(
        &mut self,
        patience: Duration,
        mut on_frame: impl FnMut(usize, &[u8]),
    ) -> Result<(), Failure> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        let timeout = rustix::event::Timespec {
            tv_sec: patience.as_secs() as i64,
            tv_nsec: i64::from(patience.subsec_nanos()),
        };
        let spare = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.epoll, spare, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Failure::new(format!("waiting for connections: {error}"))),
        }
        for event in &events {
            let number = event.data.u64() as usize;
            let member = &mut self.members[number];
            let read = match member.stream.read(&mut self.buffer) {
                Ok(0) => return Err(Failure::new("the server closed a connection of the herd")),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(Failure::new(format!("reading: {error}"))),
            };
            let taken = member.take(&self.buffer[..read], |data| on_frame(number, data))?;
            self.frames += taken.frames;
            self.pongs += taken.pongs;
        }
        Ok(())
    }

    /// Reads until so many data frames have come in all; how long it took.
    pub(crate) fn read_until(&mut self, frames: u64) -> Result<Duration, Failure> {
        let begin = Instant::now();
        while self.frames < frames {
            self.read(Duration::from_millis(100), |_, _| {})?;
            if begin.elapsed() > PATIENCE {
                let text = format!("{} of {frames} frames came within {PATIENCE:?}", self.frames);
                return Err(Failure::new(text));
            }
        }
        Ok(begin.elapsed())
    }

    /// Sends one text frame on a connection.
    pub(crate) fn send(&mut self, member: usize, text: &str) -> Result<(), Failure> {
        let mut bytes = Vec::with_capacity(text.len() + 14);
        frame::write(frame::TEXT, text.as_bytes(), &mut bytes);
        let sent = (&self.members[member].stream).write_all(&bytes);
        sent.context(|| "sending from the herd".to_owned())
    }
}

impl Member {
    fn take(&mut self, read: &[u8], mut on_data: impl FnMut(&[u8])) -> Result<Taken, Failure> {
        let held = std::mem::take(&mut self.partial);
        let joined = [&held[..], read];
        let owned;
        let mut rest = match held.is_empty() {
            true => read,
            false => {
                owned = joined.concat();
                &owned[..]
            }
        };
        let mut taken = Taken::default();
        while let Some(found) = frame::read(rest)? {
            match found.opcode {
                frame::TEXT | frame::BINARY => {
                    taken.frames += 1;
                    on_data(found.payload);
                }
                frame::PING => {
                    taken.pongs += 1;
                    let mut pong = Vec::new();
                    frame::write(frame::PONG, found.payload, &mut pong);
                    let sent = self.stream.write_all(&pong);
                    sent.context(|| "answering a ping".to_owned())?;
                }
                frame::CLOSE => return Err(Failure::new("the server closed a connection")),
                _ => {}
            }
            rest = &rest[found.length..];
        }
        self.partial = rest.to_vec();
        Ok(taken)
    }
}

/// Connects, upgrades to JSON and waits for the welcome.
pub(crate) fn upgrade(address: SocketAddr, token: &str) -> Result<TcpStream, Failure> {
    let doing = || format!("opening ws://{address}/ws");
    let mut stream = TcpStream::connect(address).context(doing)?;
    stream.set_nodelay(true).context(doing)?;
    stream.set_read_timeout(Some(PATIENCE)).context(doing)?;
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: imflow.v1.json\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).context(doing)?;
    let mut bytes = Vec::with_capacity(1_024);
    loop {
        let mut part = [0; 1_024];
        let read = stream.read(&mut part).context(doing)?;
        bytes.extend_from_slice(&part[..read]);
        let head = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|end| end + 4);
        if read == 0 || head.is_some_and(|head| !bytes[..head].starts_with(b"HTTP/1.1 101")) {
            let text = String::from_utf8_lossy(&bytes);
            return Err(Failure::new(format!("{}: {}", doing(), text.trim())));
        }
        if let Some(head) = head
            && frame::read(&bytes[head..])?.is_some()
        {
            return Ok(stream);
        }
    }
}
