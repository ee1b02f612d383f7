//! One WebSocket connection to a server, as the client commands need it: envelopes in, envelopes out.
//!
//! It speaks the JSON subprotocol, answers pings, and notices a server that has gone silent. Whether to
//! connect again, and what to send then, is its caller's business.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use imflow_proto::frame::{self, Format};
use imflow_proto::wire::{Envelope, envelope::Body};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{self, ClientRequestBuilder, Message, http};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// How long connecting and the server's welcome may take together.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Until the welcome has told the server's own interval.
const DEFAULT_SILENCE: Duration = Duration::from_secs(60);

/// Why there is no connection, or none any more.
#[derive(Debug)]
pub(crate) enum Lost {
    /// Trying again can help.
    Retryable(String),
    /// The server will say the same again.
    Final(String),
}

/// A connection that the server has welcomed.
pub(crate) struct Connection {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Envelopes of the last frame that were not handed out yet.
    received: VecDeque<Envelope>,
    /// A server that sends not even a ping for so long is gone.
    silence: Duration,
    heard: Instant,
}

impl Connection {
    /// Connects to `url` with a bearer token and waits for the welcome.
    pub(crate) async fn open(url: &str, token: &str) -> Result<Self, Lost> {
        let connected = tokio::time::timeout(HANDSHAKE, Self::handshake(url, token)).await;
        connected.unwrap_or_else(|_| {
            Err(Lost::Retryable(format!("{url} did not answer within {} s", HANDSHAKE.as_secs())))
        })
    }

    async fn handshake(url: &str, token: &str) -> Result<Self, Lost> {
        let uri = url.parse::<http::Uri>().ok().filter(|uri| uri.scheme_str() == Some("ws"));
        let uri = uri.ok_or_else(|| {
            Lost::Final(format!("`{url}` is not an address like ws://127.0.0.1:8080/ws"))
        })?;
        let request = ClientRequestBuilder::new(uri)
            .with_header("Authorization", format!("Bearer {token}"))
            .with_sub_protocol(Format::Json.subprotocol());
        let (socket, _) = connect_async(request).await.map_err(|error| refused(url, &error))?;
        let mut connection = Self {
            socket,
            received: VecDeque::new(),
            silence: DEFAULT_SILENCE,
            heard: Instant::now(),
        };
        match connection.next().await?.body {
            Some(Body::Welcome(welcome)) => {
                let interval = Duration::from_millis(welcome.ping_interval_ms.into());
                connection.silence = (interval * 5 / 2).max(Duration::from_secs(5));
                Ok(connection)
            }
            Some(Body::Goodbye(goodbye)) if goodbye.reconnect => {
                Err(Lost::Retryable(goodbye.reason))
            }
            Some(Body::Goodbye(goodbye)) => Err(Lost::Final(goodbye.reason)),
            _ => Err(Lost::Final(format!(
                "{url} is no imflow server: its first envelope was not a welcome"
            ))),
        }
    }

    /// The next envelope from the server. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Envelope, Lost> {
        loop {
            if let Some(envelope) = self.received.pop_front() {
                return Ok(envelope);
            }
            let message =
                tokio::time::timeout_at(self.heard + self.silence, self.socket.next()).await;
            let message = message.map_err(|_| {
                Lost::Retryable(format!("the server sent nothing for {} s", self.silence.as_secs()))
            })?;
            self.heard = Instant::now();
            match message {
                Some(Ok(Message::Text(text))) => {
                    self.take(&Bytes::copy_from_slice(text.as_bytes()))?;
                }
                Some(Ok(Message::Close(close))) => return Err(closed(close.as_ref())),
                // Pings are answered by the library; other frames are not of this subprotocol.
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    return Err(Lost::Retryable(format!("the connection broke: {error}")));
                }
                None => return Err(Lost::Retryable("the server closed the connection".to_owned())),
            }
        }
    }

    fn take(&mut self, frame: &Bytes) -> Result<(), Lost> {
        let envelopes = frame::decode(Format::Json, frame).map_err(|error| {
            Lost::Final(format!("the server sent a frame that cannot be read: {error}"))
        })?;
        // What a newer server adds to the schema is left out, not fatal.
        self.received.extend(envelopes.into_iter().flatten());
        Ok(())
    }

    /// Sends envelopes in one frame, in order.
    pub(crate) async fn send(&mut self, envelopes: &[Envelope]) -> Result<(), Lost> {
        let mut frame = Vec::new();
        for envelope in envelopes {
            frame::encode(Format::Json, envelope, &mut frame);
        }
        let text = String::from_utf8(frame).expect("JSON is UTF-8");
        let sent = self.socket.send(Message::text(text)).await;
        sent.map_err(|error| Lost::Retryable(format!("the connection broke: {error}")))
    }

    /// Says good-bye; a connection that is broken already needs none.
    pub(crate) async fn close(mut self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.socket.close(None)).await;
    }
}

/// Close codes from 4000 on are the service's: 44xx say that the client must change something first.
fn closed(frame: Option<&tungstenite::protocol::CloseFrame>) -> Lost {
    let Some(frame) = frame else {
        return Lost::Retryable("the server closed the connection".to_owned());
    };
    let code = u16::from(frame.code);
    let reason = format!("the server closed the connection with code {code}: {}", frame.reason);
    if matches!(code, 1002 | 1003 | 1007 | 4500..=4999) {
        Lost::Final(reason)
    } else {
        Lost::Retryable(reason)
    }
}

fn refused(url: &str, error: &tungstenite::Error) -> Lost {
    match error {
        tungstenite::Error::Http(response) => {
            let status = response.status();
            let body = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            let reason =
                format!("{url} refused the connection with HTTP {status}: {}", body.trim());
            if status.is_server_error() || status == http::StatusCode::TOO_MANY_REQUESTS {
                Lost::Retryable(reason)
            } else {
                Lost::Final(reason)
            }
        }
        tungstenite::Error::Io(error) => Lost::Retryable(format!("cannot reach {url}: {error}")),
        error => Lost::Retryable(format!("cannot connect to {url}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_tungstenite::tungstenite::protocol::CloseFrame;

    #[test]
    fn close_codes_say_whether_to_come_back() {
        let close =
            |code: u16| closed(Some(&CloseFrame { code: code.into(), reason: "why".into() }));
        assert!(
            matches!(close(1001), Lost::Retryable(_)) && matches!(close(1012), Lost::Retryable(_))
        );
        assert!(matches!(close(4501), Lost::Final(reason) if reason.contains("4501: why")));
    }

    #[test]
    fn an_address_without_ws_is_refused_with_an_example() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let opened = runtime.block_on(Connection::open("http://127.0.0.1:1/ws", "t"));
        assert!(
            matches!(opened.err(), Some(Lost::Final(reason)) if reason.contains("ws://127.0.0.1:8080/ws"))
        );
    }
}
