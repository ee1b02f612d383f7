//! The server under test: a child process on a data directory of its own.
//!
//! The process ends and its data goes when this value is dropped. Its output stays in a file, whose end
//! is part of the error when the server does not come up.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use tempfile::TempDir;

use crate::failure::{Context as _, Failure};
use crate::http::Http;
use crate::tokens::Tokens;

/// Rates that do not bound a driver.
const UNLIMITED: [&str; 3] = [
    "sources.clients.rate_per_device=0",
    "sources.clients.rate_per_user=0",
    "sources.clients.handshake_rate_per_ip=0",
];
/// How long a fresh server may take until it is ready, and later to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which server is measured, and where it keeps its data.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ServerArgs {
    /// The imflow binary to measure; by default the one beside this program
    #[arg(long, global = true, value_name = "PATH")]
    server: Option<PathBuf>,
    /// The topology that it runs
    #[arg(long, global = true, value_name = "FILE", default_value = "dataflow.toml")]
    pub(crate) config: PathBuf,
    /// The folder, on the disk to measure, for the log and for the raw loops; by default the one of this program
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Values beside those of the file, as `run --set` takes them
    #[arg(skip)]
    pub(crate) sets: Vec<String>,
}

impl ServerArgs {
    /// A fresh folder on the disk that is measured.
    pub(crate) fn folder(&self) -> Result<TempDir, Failure> {
        let parent = match &self.data {
            Some(folder) => folder.clone(),
            None => own_folder()?,
        };
        let doing = || {
            format!("making a folder in {}; name another place with --data DIR", parent.display())
        };
        tempfile::Builder::new().prefix("bench-").tempdir_in(&parent).context(doing)
    }

    fn binary(&self) -> Result<PathBuf, Failure> {
        let path = match &self.server {
            Some(path) => path.clone(),
            None => own_folder()?.join("imflow"),
        };
        if path.is_file() {
            return Ok(path);
        }
        let path = path.display();
        Err(Failure::new(format!(
            "there is no server binary at {path}; build it with `cargo build --release`, or name one with --server PATH"
        )))
    }
}

fn own_folder() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().context(|| "finding this program's folder".to_owned())?;
    Ok(own.parent().unwrap_or(Path::new(".")).to_owned())
}

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    binary: PathBuf,
    config: PathBuf,
    sets: Vec<String>,
    child: Child,
    data: TempDir,
}

impl Server {
    /// Starts a server on an empty data directory and waits until it is ready.
    pub(crate) fn start(args: &ServerArgs) -> Result<Self, Failure> {
        raise_socket_limit();
        let binary = args.binary()?;
        let data = args.folder()?;
        let address = free_address()?;
        let (config, sets) = (args.config.clone(), args.sets.clone());
        let child = spawn(&binary, &config, &sets, address, data.path())?;
        let mut server = Self { address, binary, config, sets, child, data };
        server.ready()?;
        Ok(server)
    }

    /// kill -9, and a start on the same data; how long it took until it was ready.
    pub(crate) fn crash_and_start(&mut self) -> Result<Duration, Failure> {
        let doing = || "killing the server".to_owned();
        self.child.kill().context(doing)?;
        self.child.wait().context(doing)?;
        let begin = Instant::now();
        self.child = spawn(&self.binary, &self.config, &self.sets, self.address, self.data.path())?;
        self.ready()?;
        Ok(begin.elapsed())
    }

    /// Bytes of the log's files.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.folder_bytes("log")
    }

    /// Bytes of the files in a folder of the data directory, and below.
    pub(crate) fn folder_bytes(&self, name: &str) -> u64 {
        bytes_in(&self.data.path().join("data").join(name))
    }

    fn ready(&mut self) -> Result<(), Failure> {
        self.wait_until_ready()
            .map_err(|failure| Failure::new(format!("{failure}; its output:\n{}", self.output())))
    }

    /// Signs tokens that this server accepts.
    pub(crate) fn tokens(&self) -> Result<Tokens, Failure> {
        Tokens::read(&self.data.path().join("data"))
    }

    /// The process, for its CPU time.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last lines that the server printed, for a failure that it may explain.
    pub(crate) fn output(&self) -> String {
        tail(&self.data.path().join("output.txt"))
    }

    fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) =
                self.child.try_wait().context(|| "watching the server".to_owned())?
            {
                return Err(Failure::new(format!(
                    "the server ended before it was ready ({status})"
                )));
            }
            let ready = Http::connect(self.address).and_then(|mut http| http.get("/readyz"));
            if ready.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(Failure::new(format!(
            "http://{}/readyz did not answer 200 within {PATIENCE:?}",
            self.address
        )))
    }
}

fn spawn(
    binary: &Path,
    config: &Path,
    sets: &[String],
    address: SocketAddr,
    folder: &Path,
) -> Result<Child, Failure> {
    let doing = || format!("starting {}", binary.display());
    let output = File::options().create(true).append(true).open(folder.join("output.txt"));
    let stdout = output.context(doing)?;
    let stderr = stdout.try_clone().context(doing)?;
    Command::new(binary)
        .arg("run")
        .arg("--config")
        .arg(config)
        // The values are TOML, so texts stand in quotes.
        .arg("--set")
        .arg(format!("listeners.main.address=\"{address}\""))
        .arg("--set")
        .arg(format!("service.data={:?}", folder.join("data").display().to_string()))
        .arg("--set")
        .arg("sources.facts.conversations={}")
        // The limits of one client are not what is measured: all of them are few addresses and devices.
        .args(UNLIMITED.iter().flat_map(|set| ["--set", set]))
        .args(sets.iter().flat_map(|set| ["--set", set]))
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .context(doing)
}

impl Drop for Server {
    /// SIGTERM first, so that a stop that hangs is not hidden; then the hard way.
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        eprintln!("bench: the server did not stop within {PATIENCE:?} of SIGTERM; it is killed");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A thousand clients need as many sockets, here and in the child, which inherits the limit.
pub(crate) fn raise_socket_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}

fn free_address() -> Result<SocketAddr, Failure> {
    let doing = || "looking for a free port".to_owned();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context(doing)?;
    listener.local_addr().context(doing)
}

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
