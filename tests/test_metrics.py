"""`GET /metrics`: what each node measures of itself, as a scraper reads it."""

import json
import subprocess

import pytest

from harness.metrics import scrape
from harness.server import BINARY


def described(kind):
    ran = subprocess.run([BINARY, "explain", kind, "--format", "json"], capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


def test_the_gateway_counts_its_connections_commands_and_frames(server, connect):
    server.group("g", "alice", "bob")
    alice, bob = connect("alice"), connect("bob", format="proto")
    for text in ("one", "two"):
        alice.sent("g", text)
    assert [message["text"] for message in bob.messages(2)] == ["one", "two"]
    found = scrape(server)
    gate = {"node_name": "clients"}
    assert found.value("websocket_connections", **gate) == 2
    assert found.value("websocket_opened_total", **gate) == 2
    assert found.value("websocket_frames_in_total", **gate) == 2
    # Two welcomes, two acks, two pushes.
    assert found.value("websocket_frames_out_total", **gate) == 6
    assert found.value("websocket_bytes_in_total", **gate) > 100 < found.value("websocket_bytes_out_total", **gate)
    assert found.value("websocket_in_flight", **gate) == 0
    assert found.value("log_durable_lsn", node_name="store") >= 3
    assert found.value("log_commit_records_sum", node_name="store") == found.value("log_durable_lsn", node_name="store")


def test_refusals_and_closes_are_counted_by_their_reason(make_server):
    server = make_server("sources.clients.max_connections_per_user=1")
    with server.client("alice") as alice:
        with pytest.raises(Exception, match="429"):
            server.client("alice", "pad")
        alice.socket.send("{")
        assert alice.wait_closed() == 4500
    found = scrape(server)
    assert found.value("websocket_refused_total", node_name="clients", reason="user") == 1
    assert found.value("websocket_refused_total", node_name="clients", reason="token") == 0
    assert found.value("websocket_closed_total", node_name="clients", code="4500") == 1


def test_each_limit_of_the_gateway_is_seen_in_a_scrape(server):
    gateway = described("websocket")
    told = {limit for metric in gateway["metrics"] for limit in metric["tells"]}
    assert told == {limit["what"] for limit in gateway["limits"]}
    names = scrape(server).families
    assert {metric["name"].removesuffix("_total") for metric in gateway["metrics"]} - names <= {
        # Series that appear with their first event.
        "websocket_closed",
        "websocket_refused_commands",
    }
