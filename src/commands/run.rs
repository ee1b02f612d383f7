//! `imflow run`: serves a topology until it is told to stop.

use std::path::Path;
use std::sync::Arc;

use imflow_kind::{Clock, Meters, Roles, SystemClock, Topology};
use imflow_sources::{HttpListener, metrics_route};
use imflow_topology::Plan;
use imflow_topology::outline::outline;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::{Failure, FileArgs, assembly, terminal};

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
        let bound = HttpListener::new(&listener.name, listener.address.to_string());
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
    stop.await;
    tracing::info!("stopping: commands under way finish, then the log is synced");
    listeners.iter().for_each(|listener| listener.drain());
    tokio::task::block_in_place(|| running.stop());
    for listener in &listeners {
        listener.shutdown();
    }
    tracing::info!("stopped");
    Ok(())
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
    for address in listeners.iter().filter_map(|listener| listener.local_addr()) {
        println!("  listening   http://{address} and ws://{address}/ws");
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
