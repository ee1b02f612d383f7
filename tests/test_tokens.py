"""Secrets: made once, readable by their owner alone, never printed."""

import stat

import pytest
from websockets.exceptions import InvalidStatus

from harness.client import Client


def secret_files(server):
    place = server.data / "secrets"
    return [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]


def test_secret_files_are_readable_by_their_owner_alone(server):
    files = secret_files(server)
    assert files, "no secrets in the data directory"
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, f"{path.name}: {path.stat().st_mode:o}"


def test_the_command_prints_the_token_and_nothing_else(server):
    ran = server.run("token", "--user", "alice", "--device", "phone")
    assert ran.returncode == 0 and ran.stderr == ""
    assert len(ran.stdout.splitlines()) == 1 and len(ran.stdout.strip().split(".")) == 3
    Client(server.url, ran.stdout.strip(), "alice").close()
    ran = server.run("token", "--admin")
    assert ran.returncode == 0 and ran.stderr == "" and len(ran.stdout.split()) == 1


def test_a_token_can_be_made_before_the_first_start(make_server):
    server = make_server(start=False)
    token = server.token("alice")
    server.start()
    Client(server.url, token, "alice").close()


def test_the_secret_outlives_a_restart(server):
    token = server.token("alice")
    server.kill()
    server.start()
    Client(server.url, token, "alice").close()


def test_another_servers_token_is_refused(make_server):
    one, two = make_server(), make_server()
    with pytest.raises(InvalidStatus):
        Client(two.url, one.token("alice"), "alice")


def test_a_wrong_option_says_what_is_right(server):
    for arguments in (("--ttl", "soon"), ("--scopes", "fly"), ("--device", "a b")):
        ran = server.run("token", "--user", "alice", *arguments)
        assert ran.returncode != 0 and ran.stdout == ""
        assert arguments[1] in ran.stderr, ran.stderr
    assert server.run("token").returncode != 0


def test_neither_tokens_nor_secrets_reach_the_log(make_server):
    server = make_server(env={"RUST_LOG": "trace", "IMFLOW_LOG": "trace"})
    with server.client("alice") as alice:
        alice.sent("lobby", "the text of a message")
    server.http("GET", "/v1/conversations/lobby/messages")
    server.http("GET", "/v1/conversations/lobby/messages", key="a-wrong-key-of-somebody")
    server.terminate()
    log = server.log.read_bytes()
    token, key = server.token("alice"), server.admin_key()
    secrets = [token, token.split(".")[2], key, "a-wrong-key-of-somebody", "the text of a message"]
    assert [secret for secret in secrets if secret.encode() in log] == []
    for path in secret_files(server):
        content = path.read_bytes().strip()
        assert len(content) < 16 or content not in log, f"{path.name} is in the log"
