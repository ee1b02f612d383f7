//! The limit that fan-out is held to: a process that does nothing but send(2) the same frame to each of its
//! connections in turn.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::client::Herd;
use crate::failure::{Context as _, Failure};

/// Sends a frame of `bytes` to each of `connections`, once for each line that it reads; for a child of this
/// program.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct CeilingArgs {
    #[arg(long)]
    connections: usize,
    #[arg(long)]
    bytes: usize,
}

/// The child: prints its address, takes the connections, then sends a round for each line on its input.
pub(crate) fn serve(args: &CeilingArgs) -> Result<(), Failure> {
    let doing = || "serving the ceiling".to_owned();
    crate::server::raise_socket_limit();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context(doing)?;
    rustix::net::listen(&listener, 4_096).context(doing)?;
    println!("{}", listener.local_addr().context(doing)?);
    let mut streams: Vec<TcpStream> = Vec::with_capacity(args.connections);
    while streams.len() < args.connections {
        let (stream, _) = listener.accept().context(doing)?;
        stream.set_nodelay(true).context(doing)?;
        streams.push(stream);
    }
    let frame = frame(args.bytes);
    for line in std::io::stdin().lock().lines() {
        line.context(doing)?;
        for stream in &mut streams {
            stream.write_all(&frame).context(doing)?;
        }
    }
    Ok(())
}

/// A text frame of so many bytes in all.
fn frame(bytes: usize) -> Vec<u8> {
    let payload = bytes.saturating_sub(4);
    let mut frame = vec![0x81, 126];
    frame.extend((payload as u16).to_be_bytes());
    frame.resize(bytes, b'x');
    frame
}

/// A running child and those who read from it.
pub(super) struct Ceiling {
    child: Child,
    herd: Herd,
}

impl Ceiling {
    pub(super) fn start(connections: usize, bytes: usize) -> Result<Self, Failure> {
        let doing = || "starting the ceiling".to_owned();
        let mut child = Command::new(std::env::current_exe().context(doing)?)
            .args(["ceiling", "--connections", &connections.to_string()])
            .args(["--bytes", &bytes.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context(doing)?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line).context(doing)?;
        }
        let address: SocketAddr = line.trim().parse().context(doing)?;
        let mut herd = Herd::new()?;
        for _ in 0..connections {
            herd.add(TcpStream::connect(address).context(doing)?)?;
        }
        Ok(Self { child, herd })
    }

    /// Sends rounds, each when all have the one before; how long they took.
    pub(super) fn rounds(&mut self, rounds: u64) -> Result<Duration, Failure> {
        let mut took = Duration::ZERO;
        for _ in 0..rounds {
            let input = self.child.stdin.as_mut();
            let input = input.ok_or_else(|| Failure::new("the ceiling has no input"))?;
            input.write_all(b"\n").context(|| "asking for a round".to_owned())?;
            let frames = self.herd.frames + self.herd.len() as u64;
            took += self.herd.read_until(frames)?;
        }
        Ok(took)
    }
}

impl Drop for Ceiling {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
