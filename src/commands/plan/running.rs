//! Asks a running service for the outline of what it runs.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use imflow_sources::auth::Secrets;
use tokio::net::TcpStream;

use super::Outline;

/// How long the whole question may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// An outline of 10,000 nodes is some 5 MiB.
const LARGEST: usize = 64 << 20;

pub(super) fn outline(url: &str, data: &Path) -> Result<Outline, String> {
    let key = key(data)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("the I/O thread cannot be started: {e}"))?;
    let asked = runtime.block_on(async { tokio::time::timeout(PATIENCE, ask(url, &key)).await });
    asked.unwrap_or_else(|_| Err(format!("{url} did not answer within {} s", PATIENCE.as_secs())))
}

fn key(data: &Path) -> Result<String, String> {
    if let Ok(key) = std::env::var("IMFLOW_ADMIN_KEY") {
        return Ok(key);
    }
    let secrets = Secrets::open(data).map_err(|e| e.to_string())?;
    secrets.mint_admin(PATIENCE * 2).map_err(|e| e.to_string())
}

async fn ask(url: &str, key: &str) -> Result<Outline, String> {
    let not_reached = |e: &dyn std::fmt::Display| {
        format!("{url} cannot be asked: {e}; start the service, or name a file with --against")
    };
    let uri: Uri = url.parse().map_err(|e| not_reached(&e))?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http"));
    let authority =
        authority.ok_or_else(|| format!("`{url}` is not an address like http://127.0.0.1:8080"))?;
    let address = (authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(address).await.map_err(|e| not_reached(&e))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| not_reached(&e))?;
    let driver = tokio::spawn(connection);
    let request = Request::get("/v1/topology")
        .header(HOST, authority.as_str())
        .header(AUTHORIZATION, format!("Bearer {key}"))
        .body(Empty::<Bytes>::new())
        .map_err(|e| not_reached(&e))?;
    let answer = sender.send_request(request).await.map_err(|e| not_reached(&e))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LARGEST).collect().await;
    let body = body.map_err(|e| format!("{url} did not tell its topology: {e}"))?.to_bytes();
    driver.abort();
    match status {
        StatusCode::OK => serde_json::from_slice(&body).map_err(|e| {
            format!("{url} tells its topology in another form ({e}); both must be of one version")
        }),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(format!(
            "{url} does not take the key of this data directory; give one that `imflow token --admin` printed beside that service in IMFLOW_ADMIN_KEY"
        )),
        StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED => Err(format!(
            "{url} has no control API that tells its topology: a source of kind `control` does"
        )),
        other => Err(format!("{url} answered {other}")),
    }
}
