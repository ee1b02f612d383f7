//! The PROXY protocol, versions 1 and 2: a proxy's first bytes say whom it speaks for.
//!
//! Exactly the header is read, so what follows (TLS, HTTP) finds the stream at its start.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, as its specification has it.
const LONGEST_LINE: usize = 107;
/// Longest addresses and extensions of version 2 that are read; proxies send far less.
const LONGEST_BODY: usize = 2_048;

/// Reads the header. `None`: the proxy speaks for itself, as in its health checks.
///
/// # Errors
/// When the stream does not begin with one.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE { read_binary(stream).await } else { read_line(stream, &start).await }
}

async fn read_binary(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [version_and_command, family, high, low] = head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if version_and_command >> 4 != 2 || length > LONGEST_BODY {
        return Err(bad("its version or its length is not one that is read"));
    }
    let mut body = [0; LONGEST_BODY];
    let body = &mut body[..length];
    stream.read_exact(body).await?;
    match (version_and_command & 0x0f, family >> 4, &*body) {
        (0, ..) => Ok(None),
        (1, 1, [a, b, c, d, ..]) if length >= 12 => Ok(Some(Ipv4Addr::new(*a, *b, *c, *d).into())),
        (1, 2, body) if length >= 36 => {
            let bytes: [u8; 16] = body[..16].try_into().expect("sixteen");
            Ok(Some(Ipv6Addr::from(bytes).into()))
        }
        // A family without IP addresses, a socket of the same machine for example.
        (1, 0 | 3, _) => Ok(None),
        _ => Err(bad("its command or its addresses are not of the protocol")),
    }
}

async fn read_line(
    stream: &mut (impl AsyncRead + Unpin),
    start: &[u8],
) -> io::Result<Option<IpAddr>> {
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == LONGEST_LINE || !line.starts_with(b"PROXY ") {
            return Err(bad("it does not begin with `PROXY` or the signature of version 2"));
        }
        line.push(stream.read_u8().await?);
    }
    let line = std::str::from_utf8(&line).map_err(|_| bad("it is not ASCII"))?;
    let words: Vec<_> = line.trim_end().split(' ').collect();
    let source = words.get(2).and_then(|ip| ip.parse::<IpAddr>().ok());
    match (words.get(1).copied(), source) {
        (Some("UNKNOWN"), _) => Ok(None),
        (Some("TCP4"), Some(ip @ IpAddr::V4(_))) | (Some("TCP6"), Some(ip @ IpAddr::V6(_)))
            if words.len() == 6 =>
        {
            Ok(Some(ip))
        }
        _ => Err(bad("its line is not `PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT`")),
    }
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no header of the PROXY protocol: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of(mut bytes: &[u8]) -> Result<(Option<IpAddr>, usize), String> {
        match read(&mut bytes).await {
            Ok(ip) => Ok((ip, bytes.len())),
            Err(error) => Err(error.to_string()),
        }
    }

    fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[0x20 | command, family], &length, body].concat()
    }

    fn ip(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_leave_what_follows() {
        let line = b"PROXY TCP4 203.0.113.9 10.0.0.1 51000 443\r\nGET /";
        assert_eq!(of(line).await, Ok((ip("203.0.113.9"), 5)));
        let line = b"PROXY TCP6 2001:db8::9 ::1 51000 443\r\n";
        assert_eq!(of(line).await, Ok((ip("2001:db8::9"), 0)));
        let four = [203, 0, 113, 9, 10, 0, 0, 1, 0xc7, 0x38, 1, 0xbb];
        // With an extension, and bytes of what follows.
        let mut bytes = binary(1, 0x11, &[&four[..], &[4, 0, 1, 0]].concat());
        bytes.extend(b"GET /");
        assert_eq!(of(&bytes).await, Ok((ip("203.0.113.9"), 5)));
        let mut six = [0; 36];
        six[..2].copy_from_slice(&[0x20, 0x01]);
        assert_eq!(of(&binary(1, 0x21, &six)).await, Ok((ip("2001::"), 0)));
    }

    #[tokio::test]
    async fn a_proxy_may_speak_for_itself() {
        assert_eq!(of(b"PROXY UNKNOWN\r\n").await, Ok((None, 0)));
        assert_eq!(of(&binary(0, 0, &[])).await, Ok((None, 0)));
    }

    #[tokio::test]
    async fn anything_else_is_refused_early() {
        let wrong: [&[u8]; 8] = [
            b"GET /ws HTTP/1.1\r\n",
            b"PROXY TCP4 nonsense 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 2001:db8::9 ::1 1 2\r\n",
            b"PROXY TCP4 203.0.113.9 10.0.0.1 51000\r\n",
            b"PROXY ",
            &[b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat(),
            &binary(1, 0x11, &[1, 2, 3]),
            &binary(7, 0x11, &[0; 12]),
        ];
        for bytes in wrong {
            assert!(of(bytes).await.is_err(), "{bytes:?}");
        }
    }
}
