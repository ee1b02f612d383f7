//! `imflow run`: serves a topology until it is told to stop.

use std::path::Path;
use std::sync::Arc;

use imflow_kind::{Clock, Roles, SystemClock};
use imflow_sources::HttpListener;
use imflow_topology::Plan;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::{Failure, FileArgs, assembly};

pub fn run(file: &FileArgs) -> Result<(), Failure> {
    let plan = assembly::load(file)?;
    let filter = EnvFilter::try_from_env("IMFLOW_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,fjall=warn,lsm_tree=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|e| Failure::Other(format!("the I/O threads cannot be started: {e}")))?;
    runtime.block_on(serve(plan, &file.config)).map_err(Failure::Other)
}

async fn serve(plan: Plan, config: &str) -> Result<(), String> {
    let roles = Roles::default();
    let mut listeners = Vec::new();
    for listener in &plan.listeners {
        let bound = HttpListener::new(&listener.name, listener.address.to_string());
        // Early, so that a port in use is told before anything else starts.
        bound.bind().map_err(|e| e.to_string())?;
        roles.offer(&HttpListener::role(&listener.name), Arc::clone(&bound));
        listeners.push(bound);
    }
    let stop = stop_signal().map_err(|e| format!("signals cannot be watched: {e}"))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let data = plan.service.data.clone();
    let running = tokio::task::block_in_place(|| imflow_topology::start(plan, &roles, &clock));
    let running = running.map_err(|e| e.to_string())?;
    for listener in &listeners {
        listener.serve().map_err(|e| e.to_string())?;
    }
    greet(config, &data, &listeners);
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

fn greet(config: &str, data: &str, listeners: &[Arc<HttpListener>]) {
    let data = std::fs::canonicalize(data).unwrap_or_else(|_| Path::new(data).to_path_buf());
    println!("imflow serves {config}");
    for address in listeners.iter().filter_map(|listener| listener.local_addr()) {
        println!("  listening   http://{address} and ws://{address}/ws");
    }
    println!("  data        {}", data.display());
    println!("\nTalk to yourself in two other terminals:\n");
    let program = std::env::args().next().unwrap_or_else(|| "imflow".to_owned());
    let config =
        if config == "./dataflow.toml" { String::new() } else { format!(" --config {config}") };
    for user in ["alice", "bob"] {
        println!("  {program} chat --as {user}{config}");
    }
    println!();
}
