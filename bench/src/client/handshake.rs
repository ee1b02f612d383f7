//! From a TCP connection to a WebSocket that has been welcomed.

use std::net::SocketAddr;
use std::time::Duration;

use imflow_proto::frame::Format;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::frame;
use crate::failure::{Context as _, Failure};

/// Longest wait for the answer to the upgrade and for the welcome.
const PATIENCE: Duration = Duration::from_secs(10);
/// Answers to the upgrade that are longer are no answers.
const MAX_HEAD: usize = 16 << 10;

/// Where a client connects and as what.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    pub(crate) format: Format,
}

/// Connects, upgrades, and waits for the first frame, which is the welcome. Gives the stream and the
/// bytes that came with the welcome's frame and after it.
pub(crate) async fn open(door: &Door) -> Result<(TcpStream, Vec<u8>), Failure> {
    let doing = || format!("opening ws://{}/ws", door.address);
    let opened = tokio::time::timeout(PATIENCE, upgrade(door)).await;
    opened.context(doing)?.map_err(|failure| Failure::new(format!("{}: {failure}", doing())))
}

async fn upgrade(door: &Door) -> Result<(TcpStream, Vec<u8>), Failure> {
    let mut stream = TcpStream::connect(door.address).await.context(|| "connecting".to_owned())?;
    stream.set_nodelay(true).context(|| "setting TCP_NODELAY".to_owned())?;
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {}\r\nAuthorization: Bearer {}\r\n\r\n",
        door.address,
        door.format.subprotocol(),
        door.token
    );
    stream.write_all(request.as_bytes()).await.context(|| "sending the upgrade".to_owned())?;
    let mut buffer = Vec::with_capacity(MAX_HEAD);
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
        more(&mut stream, &mut buffer).await?;
        if buffer.len() > MAX_HEAD {
            return Err(Failure::new("the answer to the upgrade has no end"));
        }
    };
    check_head(&String::from_utf8_lossy(&buffer[..head]), door.format)?;
    buffer.drain(..head);
    while frame::read(&buffer)?.is_none() {
        more(&mut stream, &mut buffer).await?;
    }
    Ok((stream, buffer))
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(), Failure> {
    match stream.read_buf(buffer).await.context(|| "reading".to_owned())? {
        0 => Err(Failure::new("the server closed the connection before the welcome")),
        _ => Ok(()),
    }
}

fn check_head(head: &str, format: Format) -> Result<(), Failure> {
    let first = head.lines().next().unwrap_or_default();
    if first.split(' ').nth(1) != Some("101") {
        return Err(Failure::new(format!("expected 101 Switching Protocols, found `{first}`")));
    }
    let chosen = head.lines().filter_map(|line| line.split_once(':'));
    let chosen = chosen.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-protocol"));
    match chosen.map(|(_, value)| value.trim()).next() {
        Some(name) if name == format.subprotocol() => Ok(()),
        other => Err(Failure::new(format!(
            "asked for {}, the server chose {other:?}",
            format.subprotocol()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_asked_subprotocol_will_do() {
        let head = |code: u16, name: &str| {
            format!("HTTP/1.1 {code} X\r\nSec-WebSocket-Protocol: {name}\r\n\r\n")
        };
        assert!(check_head(&head(101, "imflow.v1.proto"), Format::Proto).is_ok());
        assert!(check_head(&head(101, "imflow.v1.json"), Format::Proto).is_err());
        assert!(check_head(&head(401, "imflow.v1.proto"), Format::Proto).is_err());
    }
}
