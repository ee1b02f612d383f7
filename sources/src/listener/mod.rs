//! One TCP address that several sources share: each mounts its routes, then the binary serves.
//!
//! ```text
//! new -> bind (errors show early) -> mount, mount, .. -> serve (ready) -> drain (not ready) -> shutdown
//! ```
//!
//! Invariant: a client that has not sent a whole request head within [`HEAD_DEADLINE`] holds nothing
//! any more, and at most `max_pending` clients are in that state or in a request. An upgraded
//! connection leaves this count; the source that upgraded it has a limit of its own.

mod client;
mod pending;
mod proxy;
mod stream;
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use imflow_kind::{Counter, Measure, Meters, Metric, Network, StartError};
use imflow_proto::wire::ErrorCode;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use self::pending::{Pending, Place};
use self::tls::Tls;
use crate::refusal::Refusal;

pub use self::client::ClientAddress;
pub use self::stream::Stream;
pub use self::tls::TlsFiles;

/// A request head must have arrived within this time.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// Longest request head.
pub const MAX_HEAD_BYTES: usize = 8 * 1024;
/// A response must have begun within this time.
const RESPONSE_DEADLINE: Duration = Duration::from_secs(30);
/// How long requests in progress may take once the listener shuts down.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// Clients that may wait to be accepted: many reconnect at once after a restart.
const BACKLOG: i32 = 4_096;

/// The address of the client, as an extension of each request: of the socket, or the one that a
/// trusted proxy tells.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddress(pub IpAddr);

/// What `[listeners.NAME]` says beside the address.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    pub tls: Option<TlsFiles>,
    pub client_address: ClientAddress,
    /// Who is believed when it tells of a client.
    pub trusted_proxies: Vec<Network>,
    /// Connections in HTTP at a time; more wait in the kernel's queue.
    pub max_pending: usize,
    /// Of these, from one address; more are closed.
    pub max_pending_per_ip: usize,
}

impl Default for ListenerConfig {
    fn default() -> Self {
        Self {
            tls: None,
            client_address: ClientAddress::Socket,
            trusted_proxies: Vec::new(),
            max_pending: 10_000,
            max_pending_per_ip: 1_000,
        }
    }
}

impl ListenerConfig {
    fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(ip))
    }
}

/// What a listener measures of itself.
pub const LISTENER_METRICS: &[Metric] = &[PENDING, REFUSED];
const PENDING: Metric = Metric::new(
    "listener_pending",
    Measure::Gauge,
    "connections in HTTP: handshakes and requests under way (`max_pending`)",
)
.labels(&["listener"]);
const REFUSED: Metric = Metric::new(
    "listener_refused",
    Measure::Counter,
    "connections closed before HTTP: their address has too many pending, they are no trusted proxy, their PROXY header or TLS handshake failed",
)
.labels(&["listener", "reason"]);

/// The counters of a listener.
struct Refusals {
    pending: Counter,
    proxy: Counter,
    tls: Counter,
}

/// An HTTP listener, offered by the binary as `Arc<HttpListener>` under [`HttpListener::role`].
pub struct HttpListener {
    name: String,
    address: String,
    config: Arc<ListenerConfig>,
    tls: Mutex<Option<Arc<Tls>>>,
    meters: Meters,
    bound: Mutex<Option<std::net::TcpListener>>,
    local_address: Mutex<Option<SocketAddr>>,
    routes: Mutex<Router>,
    readiness: Arc<Readiness>,
    stop: watch::Sender<bool>,
}

impl HttpListener {
    /// The listener `[listeners.NAME]` at `address`; nothing is opened yet.
    pub fn new(name: impl Into<String>, address: impl Into<String>) -> Arc<Self> {
        Self::configured(name, address, ListenerConfig::default(), &Meters::default())
    }

    /// As [`HttpListener::new`], with all that the file says of it.
    pub fn configured(
        name: impl Into<String>,
        address: impl Into<String>,
        config: ListenerConfig,
        meters: &Meters,
    ) -> Arc<Self> {
        let readiness = Arc::new(Readiness::default());
        Arc::new(Self {
            name: name.into(),
            address: address.into(),
            config: Arc::new(config),
            tls: Mutex::new(None),
            meters: meters.clone(),
            bound: Mutex::new(None),
            local_address: Mutex::new(None),
            routes: Mutex::new(health(Arc::clone(&readiness))),
            readiness,
            stop: watch::Sender::new(false),
        })
    }

    /// The name in `Roles` under which a listener is offered and found.
    pub fn role(name: &str) -> String {
        format!("listener:{name}")
    }

    /// Opens the address. Clients may connect from here on; they are served after [`Self::serve`].
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn bind(&self) -> Result<(), StartError> {
        if let Some(files) = &self.config.tls {
            let tls = Tls::open(files.clone());
            let tls = tls.map_err(|e| StartError::new(format!("listener `{}`: {e}", self.name)))?;
            *self.tls.lock() = Some(tls);
        }
        let opened = std::net::TcpListener::bind(&self.address).and_then(|socket| {
            // A second listen(2) only changes the length of the queue.
            rustix::net::listen(&socket, BACKLOG)?;
            socket.set_nonblocking(true)?;
            Ok((socket.local_addr()?, socket))
        });
        let (local_address, socket) = opened.map_err(|error| self.explain(&error))?;
        *self.local_address.lock() = Some(local_address);
        *self.bound.lock() = Some(socket);
        Ok(())
    }

    /// Whether clients speak TLS.
    pub fn is_tls(&self) -> bool {
        self.config.tls.is_some()
    }

    /// The address that was opened, with the port that was chosen for `:0`.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        *self.local_address.lock()
    }

    /// Adds routes. Call it before [`Self::serve`].
    ///
    /// # Panics
    /// When a route is already taken: two sources of the file claim the same path.
    pub fn mount(&self, routes: Router) {
        let mut mounted = self.routes.lock();
        *mounted = std::mem::take(&mut *mounted).merge(routes);
    }

    /// Starts to serve the mounted routes. Call it inside a tokio runtime, once.
    ///
    /// # Errors
    /// When the listener is not bound, or the runtime cannot take the socket.
    pub fn serve(self: &Arc<Self>) -> Result<(), StartError> {
        let bound = self.bound.lock().take();
        let socket = bound.ok_or_else(|| {
            StartError::new(format!("listener `{}` is served before it is bound", self.name))
        })?;
        let socket = TcpListener::from_std(socket).map_err(|error| self.explain(&error))?;
        let routes = self.routes().layer(middleware::from_fn(with_deadline));
        let refusals = ["pending", "proxy", "tls"]
            .map(|why| self.meters.counter(&REFUSED, &[&self.name, why]));
        let [pending, proxy, tls] = refusals;
        let door = Arc::new(Door {
            name: self.name.clone(),
            config: Arc::clone(&self.config),
            tls: self.tls.lock().clone(),
            pending: Pending::new(self.config.max_pending, self.config.max_pending_per_ip),
            refusals: Refusals { pending, proxy, tls },
            routes,
            stop: self.stop.subscribe(),
        });
        let counted = Arc::clone(&door.pending);
        self.meters.read(&PENDING, &[&self.name], move || counted.taken() as f64);
        tokio::spawn(door.accept(socket));
        self.readiness.serving.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether clients are served: as `/readyz` says.
    pub fn is_ready(&self) -> bool {
        self.readiness.is_ready()
    }

    /// `/readyz` answers 503 as long as the hold is not dropped: a source has something to do first.
    pub(crate) fn hold(&self) -> Hold {
        Hold { _count: Arc::clone(&self.readiness.holds) }
    }

    /// Takes what is mounted; what nobody has mounted is refused in the one form of errors.
    pub(crate) fn routes(&self) -> Router {
        std::mem::take(&mut *self.routes.lock())
            .fallback(unknown_route)
            .method_not_allowed_fallback(wrong_method)
    }

    /// `/readyz` answers 503 from here on; requests are still served.
    pub fn drain(&self) {
        self.readiness.serving.store(false, Ordering::Release);
    }

    /// Stops to accept, and ends HTTP connections once their request is answered.
    pub fn shutdown(&self) {
        self.drain();
        self.stop.send_replace(true);
    }

    fn explain(&self, error: &io::Error) -> StartError {
        let (name, address) = (&self.name, &self.address);
        let cure = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "the port is in use; stop the program that holds it, or choose another port"
                    .to_owned()
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need a privilege; choose a port above".to_owned()
            }
            io::ErrorKind::AddrNotAvailable => {
                "this machine has no such address; use one of its own, or 0.0.0.0 for all"
                    .to_owned()
            }
            io::ErrorKind::InvalidInput => "write it as HOST:PORT, like 127.0.0.1:8080".to_owned(),
            _ => format!("{error}; write it as HOST:PORT, like 127.0.0.1:8080"),
        };
        StartError::new(format!("listener `{name}` cannot listen on {address}: {cure}"))
    }
}

/// Keeps a listener from being ready.
pub(crate) struct Hold {
    _count: Arc<()>,
}

/// Whether the listener takes clients: it serves, and nobody holds it back.
#[derive(Default)]
struct Readiness {
    serving: AtomicBool,
    holds: Arc<()>,
}

impl Readiness {
    fn is_ready(&self) -> bool {
        self.serving.load(Ordering::Acquire) && Arc::strong_count(&self.holds) == 1
    }
}

/// `/healthz`: the process runs. `/readyz`: it takes clients.
fn health(readiness: Arc<Readiness>) -> Router {
    let readyz = |State(readiness): State<Arc<Readiness>>| async move {
        match readiness.is_ready() {
            true => (StatusCode::OK, "ready\n"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "not ready: starting or draining\n"),
        }
    };
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(readiness)
}

async fn unknown_route() -> Refusal {
    Refusal::of(ErrorCode::Invalid, "no such route; /v1/openapi.json lists those of the API")
        .with_status(StatusCode::NOT_FOUND)
}

async fn wrong_method() -> Refusal {
    let sentence = "this route takes other methods; /v1/openapi.json lists them";
    Refusal::of(ErrorCode::Invalid, sentence).with_status(StatusCode::METHOD_NOT_ALLOWED)
}

async fn with_deadline(request: Request, next: Next) -> Response {
    match timeout(RESPONSE_DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refusal::of(
            ErrorCode::Timeout,
            "the request was not complete, or not answered, within 30 s; send it again",
        )
        .with_status(StatusCode::REQUEST_TIMEOUT)
        .into_response(),
    }
}

/// What every connection meets on its way to the routes.
struct Door {
    name: String,
    config: Arc<ListenerConfig>,
    tls: Option<Arc<Tls>>,
    pending: Arc<Pending>,
    refusals: Refusals,
    routes: Router,
    stop: watch::Receiver<bool>,
}

impl Door {
    async fn accept(self: Arc<Self>, socket: TcpListener) {
        let mut stop = self.stop.clone();
        if let Some(tls) = self.tls.clone() {
            let (name, mut stop) = (self.name.clone(), self.stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = tls.follow(&name) => {}
                    _ = stop.changed() => {}
                }
            });
        }
        loop {
            let place = self.pending.place().await;
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                _ = stop.changed() => return,
            };
            match accepted {
                Ok((stream, address)) => {
                    tokio::spawn(Arc::clone(&self).serve(stream, address, place));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: accepting again at once would only spin.
                    tracing::warn!(listener = self.name, %error, "cannot accept a connection");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, address: SocketAddr, mut place: Place) {
        // Frames are coalesced before they are written, so waiting for more would only add delay.
        let _ = stream.set_nodelay(true);
        let peer = address.ip();
        if !self.config.trusts(peer) && !place.count(peer) {
            self.refusals.pending.inc();
            return;
        }
        let opened = timeout(HEAD_DEADLINE, self.open(stream, peer, &mut place)).await;
        if let Ok(Some((stream, client))) = opened {
            self.speak(stream, client).await;
        }
        drop(place);
    }

    /// What comes before HTTP: the proxy's header, then TLS. Gives the client's address with the stream.
    async fn open(
        &self,
        mut stream: TcpStream,
        peer: IpAddr,
        place: &mut Place,
    ) -> Option<(Stream, IpAddr)> {
        let mut client = peer;
        if self.config.client_address == ClientAddress::ProxyProtocol {
            if !self.config.trusts(peer) {
                self.refusals.proxy.inc();
                return None;
            }
            let told = proxy::read(&mut stream).await;
            let told = told.inspect_err(|error| {
                self.refusals.proxy.inc();
                tracing::debug!(listener = self.name, %peer, %error, "a proxy is not understood");
            });
            client = told.ok()?.unwrap_or(peer);
            if client != peer && !place.count(client) {
                self.refusals.pending.inc();
                return None;
            }
        }
        let Some(tls) = &self.tls else { return Some((Stream::Plain(stream), client)) };
        match tls.acceptor().accept(stream).await {
            Ok(stream) => Some((Stream::Tls(Box::new(stream)), client)),
            Err(_) => {
                self.refusals.tls.inc();
                None
            }
        }
    }

    async fn speak(&self, stream: Stream, client: IpAddr) {
        let mut stop = self.stop.clone();
        let routes = TowerToHyperService::new(self.routes.clone());
        let config = Arc::clone(&self.config);
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            let how = config.client_address;
            let client = how.of_request(client, request.headers(), &config.trusted_proxies);
            request.extensions_mut().insert(PeerAddress(client));
            routes.call(request)
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .max_header_size(MAX_HEAD_BYTES);
        let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut connection = std::pin::pin!(connection);
        // What a client does wrong in HTTP is answered by hyper and is no news for the log.
        tokio::select! {
            _ = connection.as_mut() => {}
            _ = stop.changed() => {
                connection.as_mut().graceful_shutdown();
                let _ = timeout(SHUTDOWN_GRACE, connection).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn request(address: SocketAddr, text: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("the listener accepts");
        stream.write_all(text.as_bytes()).await.expect("the request leaves");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    fn get(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    }

    #[tokio::test]
    async fn a_listener_that_is_held_or_drains_is_not_ready_and_still_answers() {
        let listener = HttpListener::new("main", "127.0.0.1:0");
        listener.bind().expect("a free port");
        let address = listener.local_addr().expect("bound");
        listener.mount(Router::new().route("/hello", axum::routing::get(|| async { "hi" })));
        let hold = listener.hold();
        listener.serve().expect("bound");
        assert!(request(address, &get("/readyz")).await.starts_with("HTTP/1.1 503"));
        drop(hold);
        assert!(request(address, &get("/readyz")).await.starts_with("HTTP/1.1 200"));
        assert!(request(address, &get("/hello")).await.ends_with("hi"));
        listener.drain();
        assert!(request(address, &get("/readyz")).await.starts_with("HTTP/1.1 503"));
        assert!(request(address, &get("/healthz")).await.starts_with("HTTP/1.1 200"));
        assert!(request(address, &get("/nowhere")).await.starts_with("HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn a_head_beyond_the_limit_is_refused() {
        let listener = HttpListener::new("main", "127.0.0.1:0");
        listener.bind().expect("a free port");
        listener.serve().expect("bound");
        let head = format!(
            "GET /healthz HTTP/1.1\r\nhost: x\r\nlong: {}\r\n\r\n",
            "y".repeat(MAX_HEAD_BYTES)
        );
        let answer = request(listener.local_addr().expect("bound"), &head).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }

    #[test]
    fn a_port_in_use_is_named_with_its_cure() {
        let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = holder.local_addr().expect("bound").to_string();
        let error =
            HttpListener::new("main", address.as_str()).bind().expect_err("in use").to_string();
        assert!(
            error.contains(&address) && error.contains("in use") && error.contains("`main`"),
            "{error}"
        );
    }
}
