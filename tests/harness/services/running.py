"""Processes of servers: their ports, their data, their lives.

A set of servers is described by one small file, so that one call starts them and another, later, stops them.
A process is known by its id and the time it began: an id that the system has given to another
process since is never signalled.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from .kinds import SERVICES, Trouble

REPO = pathlib.Path(__file__).resolve().parents[3]
CACHE = pathlib.Path(os.environ.get("IMFLOW_SERVICES_CACHE", pathlib.Path.home() / ".cache" / "imflow-services"))
# A JVM on a busy machine; what is ready sooner is used sooner.
PATIENCE_SECONDS = 90


class Services:
    def __init__(self, file):
        """A set of servers that `file` remembers."""
        self.file = pathlib.Path(file)
        self.known = json.loads(self.file.read_text()) if self.file.exists() else {}

    @classmethod
    def of_checkout(cls):
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPO / "target"))
        return cls(target / "services.json")

    # ---- all of them --------------------------------------------------------------------------

    def install(self, names):
        CACHE.mkdir(parents=True, exist_ok=True)
        with open(CACHE / "lock", "w") as lock:
            # Two checkouts must not build the same thing into the same place at once.
            fcntl.flock(lock, fcntl.LOCK_EX)
            for name in self._with_needs(names):
                SERVICES[name].install(CACHE)

    def up(self, names):
        """Installs and starts servers; those that run already are left alone."""
        self.install(names)
        names = self._with_needs(names)
        for name in names:
            self.start(name)
        return self

    def down(self):
        """Stops every server and deletes its data."""
        for name in reversed(list(SERVICES)):
            if name in self.known:
                self._end(name, signal.SIGINT)
        for folder in {self.known[name]["home"] for name in self.known}:
            shutil.rmtree(folder, ignore_errors=True)
        self.file.unlink(missing_ok=True)
        self.known = {}

    def status(self):
        for name, entry in self.known.items():
            if self.is_running(name):
                pages = int(pathlib.Path(f"/proc/{entry['pid']}/statm").read_text().split()[1])
                size = pages * os.sysconf("SC_PAGE_SIZE") >> 20
                yield f"{name:12} up    pid {entry['pid']}, ports {entry['ports']}, {size} MB"
            else:
                yield f"{name:12} down  log {self.place(name).log}"
        if not self.known:
            yield "no server was started"

    def env(self):
        kinds = {name: SERVICES[name] for name in self.known if SERVICES[name].variable}
        return {kind.variable: kind.url(self.place(name)) for name, kind in kinds.items()}

    # ---- one of them --------------------------------------------------------------------------

    def url(self, name):
        return SERVICES[name].url(self.place(name))

    def start(self, name):
        """Starts a server, on the ports and the data that it had before, and waits until it is ready."""
        kind, place = SERVICES[name], self.place(name)
        if not self.is_running(name):
            place.make(getattr(kind, "user", None))
            getattr(kind, "prepare", lambda _: None)(place)
            with open(place.log, "ab") as log:
                process = subprocess.Popen(
                    [str(word) for word in kind.command(place)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    start_new_session=True,
                    **place.identity(getattr(kind, "user", None)),
                )
            self.known[name] |= {"pid": process.pid, "began": began(process.pid)}
            self._save()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not kind.is_ready(place):
            if not self.is_running(name) or time.monotonic() > deadline:
                tail = place.log.read_text(errors="replace")[-2000:]
                raise Trouble(f"{name} was not ready within {PATIENCE_SECONDS} s, or ended:\n{tail}")
            time.sleep(0.05)

    def kill(self, name):
        """kill -9; the data stay."""
        self._end(name, signal.SIGKILL)

    @contextlib.contextmanager
    def frozen(self, name):
        """A server that holds its connections and does nothing."""
        pid = self.known[name]["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def is_running(self, name):
        entry = self.known.get(name, {})
        return "pid" in entry and began(entry["pid"]) == entry["began"]

    def place(self, name):
        if name not in self.known:
            homes = {entry["home"] for entry in self.known.values()}
            # Not below the checkout: the user that a server runs as may not reach it there.
            home = next(iter(homes), None) or tempfile.mkdtemp(prefix="imflow-services-")
            os.chmod(home, 0o711)
            self.known[name] = {"home": home, "ports": free_ports(SERVICES[name].ports)}
            self._save()
        return Place(self, name, pathlib.Path(self.known[name]["home"]), self.known[name]["ports"])

    def _end(self, name, how):
        if not self.is_running(name):
            return
        pid = self.known[name]["pid"]
        deadline = time.monotonic() + 20
        os.kill(pid, how)
        while self.is_running(name):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)

    def _with_needs(self, names):
        wanted = {need for name in names for need in (*SERVICES[name].needs, name)}
        return [name for name in SERVICES if name in wanted]

    def _save(self):
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(self.known, indent=1))


class Place:
    """Where one server keeps what is its own."""

    cache = CACHE

    def __init__(self, services, name, home, ports):
        self.services, self.ports = services, ports
        self.data, self.log = home / name, home / f"{name}.log"

    def port(self, name):
        return str(self.ports[name])

    def of(self, name):
        return self.services.place(name)

    def make(self, user):
        self.data.mkdir(mode=0o700, exist_ok=True)
        if user:
            shutil.chown(self.data, user, user)

    @staticmethod
    def identity(user):
        return {"user": user, "group": user, "extra_groups": []} if user else {}


def began(pid):
    """When a living process began, in ticks since boot; `None` of one that is gone."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def free_ports(names):
    with contextlib.ExitStack() as stack:
        ports = {}
        for name in names:
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports[name] = probe.getsockname()[1]
        return ports
