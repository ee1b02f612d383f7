"""Listeners: TLS, proxies in front, and who may hold a connection without a request."""

import contextlib
import shutil
import socket
import ssl
import struct
import subprocess
import time

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as dial

from harness import raw
from harness.metrics import scrape


def certify(folder, name):
    """A certificate of its own for 127.0.0.1; certificate and key as PEM files."""
    folder.mkdir(exist_ok=True)
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        + ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    return certificate, key


def shake(url, token, ca=None, **headers):
    return dial(
        url,
        subprotocols=["imflow.v1.json"],
        additional_headers={"Authorization": f"Bearer {token}", **headers},
        ssl=ssl.create_default_context(cafile=str(ca)) if ca else None,
        ping_interval=None,
        proxy=None,
        legacy=True,
    )


# ---- TLS ------------------------------------------------------------------------------------------


@pytest.fixture
def secure(make_server, tmp_path):
    """A server with a second listener under TLS, which the gateway is on."""
    certificate, key = certify(tmp_path / "tls", "first")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = make_server(
        f'listeners.secure.address="127.0.0.1:{port}"',
        f'listeners.secure.tls_certificate="{certificate}"',
        f'listeners.secure.tls_key="{key}"',
        "sources.clients.listener=secure",
    )
    server.wss, server.certificate, server.key = f"wss://127.0.0.1:{port}/ws", certificate, key
    return server


def test_clients_speak_tls_and_large_pushes_arrive_whole(secure):
    secure.group("g", "alice", "bob")
    with shake(secure.wss, secure.token("alice"), secure.certificate) as alice:
        assert '"welcome"' in alice.recv(timeout=20)
        # Far more than a TLS record and a socket's buffer, written while the client does not read.
        for n in range(200):
            status, _ = secure.http("POST", "/v1/conversations/g/messages", {"senderId": "bob", "text": f"{n}:" + "x" * 8_000})
            assert status in (200, 201), status
        for n in range(200):
            assert f'"text":"{n}:xxx' in alice.recv(timeout=20)


def test_a_plain_client_gets_nothing_under_tls(secure):
    with pytest.raises(Exception):
        shake(secure.wss.replace("wss", "ws"), secure.token("alice"))
    assert scrape(secure).value("listener_refused_total", listener="secure", reason="tls") >= 1


def test_a_renewed_certificate_serves_new_clients_and_disturbs_no_old_one(secure, tmp_path):
    secure.group("g", "alice", "bob")
    with shake(secure.wss, secure.token("alice"), secure.certificate) as alice:
        assert '"welcome"' in alice.recv(timeout=20)
        second, key = certify(tmp_path / "tls", "second")
        first = tmp_path / "tls" / "first.old.pem"
        shutil.copy(secure.certificate, first)
        # The key first: halfway there, the two do not belong together and the old pair stays.
        shutil.copy(key, secure.key)
        shutil.copy(second, secure.certificate)
        deadline = time.monotonic() + 20
        while True:
            try:
                shake(secure.wss, secure.token("bob"), second).close()
                break
            except ssl.SSLError:
                assert time.monotonic() < deadline, secure.output()
                time.sleep(0.2)
        alice.send('{"id":1,"ping":{}}')
        assert '"pong"' in alice.recv(timeout=20)


def test_a_certificate_that_cannot_be_had_is_told_before_anything_starts(make_server, tmp_path):
    missing = make_server(
        'listeners.main.tls_certificate="nowhere.pem"', 'listeners.main.tls_key="nowhere.key"', start=False
    )
    missing.launch()
    assert missing.wait_failed() == 1
    assert "listener `main`: the TLS certificate nowhere.pem cannot be read" in missing.output()
    (one, _), (_, other) = certify(tmp_path / "tls", "one"), certify(tmp_path / "tls", "other")
    unlike = make_server(
        f'listeners.main.tls_certificate="{one}"', f'listeners.main.tls_key="{other}"', start=False
    )
    unlike.launch()
    assert unlike.wait_failed() == 1 and "must belong together" in unlike.output()


# ---- proxies --------------------------------------------------------------------------------------


def behind(make_server, how, trusted="127.0.0.1"):
    return make_server(
        f'listeners.main.client_address="{how}"',
        f'listeners.main.trusted_proxies=["{trusted}"]',
        "sources.clients.max_connections_per_ip=1",
    )


def test_a_trusted_proxy_tells_the_address_that_limits_count(make_server):
    server = behind(make_server, "x-forwarded-for")
    token = [server.token(user) for user in ("alice", "bob", "carol")]
    named = {"X-Forwarded-For": "1.1.1.1, 203.0.113.9"}
    with shake(server.url, token[0], **named):
        with pytest.raises(InvalidStatus, match="429"):
            shake(server.url, token[1], **{"X-Forwarded-For": "2.2.2.2, 203.0.113.9"})
        with shake(server.url, token[1], **{"X-Forwarded-For": "203.0.113.10"}):
            # The other header is of a client's making.
            with shake(server.url, token[2], Forwarded="for=203.0.113.9"):
                pass


def test_forwarded_is_the_other_way(make_server):
    server = behind(make_server, "forwarded")
    with shake(server.url, server.token("alice"), Forwarded='for="[2001:db8::9]:4711";proto=https'):
        with pytest.raises(InvalidStatus, match="429"):
            # Of the same /64.
            shake(server.url, server.token("bob"), Forwarded="for=\"[2001:db8::77]\"")


def test_nobody_else_can_claim_an_address(make_server):
    server = behind(make_server, "x-forwarded-for", trusted="10.0.0.0/8")
    with shake(server.url, server.token("alice"), **{"X-Forwarded-For": "203.0.113.9"}):
        with pytest.raises(InvalidStatus, match="429"):
            shake(server.url, server.token("bob"), **{"X-Forwarded-For": "203.0.113.10"})


V2 = b"\r\n\r\n\0\r\nQUIT\n"


def proxied(port, header):
    """Status line of a request behind a PROXY header; empty when the server closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        plain.sendall(header + b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return raw.read_to_end(plain).split(b"\r\n")[0]


def test_the_proxy_protocol_in_both_versions(make_server):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = make_server(
        f'listeners.inner.address="127.0.0.1:{port}"',
        'listeners.inner.client_address="proxy-protocol"',
        'listeners.inner.trusted_proxies=["127.0.0.0/8"]',
        "sources.clients.listener=inner",
    )
    addresses = socket.inet_aton("203.0.113.9") + socket.inet_aton("10.0.0.1") + struct.pack("!HH", 5000, 443)
    for header in (
        b"PROXY TCP4 203.0.113.9 10.0.0.1 5000 443\r\n",
        b"PROXY UNKNOWN\r\n",
        V2 + b"\x21\x11" + struct.pack("!H", 12) + addresses,
        V2 + b"\x20\x00\x00\x00",
    ):
        assert proxied(port, header) == b"HTTP/1.1 200 OK", header
    for header in (b"", b"PROXY TCP4 nonsense\r\n", V2 + b"\x21\x11\xff\xff"):
        assert proxied(port, header) == b"", header
    assert scrape(server).value("listener_refused_total", listener="inner", reason="proxy") == 3


@pytest.mark.parametrize(
    "settings, complaint",
    [
        (['client_address="x-forwarded-for"'], "takes the address of a client from a proxy, and trusts none"),
        (['trusted_proxies=["10.0.0.0/8"]'], "does not say where they tell a client's address"),
        (['trusted_proxies=["10.0.0.0/99"]', 'client_address="forwarded"'], "`10.0.0.0/99` is no network"),
        (['tls_certificate="x.pem"'], "has `tls_certificate` without `tls_key`"),
        (["proxy_protocol=true"], "it is called `client_address` here"),
    ],
)
def test_what_does_not_go_together_is_found_by_check(make_server, settings, complaint):
    server = make_server(*(f"listeners.main.{each}" for each in settings), start=False)
    ran = server.run("check")
    assert ran.returncode == 78 and complaint in ran.stderr + ran.stdout, ran


# ---- pending --------------------------------------------------------------------------------------


def test_an_address_that_only_connects_fills_its_own_share(make_server):
    server = make_server("listeners.main.max_pending_per_ip=50", "listeners.main.max_pending=200")
    server.token("alice")
    with contextlib.ExitStack() as open_ones:
        idle = [
            open_ones.enter_context(socket.create_connection(("127.0.0.1", server.port), source_address=("127.0.0.7", 0)))
            for _ in range(120)
        ]
        # Another address is served at once, though these hold on.
        start = time.monotonic()
        with server.client("alice") as alice:
            assert "pong" in alice.ask(ping={})
            found = scrape(server)
        assert time.monotonic() - start < 4
        assert found.value("listener_refused_total", listener="main", reason="pending") == 70
        assert 50 <= found.value("listener_pending", listener="main") <= 52
        # Whoever sends no request is gone after the deadline.
        for each in idle:
            each.settimeout(20)
            assert each.recv(100).split(b"\r\n")[0] in (b"", b"HTTP/1.1 408 Request Timeout")
    assert scrape(server).value("listener_pending", listener="main") <= 2
