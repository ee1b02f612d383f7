//! A tiny HTTP client over one kept-alive connection: enough for the control API of one server.
//!
//! It reads answers with a `Content-Length` only, which is what the control API sends.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::failure::{Context as _, Failure};

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection that asks one thing at a time.
pub(crate) struct Http {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

/// Status and body of an answer.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// # Errors
    /// When the request was not done.
    pub(crate) fn expect_success(&self, doing: &str) -> Result<(), Failure> {
        if (200..300).contains(&self.status) {
            return Ok(());
        }
        let body = String::from_utf8_lossy(&self.body);
        Err(Failure::new(format!("{doing} was answered {}: {body}", self.status)))
    }
}

impl Http {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self, Failure> {
        let doing = || format!("connecting to http://{address}");
        let stream = TcpStream::connect_timeout(&address, PATIENCE).context(doing)?;
        stream.set_nodelay(true).context(doing)?;
        stream.set_read_timeout(Some(PATIENCE)).context(doing)?;
        Ok(Self { address, stream: BufReader::new(stream) })
    }

    pub(crate) fn get(&mut self, path: &str) -> Result<Answer, Failure> {
        self.ask("GET", path, "", b"")
    }

    pub(crate) fn get_as(&mut self, path: &str, token: &str) -> Result<Answer, Failure> {
        self.ask("GET", path, &format!("Authorization: Bearer {token}\r\n"), b"")
    }

    pub(crate) fn post(&mut self, path: &str, token: &str, json: &[u8]) -> Result<Answer, Failure> {
        let headers =
            format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
        self.ask("POST", path, &headers, json)
    }

    pub(crate) fn put(&mut self, path: &str, token: &str, json: &[u8]) -> Result<Answer, Failure> {
        let headers =
            format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
        self.ask("PUT", path, &headers, json)
    }

    fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> Result<Answer, Failure> {
        let doing = || format!("{method} http://{}{path}", self.address);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        let request = [head.as_bytes(), body].concat();
        self.stream.get_mut().write_all(&request).context(doing)?;
        read_answer(&mut self.stream).context(doing)
    }
}

fn read_answer(stream: &mut impl std::io::BufRead) -> Result<Answer, Failure> {
    let mut line = String::new();
    let mut next_line = |stream: &mut dyn std::io::BufRead| -> Result<String, Failure> {
        line.clear();
        let read =
            stream.read_line(&mut line).context(|| "reading the answer's head".to_owned())?;
        if read == 0 {
            return Err(Failure::new(
                "the server closed the connection before the end of its answer",
            ));
        }
        Ok(line.trim_end().to_owned())
    };
    let first = next_line(stream)?;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status
        .ok_or_else(|| Failure::new(format!("expected an HTTP status line, found `{first}`")))?;
    let mut length = 0;
    loop {
        let header = next_line(stream)?;
        if header.is_empty() {
            break;
        }
        let Some((name, value)) = header.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().context(|| format!("reading the header `{header}`"))?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).context(|| "reading the answer's body".to_owned())?;
    Ok(Answer { status, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_one_after_the_other() {
        let text = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let mut stream = &text[..];
        assert_eq!(
            read_answer(&mut stream).expect("whole"),
            Answer { status: 201, body: b"{}".to_vec() }
        );
        assert_eq!(
            read_answer(&mut stream).expect("whole"),
            Answer { status: 200, body: Vec::new() }
        );
        assert!(read_answer(&mut stream).is_err());
    }
}
