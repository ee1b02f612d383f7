//! `imflow run`: serves a topology until it is told to stop.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use imflow_kind::{Clock, Meters, NoNetwork, Roles, SystemClock, Topology};
use imflow_sources::{ClientAddress, HttpListener, ListenerConfig, TlsFiles, metrics_route};
use imflow_topology::outline::outline;
use imflow_topology::{Listener, Plan};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::{Failure, FileArgs, assembly, notify, terminal};

pub fn run(file: &FileArgs) -> Result<(), Failure> {
    let plan = assembly::load(file)?;
    let colour = terminal::takes_colour(&std::io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(log_filter()).with_ansi(colour);
    log.with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|e| Failure::Other(format!("the I/O threads cannot be started: {e}")))?;
    runtime.block_on(serve(plan, file)).map_err(Failure::Other)
}

/// `IMFLOW_LOG`, as `RUST_LOG` is written; by default `info`.
fn log_filter() -> EnvFilter {
    let filter = EnvFilter::try_from_env("IMFLOW_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // These would write frames, and so messages and tokens, into the log when asked for traces.
    let quiet =
        ["tungstenite", "tokio_tungstenite", "hyper", "hyper_util", "axum", "fjall", "lsm_tree"];
    quiet.iter().fold(filter, |filter, name| match format!("{name}=warn").parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    })
}

async fn serve(plan: Plan, file: &FileArgs) -> Result<(), String> {
    let roles = Roles::default();
    let meters = Meters::default();
    roles.offer(Meters::NAME, meters.clone());
    let mut listeners = Vec::new();
    for listener in &plan.listeners {
        let (name, address) = (&listener.name, listener.address.to_string());
        let bound = HttpListener::configured(name, address, config_of(listener)?, &meters);
        // Early, so that a port in use is told before anything else starts.
        bound.bind().map_err(|e| e.to_string())?;
        bound.mount(metrics_route(meters.clone()));
        roles.offer(&HttpListener::role(&listener.name), Arc::clone(&bound));
        listeners.push(bound);
    }
    let outline = serde_json::to_string(&outline(&plan)).map_err(|e| e.to_string())?;
    roles.offer(Topology::NAME, Topology(outline.into()));
    let stop = stop_signal().map_err(|e| format!("signals cannot be watched: {e}"))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let data = plan.service.data.clone();
    let running = tokio::task::block_in_place(|| imflow_topology::start(plan, &roles, &clock));
    let running = running.map_err(|e| e.to_string())?;
    for listener in &listeners {
        listener.serve().map_err(|e| e.to_string())?;
    }
    greet(file, &data, &listeners);
    tokio::spawn(notify::watchdog());
    tokio::spawn(tell_when_ready(listeners.clone()));
    stop.await;
    notify::tell(notify::STOPPING);
    tracing::info!("stopping: commands under way finish, then the log is synced");
    listeners.iter().for_each(|listener| listener.drain());
    tokio::task::block_in_place(|| running.stop());
    for listener in &listeners {
        listener.shutdown();
    }
    tracing::info!("stopped");
    Ok(())
}

/// Sources may have something to do before they serve: to make the conversations of the file, for example.
async fn tell_when_ready(listeners: Vec<Arc<HttpListener>>) {
    while !listeners.iter().all(|listener| listener.is_ready()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    notify::tell(notify::READY);
}

/// What the file says of a listener; paths are as seen from where the service runs.
fn config_of(listener: &Listener) -> Result<ListenerConfig, String> {
    let options = &listener.options;
    let (certificate, key) = (options.text("tls_certificate"), options.text("tls_key"));
    let tls = (!certificate.is_empty())
        .then(|| TlsFiles { certificate: certificate.into(), key: key.into() });
    let trusted = options.texts("trusted_proxies").iter().map(|network| network.parse());
    let limit = |name| usize::try_from(options.integer(name)).unwrap_or(usize::MAX);
    Ok(ListenerConfig {
        tls,
        client_address: ClientAddress::read(options.text("client_address"))
            .expect("`check` lets only its words pass"),
        trusted_proxies: trusted
            .collect::<Result<_, NoNetwork>>()
            .map_err(|wrong| format!("listener `{}`: {wrong}", listener.name))?,
        max_pending: limit("max_pending"),
        max_pending_per_ip: limit("max_pending_per_ip"),
    })
}

/// Resolves at SIGTERM or Ctrl-C.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn greet(file: &FileArgs, data: &str, listeners: &[Arc<HttpListener>]) {
    let data = std::fs::canonicalize(data).unwrap_or_else(|_| Path::new(data).to_path_buf());
    println!("imflow serves {}", file.config);
    for listener in listeners {
        let Some(address) = listener.local_addr() else { continue };
        let s = if listener.is_tls() { "s" } else { "" };
        println!("  listening   http{s}://{address} and ws{s}://{address}/ws");
    }
    println!("  data        {}", data.display());
    println!("\nTalk to yourself in two other terminals:\n");
    for user in ["alice", "bob"] {
        println!("  {} chat --as {user}{}", program(), same_file(file));
    }
    println!();
}

/// How this program was called.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "imflow".to_owned())
}

/// The options that make another command see the same topology, quoted for a shell.
fn same_file(file: &FileArgs) -> String {
    let mut options = String::new();
    if file.config != "./dataflow.toml" {
        options += &format!(" --config '{}'", file.config);
    }
    for change in &file.changes() {
        options += &format!(" --set '{change}'");
    }
    options
}
