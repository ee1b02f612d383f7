"""A server process of its own: the real binary, the shipped dataflow.toml, a data directory of the test."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

from .client import PATIENCE, Client
from .wire import REPO

BINARY = pathlib.Path(os.environ.get("IMFLOW_BIN", REPO / "target" / "release" / "imflow")).resolve()
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self, home, *overrides, config=REPO / "dataflow.toml", env=None):
        """`home` holds the data directory and the log of this server; nothing is written elsewhere."""
        self.home, self.config = pathlib.Path(home), config
        self.data = self.home / "data"
        self.log = self.home / "server.log"
        self.port = free_port()
        self.overrides = overrides
        self.env = {**os.environ, **(env or {})}
        self.process = None
        self.tokens = {}

    # ---- the process --------------------------------------------------------------------------

    def options(self):
        fixed = (f'listeners.main.address="127.0.0.1:{self.port}"', f"service.data={self.data}")
        return ["--config", str(self.config), *(word for each in fixed + self.overrides for word in ("--set", each))]

    def command(self, name, *arguments):
        return [str(BINARY), name, *self.options(), *map(str, arguments)]

    def run(self, name, *arguments, **kwargs):
        """Runs another command of the binary to its end."""
        kwargs = {"capture_output": True, "text": True, "timeout": 60, "env": self.env, **kwargs}
        return subprocess.run(self.command(name, *arguments), cwd=self.home, **kwargs)

    def launch(self, prefix=()):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*prefix, *self.command("run")],
                cwd=self.home,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def start(self):
        self.launch()
        deadline = time.monotonic() + PATIENCE
        while not self.is_ready():
            assert self.process.poll() is None, f"the server ended with {self.process.returncode}:\n{self.output()}"
            assert time.monotonic() < deadline, f"the server was not ready within {PATIENCE} s:\n{self.output()}"
            time.sleep(0.01)
        return self

    def is_ready(self):
        try:
            return DIRECT.open(f"http://127.0.0.1:{self.port}/readyz", timeout=2).status == 200
        except OSError:
            return False

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def terminate(self):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def wait_failed(self):
        """The exit code of a server that is expected not to start."""
        return self.process.wait(timeout=30)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.kill()

    def output(self):
        return self.log.read_text(errors="replace")[-8000:] if self.log.exists() else ""

    # ---- clients ------------------------------------------------------------------------------

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}/ws"

    def token(self, user, device="phone", *options):
        key = (user, device, *options)
        if key not in self.tokens:
            ran = self.run("token", "--user", user, "--device", device, *options)
            assert ran.returncode == 0, ran.stderr
            self.tokens[key] = ran.stdout.strip()
        return self.tokens[key]

    def client(self, user, device="phone", format="json", options=(), resume=None):
        return Client(self.url, self.token(user, device, *options), user, device, format, resume)

    # ---- the control API ----------------------------------------------------------------------

    def admin_key(self):
        if "admin" not in self.tokens:
            ran = self.run("token", "--admin")
            assert ran.returncode == 0, ran.stderr
            self.tokens["admin"] = ran.stdout.strip()
        return self.tokens["admin"]

    def http(self, method, path, body=None, key=None):
        """Status and decoded body; `key=""` sends no key."""
        key = self.admin_key() if key is None else key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        try:
            with DIRECT.open(request, timeout=PATIENCE) as response:
                status, text = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        return status, json.loads(text) if text else None

    def group(self, name, *members, owner=None):
        """Creates a group; the first member (or `owner`) owns it."""
        owner = owner or members[0]
        roles = [{"userId": m, "role": "OWNER" if m == owner else "MEMBER"} for m in members]
        status, body = self.http("POST", "/v1/conversations", {"id": name, "type": "GROUP", "members": roles})
        assert status in (200, 201), (status, body)
        return name

    def put(self, path, body=None):
        status, answer = self.http("PUT", path, body)
        assert 200 <= status < 300, (status, answer)
        return answer

    def delete(self, path):
        status, answer = self.http("DELETE", path)
        assert 200 <= status < 300, (status, answer)
        return answer
