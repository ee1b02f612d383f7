"""Fixtures: every test has a server and a data directory of its own, gone when it ends."""

import shutil

import pytest

from harness.server import BINARY, Server
from harness.services import Services


def pytest_sessionstart(session):
    if not BINARY.exists():
        pytest.exit(f"{BINARY} is missing: build it with `cargo build --release --features full`, or set IMFLOW_BIN", 2)


@pytest.fixture
def make_server(tmp_path):
    """Starts servers with `--set` overrides and stops them when the test ends."""
    servers = []

    def make(*overrides, home=None, start=True, **kwargs):
        home = home or tmp_path / f"server-{len(servers)}"
        home.mkdir(exist_ok=True)
        server = Server(home, *overrides, **kwargs)
        servers.append(server)
        return server.start() if start else server

    yield make
    for server in servers:
        server.stop()
        # A log reserves its segments: what a hundred tests leave behind would fill a disk.
        shutil.rmtree(server.data, ignore_errors=True)


@pytest.fixture
def server(make_server):
    return make_server()


@pytest.fixture
def connect(server):
    """Connects clients to `server` and closes them when the test ends."""
    clients = []

    def connect(user, device="phone", format="json", **kwargs):
        clients.append(server.client(user, device, format, **kwargs))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def services(tmp_path):
    """Real servers of the test's own, to be killed at will: `services.up(["redis"])`."""
    services = Services(tmp_path / "services.json")
    yield services
    services.down()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows the end of the log of each server that the test started."""
    report = yield
    if report.failed:
        for home in sorted(item.funcargs["tmp_path"].glob("server-*")) if "tmp_path" in item.funcargs else ():
            log = home / "server.log"
            if log.exists():
                report.sections.append((f"log of {home.name}", log.read_text(errors="replace")[-4000:]))
    return report
