//! One TCP address that several sources share: each mounts its routes, then the binary serves.
//!
//! ```text
//! new -> bind (errors show early) -> mount, mount, .. -> serve (ready) -> drain (not ready) -> shutdown
//! ```
//!
//! Invariant: a client that has not sent a whole request head within [`HEAD_DEADLINE`] holds nothing
//! any more, and at most [`MAX_CONNECTIONS`] clients are in that state or in a request. An upgraded
//! connection leaves this count; the source that upgraded it has a limit of its own.

use std::io;
use std::net::SocketAddr;
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
use imflow_kind::StartError;
use imflow_proto::wire::ErrorCode;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::refusal::Refusal;

/// A request head must have arrived within this time.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// Longest request head.
pub const MAX_HEAD_BYTES: usize = 8 * 1024;
/// Connections in HTTP at a time; more wait in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 10_000;
/// A response must have begun within this time.
const RESPONSE_DEADLINE: Duration = Duration::from_secs(30);
/// How long requests in progress may take once the listener shuts down.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// Clients that may wait to be accepted: many reconnect at once after a restart.
const BACKLOG: i32 = 4_096;

/// The address of the client, as an extension of each request.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddress(pub SocketAddr);

/// An HTTP listener, offered by the binary as `Arc<HttpListener>` under [`HttpListener::role`].
pub struct HttpListener {
    name: String,
    address: String,
    bound: Mutex<Option<std::net::TcpListener>>,
    local_address: Mutex<Option<SocketAddr>>,
    routes: Mutex<Router>,
    readiness: Arc<Readiness>,
    stop: watch::Sender<bool>,
}

impl HttpListener {
    /// The listener `[listeners.NAME]` at `address`; nothing is opened yet.
    pub fn new(name: impl Into<String>, address: impl Into<String>) -> Arc<Self> {
        let readiness = Arc::new(Readiness::default());
        Arc::new(Self {
            name: name.into(),
            address: address.into(),
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
        tokio::spawn(accept(self.name.clone(), socket, routes, self.stop.subscribe()));
        self.readiness.serving.store(true, Ordering::Release);
        Ok(())
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

async fn accept(
    name: String,
    socket: TcpListener,
    routes: Router,
    mut stop: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = stop.changed() => return,
        };
        match accepted {
            Ok((stream, address)) => {
                let connection = serve(stream, address, routes.clone(), stop.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: accepting again at once would only spin.
                tracing::warn!(listener = name, %error, "cannot accept a connection");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    routes: Router,
    mut stop: watch::Receiver<bool>,
) {
    // Frames are coalesced before they are written, so waiting for more would only add delay.
    let _ = stream.set_nodelay(true);
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(PeerAddress(address));
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
