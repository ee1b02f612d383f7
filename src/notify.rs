//! Tells the service manager how it goes: the protocol of systemd's `sd_notify`, which others speak too.
//!
//! Without `NOTIFY_SOCKET` in the environment nobody asked, and nothing is done.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Clients are served.
pub const READY: &str = "READY=1\nSTATUS=serving";
/// No new clients; those who are here are told to go.
pub const STOPPING: &str = "STOPPING=1\nSTATUS=draining";
const ALIVE: &str = "WATCHDOG=1";

/// Sends a state. A manager that does not listen is told about in the log, and harms nothing.
pub fn tell(state: &str) {
    if let Err(error) = send(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

fn send(state: &str) -> std::io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(&path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

/// Says that the process lives, twice as often as the manager asks for (`WATCHDOG_USEC`), for as long as
/// the threads that serve clients turn.
pub async fn watchdog() {
    let asked = std::env::var("WATCHDOG_USEC").ok().and_then(|us| us.parse::<u64>().ok());
    let of_us = std::env::var("WATCHDOG_PID").ok();
    let of_us = of_us.is_none_or(|pid| pid == std::process::id().to_string());
    let Some(us) = asked.filter(|us| *us > 0 && of_us) else { return };
    let mut ticks = tokio::time::interval(Duration::from_micros(us.div_ceil(2)));
    loop {
        ticks.tick().await;
        tell(ALIVE);
    }
}
