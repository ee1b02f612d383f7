"""Presence that nodes share in Redis: two processes, a Redis that dies, and a node that does."""

import json
import signal
import time

import pytest

from harness.client import PATIENCE
from harness.keys import Keys
from harness.metrics import scrape
from harness.wire import REPO

SHARED = REPO / "examples" / "presence-redis" / "dataflow.toml"
QUICK = (
    "operators.online.debounce=300ms",
    "sinks.shared.heartbeat=200ms",
    "sinks.shared.refresh=1s",
    "sinks.shared.ttl=10s",
    "sinks.shared.cache_ttl=60s",
)


@pytest.fixture
def nodes(services, make_server):
    services.up(["redis"])
    url = services.url("redis")

    def make(name, *options):
        return make_server(f"sinks.shared.uri={url}", f"service.node={name}", *QUICK, *options, config=SHARED)

    make.keys = lambda: Keys(url)
    make.services = services
    return make


def wait_for(look, expected):
    deadline = time.monotonic() + PATIENCE
    while (seen := look()) != expected:
        assert time.monotonic() < deadline, (seen, expected)
        time.sleep(0.02)


def follow(client, *users, **more):
    items = client.ask(presenceSubscribe={"userIds": list(users), **more})["presenceList"]["items"]
    return {item["userId"]: item.get("online", False) for item in items}


def told(client):
    notice = client.push("presence")
    return notice["userId"], notice.get("online", False)


def routes(server, user):
    status, body = server.http("GET", f"/v1/users/{user}/routes")
    assert status == 200, body
    return {item["deviceId"]: item["nodeId"] for item in body["items"]}


def metric(server, name):
    return scrape(server).value(name, node_name="shared")


def test_who_follows_hears_of_users_on_another_node_and_keys_are_as_others_read_them(nodes):
    one, two = nodes("node-1"), nodes("node-2")
    keys = nodes.keys()
    with one.client("alice") as alice:
        assert follow(alice, "bob") == {"bob": False}
        bob = two.client("bob")
        assert told(alice) == ("bob", True)
        # Who follows later knows at once.
        with one.client("carol", format="proto") as carol:
            assert follow(carol, "bob") == {"bob": True}
        presence = json.loads(keys.ask("GET", "core:presence:user:bob"))
        (device,) = presence["devices"]
        assert (device["deviceId"], device["nodeId"]) == ("phone", "node-2")
        assert abs(device["lastSeen"] - time.time() * 1000) < 60_000
        assert keys.ask("GET", "core:route:device:bob-phone") == "node-2"
        assert keys.ask("SMEMBERS", "core:node:users:node-2") == ["bob"]
        assert 0 < keys.ask("PTTL", "core:presence:user:bob") <= 12_000
        assert routes(one, "bob") == {"phone": "node-2"}
        status, body = one.http("GET", "/v1/users/bob/presence")
        assert status == 200 and body["online"] and body["devices"][0]["nodeId"] == "node-2"
        bob.close()
        assert told(alice) == ("bob", False)
        wait_for(lambda: keys.ask("GET", "core:route:device:bob-phone"), None)


def test_last_seen_is_written_in_batches_and_not_for_each_heartbeat(nodes):
    server = nodes("node-1")
    keys = nodes.keys()

    def last_seen():
        value = keys.ask("GET", "core:presence:user:alice")
        return json.loads(value)["devices"][0]["lastSeen"] if value else 0

    def writes():
        calls = keys.ask("INFO", "commandstats")
        line = next(line for line in calls.splitlines() if line.startswith("cmdstat_evalsha:"))
        return int(line.split("calls=")[1].split(",")[0])

    with server.client("alice") as alice:
        wait_for(lambda: last_seen() > 0, True)
        first, before = last_seen(), writes()
        for _ in range(200):
            alice.ask(ping={})
        wait_for(lambda: last_seen() > first, True)
        # A beat each 200 ms and a refresh each second: far fewer than there were pings.
        assert writes() - before < 60


def test_a_node_that_dies_is_found_down_and_its_users_are_offline_unless_they_come_back(nodes):
    # Long enough for her to come to the other node.
    one, two = nodes("node-1", "operators.online.debounce=3s"), nodes("node-2")
    keys = nodes.keys()
    one.token("carol")
    with one.client("alice") as alice:
        follow(alice, "bob", "carol")
        gone = [two.client("bob"), two.client("carol")]
        assert {told(alice), told(alice)} == {("bob", True), ("carol", True)}
        assert routes(one, "carol") == {"phone": "node-2"}
        # It does not say goodbye.
        two.kill()
        wait_for(lambda: metric(one, "node_failure_count"), 1)
        with one.client("carol"):
            assert told(alice) == ("bob", False)
            assert alice.pushed_now("presence") == []
            assert metric(one, "route_migration_count") == 2
            assert routes(one, "carol") == {"phone": "node-1"}
            wait_for(lambda: keys.ask("GET", "core:route:device:carol-phone"), "node-1")
        _, body = one.http("GET", "/v1/users/bob/presence")
        assert body["migratingFrom"] == "node-2" and not body["online"]
        assert not keys.ask("EXISTS", "core:node:users:node-2")
        assert len(gone) == 2
        # It comes back, and he with it.
        two.start()
        bob = two.client("bob")
        assert {told(alice), told(alice)} == {("carol", False), ("bob", True)}
        assert "migratingFrom" not in one.http("GET", "/v1/users/bob/presence")[1]
        bob.close()


def test_a_node_that_only_sleeps_says_anew_what_it_has(nodes):
    one, two = nodes("node-1"), nodes("node-2")
    with one.client("alice") as alice:
        follow(alice, "bob")
        bob = two.client("bob")
        assert told(alice) == ("bob", True)
        two.process.send_signal(signal.SIGSTOP)
        try:
            assert told(alice) == ("bob", False)
        finally:
            two.process.send_signal(signal.SIGCONT)
        assert told(alice) == ("bob", True)
        bob.close()


def test_a_node_that_stops_in_order_has_not_failed(nodes):
    one, two = nodes("node-1"), nodes("node-2")
    keys = nodes.keys()
    with one.client("alice") as alice:
        follow(alice, "bob")
        two.client("bob")
        assert told(alice) == ("bob", True)
        assert two.terminate() == 0
        assert told(alice) == ("bob", False)
        assert keys.ask("HKEYS", "core:node:heartbeats") == ["node-1"]
        assert metric(one, "node_failure_count") == 0


def test_while_redis_is_away_nobody_waits_and_then_everything_is_written_anew(nodes):
    one, two = nodes("node-1"), nodes("node-2")
    one.group("c1", "alice", "bob")
    services = nodes.services
    with one.client("alice") as alice:
        assert follow(alice, "bob", "carol") == {"bob": False, "carol": False}
        bob = two.client("bob")
        assert told(alice) == ("bob", True)
        services.kill("redis")
        began = time.monotonic()
        for n in range(20):
            alice.sent("c1", f"number {n}")
        with one.client("carol") as carol:
            assert told(alice) == ("carol", True)
            assert follow(carol, "alice") == {"alice": True}
            assert time.monotonic() - began < 10
            status, body = one.http("GET", "/v1/users/dave/presence")
            assert status == 503 and body["error"]["retryable"]
            bob.close()
            # It comes back without a key.
            services.start("redis")
            nodes.keys().ask("FLUSHALL")
            assert told(alice) == ("bob", False)
            keys = nodes.keys()
            wait_for(lambda: keys.ask("GET", "core:route:device:carol-phone"), "node-1")
            wait_for(lambda: keys.ask("GET", "core:route:device:alice-phone"), "node-1")
            wait_for(lambda: sorted(keys.ask("HKEYS", "core:node:heartbeats")), ["node-1", "node-2"])
            assert keys.ask("GET", "core:route:device:bob-phone") is None
            with two.client("bob"):
                assert told(alice) == ("bob", True)


def test_a_failed_route_is_asked_for_anew(nodes):
    one, two = nodes("node-1"), nodes("node-2")
    keys = nodes.keys()
    with two.client("bob"):
        wait_for(lambda: routes_now(one, "bob"), {"phone": "node-2"})
        # Somebody moved it, and nobody said so.
        value = keys.ask("GET", "core:presence:user:bob")
        moved = value.replace("node-2", "node-3").replace('"since":', '"since":9')
        keys.ask("SET", "core:presence:user:bob", moved)
        assert routes(one, "bob") == {"phone": "node-2"}
        one.delete("/v1/users/bob/routes/phone")
        assert routes(one, "bob") == {"phone": "node-3"}


def routes_now(server, user):
    """Without what may be remembered."""
    for device in routes(server, user) or ("phone",):
        server.delete(f"/v1/users/{user}/routes/{device}")
    return routes(server, user)


def test_online_members_of_ordinary_and_of_busy_conversations(nodes):
    server = nodes("node-1", "sinks.shared.busy=3", "sinks.shared.busy_ttl=10ms")
    keys = nodes.keys()
    server.group("small", "alice", "bob", "carol")
    server.group("large", "alice", "bob", "carol", "dave")

    def online(conversation):
        status, body = server.http("GET", f"/v1/conversations/{conversation}/online")
        assert status == 200, body
        return body["items"]

    with server.client("alice"), server.client("bob") as bob:
        wait_for(lambda: sorted(keys.ask("SMEMBERS", "core:subscribers:conv:small")), ["alice", "bob"])
        assert keys.ask("PTTL", "core:subscribers:conv:small") > 0
        assert not keys.ask("EXISTS", "core:subscribers:conv:large")
        assert (online("small"), online("large")) == (["alice", "bob"], ["alice", "bob"])
        # Who joins is there, who leaves is not.
        server.delete("/v1/conversations/small/members/bob")
        wait_for(lambda: keys.ask("SMEMBERS", "core:subscribers:conv:small"), ["alice"])
        server.put("/v1/conversations/small/members/bob")
        wait_for(lambda: online("small"), ["alice", "bob"])
        bob.close()
        wait_for(lambda: (online("small"), online("large")), (["alice"], ["alice"]))
