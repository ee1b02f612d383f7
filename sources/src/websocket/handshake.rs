//! From an HTTP request to a connection: everything that can be refused is refused here, before the
//! upgrade, with a status and a sentence.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use imflow_proto::frame::Format;
use imflow_proto::record::{Scopes, Session};
use imflow_proto::wire::{Error, ErrorCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::connection::{Connection, leave};
use super::hub::{Gateway, NoRoom, Place};
use super::meters::Refused;
use super::origins::Origins;
use super::parking;
use super::peer::Peer;
use super::resume::Resume;
use crate::address;
use crate::auth::{Claims, Secrets};
use crate::bearer::{bearer, not_accepted};
use crate::refusal::Refusal;
use crate::{PeerAddress, Stream};

/// When to come back after 429 and 503.
const RETRY_AFTER_MS: u64 = 5_000;

/// A gateway and what it tells its visitors by.
pub(super) struct Door {
    pub(super) gateway: Arc<Gateway>,
    pub(super) secrets: Arc<Secrets>,
    pub(super) origins: Origins,
}

/// `GET {path}`.
pub(super) async fn upgrade(State(door): State<Arc<Door>>, request: Request) -> Response {
    match door.accept(request) {
        Ok(response) => response,
        Err(TurnedAway { why, refusal }) => {
            door.gateway.hub.meters.refuse(why);
            refusal.into_response()
        }
    }
}

/// A visitor that was refused.
struct TurnedAway {
    why: Refused,
    refusal: Refusal,
}

/// Says of a refusal what it is counted as.
fn because(why: Refused) -> impl Fn(Refusal) -> TurnedAway {
    move |refusal| TurnedAway { why, refusal }
}

impl Door {
    fn accept(&self, mut request: Request) -> Result<Response, TurnedAway> {
        let Self { gateway, secrets, origins } = self;
        let malformed = because(Refused::Request);
        let key = websocket_key(request.headers()).map_err(&malformed)?;
        if gateway.draining.load(Ordering::Acquire) {
            let error = Error::of(
                ErrorCode::ShuttingDown,
                "this node is shutting down; connect again after a short while",
            );
            return Err(because(Refused::Draining)(error.retry_after(RETRY_AFTER_MS).into()));
        }
        origins
            .admit(request.headers())
            .map_err(|origin| because(Refused::Origin)(refuse_origin(origin)))?;
        let ip = request
            .extensions()
            .get::<PeerAddress>()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| address::counted(peer.0));
        gateway
            .throttle
            .handshake(ip, gateway.now_us())
            .map_err(|wait_ms| because(Refused::Rate)(refuse_haste(wait_ms)))?;
        let offered = Offered::read(request.headers());
        let format = offered.format().map_err(&malformed)?;
        let place = gateway
            .doors
            .enter(ip, &gateway.hub.limits)
            .map_err(|no_room| because(no_room.counted())(refuse_place(&no_room)))?;
        let not_known = because(Refused::Token);
        let token = bearer(request.headers()).or(offered.token);
        let token = token.ok_or_else(no_token).map_err(&not_known)?;
        let claims = secrets.verify(token).map_err(|error| not_known(not_accepted(&error)))?;
        let peer = register(gateway, claims, format, ip, offered.resume())
            .map_err(because(Refused::PerUser))?;
        gateway.hub.meters.opened.inc();
        tokio::spawn(connect(Arc::clone(gateway), peer, hyper::upgrade::on(&mut request), place));
        Ok(switching(&key, format))
    }
}

/// Waits for the upgrade, then lives as the connection.
async fn connect(
    gateway: Arc<Gateway>,
    peer: Arc<Peer>,
    upgrade: hyper::upgrade::OnUpgrade,
    place: Place,
) {
    let parts = match upgrade.await {
        Ok(upgraded) => upgraded.downcast::<TokioIo<Stream>>().ok(),
        Err(_) => None,
    };
    match parts {
        Some(parts) => {
            let stream = parts.io.into_inner();
            let connection = Connection::new(gateway, peer, stream, &parts.read_buf);
            // The buffer of the request would cost each connection 8 KiB for as long as it lives.
            drop(parts.read_buf);
            Box::pin(connection.run()).await;
        }
        None => {
            parking::succeed(&gateway, &peer);
            leave(&gateway, &peer, &mut Vec::new(), false);
        }
    }
    drop(place);
}

/// Makes a session of what a token grants, in place of an older one of the same device.
pub(super) fn register(
    gateway: &Gateway,
    claims: Claims,
    format: Format,
    ip: IpAddr,
    resume: Option<Option<Resume<'_>>>,
) -> Result<Arc<Peer>, Refusal> {
    let session = Session {
        number: gateway.next_session(),
        user_id: claims.user_id.into(),
        device_id: claims.device_id.into(),
        // What an administrator may do, only the control API offers.
        scopes: Scopes { admin: false, ..claims.scopes },
    };
    let hub = &gateway.hub;
    let peer = Peer::new(session, format, ip, gateway.begin(), claims.expires_at_ms, hub);
    if resume.is_some() && hub.limits.resume_window_ms > 0 {
        peer.outbox.keep();
    }
    let wanted = resume.flatten();
    let take_over = |older: &Arc<Peer>| {
        if let Some(wanted) = &wanted {
            parking::take_over(gateway, older, &peer, wanted);
        }
    };
    let most = hub.limits.max_connections_per_user;
    let replaced = hub.registry.insert(&peer, most, take_over).map_err(|_| {
        let sentence = "this user has as many connections as it may; close one on another device";
        Refusal::from(Error::of(ErrorCode::Busy, sentence).retry_after(RETRY_AFTER_MS))
            .with_status(StatusCode::TOO_MANY_REQUESTS)
    })?;
    if wanted.is_some() {
        hub.meters.resumed(peer.recovered.load(Ordering::Relaxed));
    }
    *peer.older.lock() = replaced;
    Ok(peer)
}

fn websocket_key(headers: &HeaderMap) -> Result<HeaderValue, Refusal> {
    let has = |name, word: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(word))
    };
    if !has(header::CONNECTION, "upgrade") || !has(header::UPGRADE, "websocket") {
        return Err(Refusal::of(
            ErrorCode::Invalid,
            "this path speaks WebSocket: connect with a WebSocket client",
        )
        .with_status(StatusCode::UPGRADE_REQUIRED));
    }
    if !has(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(Refusal::of(ErrorCode::Unsupported, "`Sec-WebSocket-Version` must be 13")
            .with_status(StatusCode::UPGRADE_REQUIRED));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).cloned();
    key.ok_or_else(|| Refusal::of(ErrorCode::Invalid, "`Sec-WebSocket-Key` is missing"))
}

/// What the client offered in `Sec-WebSocket-Protocol`.
struct Offered<'a> {
    protocols: Vec<&'a str>,
    /// Browsers cannot set `Authorization`, so a token may come as a second subprotocol.
    token: Option<&'a str>,
}

impl<'a> Offered<'a> {
    fn read(headers: &'a HeaderMap) -> Self {
        let values = headers
            .get_all(header::SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let protocols: Vec<_> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
        let token = protocols.iter().find_map(|protocol| protocol.strip_prefix("bearer."));
        Self { protocols, token }
    }

    /// What the client wants to go on with.
    fn resume(&self) -> Option<Option<Resume<'a>>> {
        self.protocols.iter().find_map(|protocol| Resume::read(protocol))
    }

    /// The client's first choice of those that are spoken here.
    fn format(&self) -> Result<Format, Refusal> {
        let spoken =
            |name: &&str| Format::ALL.into_iter().find(|format| format.subprotocol() == *name);
        self.protocols.iter().find_map(spoken).ok_or_else(|| {
            let [json, proto] = Format::ALL.map(Format::subprotocol);
            Refusal::of(
                ErrorCode::Invalid,
                format!("offer the subprotocol `{json}` or `{proto}` in `Sec-WebSocket-Protocol`"),
            )
        })
    }
}

fn switching(key: &HeaderValue, format: Format) -> Response {
    let accept = derive_accept_key(key.as_bytes());
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .header(header::SEC_WEBSOCKET_PROTOCOL, format.subprotocol())
        .body(Body::empty())
        .expect("base64 and subprotocols are valid header values")
}

fn no_token() -> Refusal {
    let sentence =
        "no token: send `Authorization: Bearer TOKEN`, or the subprotocol `bearer.TOKEN`";
    Refusal::of(ErrorCode::Unauthenticated, sentence)
}

fn refuse_origin(origin: &str) -> Refusal {
    let sentence = format!(
        "pages of `{origin}` may not connect here; the option `origins` of the gateway lists those that may"
    );
    Refusal::of(ErrorCode::Forbidden, sentence)
}

fn refuse_haste(wait_ms: u64) -> Refusal {
    let sentence = "too many handshakes come from your IP address; connect again after a while";
    Error::of(ErrorCode::RateLimited, sentence).retry_after(wait_ms.max(1_000)).into()
}

impl NoRoom {
    fn counted(&self) -> Refused {
        match self {
            Self::Total => Refused::Total,
            Self::Address => Refused::PerIp,
        }
    }
}

fn refuse_place(no_room: &NoRoom) -> Refusal {
    let (status, sentence) = match no_room {
        NoRoom::Total => (
            StatusCode::SERVICE_UNAVAILABLE,
            "this node has as many connections as it may; connect again later",
        ),
        NoRoom::Address => (
            StatusCode::TOO_MANY_REQUESTS,
            "your IP address has as many connections as it may; close some first",
        ),
    };
    Refusal::from(Error::of(ErrorCode::Busy, sentence).retry_after(RETRY_AFTER_MS))
        .with_status(status)
}
