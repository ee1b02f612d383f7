"""Redis: a repeat gets its first answer whatever becomes of it, and never a second message; the latest messages are read from it."""

import json
import time

import harness.keys
from harness.client import PATIENCE
from harness.cutting import fill_until_cut
from harness.wire import REPO

REDIS = REPO / "examples" / "redis" / "dataflow.toml"


class Keys(harness.keys.Keys):
    """What the sink has written."""

    def ids(self):
        """clientMsgId -> value."""
        found = {}
        for key in self.ask("KEYS", "core:idempotent:*"):
            found[key.split(":", 3)[3]] = json.loads(self.ask("GET", key))
        return found

    def wait_for(self, ids):
        deadline = time.monotonic() + PATIENCE
        while self.ids().keys() != set(ids):
            assert time.monotonic() < deadline, (self.ids().keys(), ids)
            time.sleep(0.05)


def serve(make_server, url):
    # So small a memory that repeats of ids in another form need a look-up.
    few = ("operators.fresh.window=2", "sinks.ids.pause=20ms")
    return make_server(f"sinks.ids.uri={url}", *few, config=REDIS)


def send_some(client, conversation, names):
    return {name: client.sent(conversation, f"text of {name}", name) for name in names}


def repeat_all(client, conversation, acks):
    for name, ack in acks.items():
        assert client.sent(conversation, f"text of {name}", name) == ack


def ids(*numbers):
    """Ids in the standard form, the later ones with smaller counters, so that no device's mark tells."""
    return [f"alice-phone-{1000 - number}-1767225600000" for number in numbers]


def test_a_repeat_gets_its_first_answer_while_redis_dies_and_comes_back(services, make_server):
    services.up(["redis"])
    server = serve(make_server, services.url("redis"))
    server.group("c1", "alice", "bob")
    with server.client("alice") as alice:
        acks = send_some(alice, "c1", ids(*range(20)))
        keys = Keys(services.url("redis"))
        keys.wait_for(acks)
        for name, value in keys.ids().items():
            ack = acks[name]
            told = (value["serverMsgId"], value["seq"], value["timestamp"])
            assert told == (ack["serverMsgId"], ack["seq"], ack["createdAt"])
        repeat_all(alice, "c1", acks)

        services.kill("redis")
        repeat_all(alice, "c1", acks)
        acks |= send_some(alice, "c1", ids(*range(20, 30)))
        repeat_all(alice, "c1", acks)

        services.start("redis")
        Keys(services.url("redis")).wait_for(acks)
        repeat_all(alice, "c1", acks)
        assert len(alice.history("c1")) == len(acks)
        conflict = alice.refused(send=alice.message("c1", "another text", ids(0)[0]))
        assert conflict["code"] == "CONFLICT"
    assert "look-ups go to the log's index alone" in server.log.read_text(errors="replace")


def test_a_redis_that_lost_its_keys_or_lies_changes_no_answer(services, make_server):
    services.up(["redis"])
    server = serve(make_server, services.url("redis"))
    server.group("c1", "alice", "bob")
    server.group("c2", "alice", "bob")
    keys = Keys(services.url("redis"))
    with server.client("alice") as alice:
        acks = send_some(alice, "c1", ids(*range(10)))
        keys.wait_for(acks)
        # The same id in another conversation is another message.
        other = send_some(alice, "c2", ids(*range(10)))
        repeat_all(alice, "c2", other)
        for key in keys.ask("KEYS", "core:idempotent:*"):
            value = json.loads(keys.ask("GET", key))
            keys.ask("SET", key, json.dumps({**value, "seq": value["seq"] % 10 + 1}))
        repeat_all(alice, "c1", acks)
        keys.ask("FLUSHALL")
        repeat_all(alice, "c1", acks)
        assert (len(alice.history("c1")), len(alice.history("c2"))) == (10, 10)
    server.terminate()
    # At the next start the copy is found empty, and filled again.
    server.start()
    keys.wait_for(acks)


def test_the_latest_messages_are_read_from_redis_when_the_log_has_let_go_of_them(services, make_server):
    services.up(["redis"])
    url = services.url("redis")
    small = ("sinks.store.segment=1MiB", "sinks.store.keep=1s")
    server = make_server(f"sinks.ids.uri={url}", "sinks.ids.pause=20ms", *small, config=REDIS)
    server.group("c1", "alice", "bob")
    server.group("quiet", "alice", "bob")
    with server.client("alice") as alice:
        for n in range(150):
            alice.sent("quiet", f"number {n + 1}")
        edit = {"conversationId": "quiet", "clientMsgId": alice.message_id(), "seq": 120, "text": "right"}
        assert "ack" in alice.ask(edit=edit)
        revoke = {"conversationId": "quiet", "clientMsgId": alice.message_id(), "seq": 130}
        assert "ack" in alice.ask(revoke=revoke)
        before = latest(alice)["messages"]
        assert [m["seq"] for m in before["items"]] == list(range(53, 153)) and before["more"]
    fill_until_cut(server, "alice", "c1", 1)
    for format in ("json", "proto"):
        with server.client("bob", format=format) as bob:
            page = latest(bob)["messages"]
            assert [plain(m) for m in page["items"]] == [plain(m) for m in before["items"]]
            by_seq = {m["seq"]: m for m in page["items"]}
            assert by_seq[120]["text"] == "right" and "number 130" not in str(by_seq[130])
            # What lies before is nowhere.
            older = bob.ask(history={"conversationId": "quiet", "beforeSeq": 60, "limit": 50})["messages"]
            assert [m["seq"] for m in older["items"]] == list(range(53, 60))
            assert int(older["removedUpToSeq"]) == 52 and not older["more"]

    with server.client("bob") as bob:
        services.kill("redis")
        error = latest(bob)["error"]
        assert error["code"] == "BUSY" and error["retryable"]
        alice_sees = server.client("alice")
        assert alice_sees.sent("c1", "sending goes on")
        services.start("redis")
        deadline = time.monotonic() + PATIENCE
        while "messages" not in latest(bob):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        Keys(url).ask("FLUSHALL")
        gone = latest(bob)["messages"]
        assert gone.get("items", []) == [] and int(gone["removedUpToSeq"]) == 152


def plain(thing):
    """Without what says nothing, which one encoding leaves out and the other does not."""
    if isinstance(thing, dict):
        return {name: plain(value) for name, value in thing.items() if value not in ("", 0, [], False)}
    return thing


def latest(client):
    return client.ask(history={"conversationId": "quiet", "beforeSeq": 1_000, "limit": 100})
