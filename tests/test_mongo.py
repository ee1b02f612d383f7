"""The copy in MongoDB: whatever is killed and whenever, it ends as the log; and senders hear of delays."""

import collections
import contextlib
import os
import random
import threading
import time

import pymongo
import pytest
from bson.raw_bson import RawBSONDocument
from pymongo.errors import PyMongoError

from harness.client import PATIENCE
from harness.wire import REPO
from test_kill_loop import CONVERSATIONS, USERS, Sender

ROUNDS = int(os.environ.get("IMFLOW_MONGO_KILLS", "12"))
MONGO = REPO / "examples" / "mongodb" / "dataflow.toml"
# Catching up with what a loop left behind, on a busy machine.
CATCH_UP_SECONDS = 120
# Between two messages of a sender: the servers here take some hundred a second.
PAUSE_SECONDS = 0.01


class Copy:
    """What a database of a MongoDB server holds."""

    def __init__(self, uri, name="imflow"):
        self.client = pymongo.MongoClient(uri, serverSelectionTimeoutMS=5000, document_class=RawBSONDocument, tz_aware=True)
        self.database = self.client[name]

    def shards(self, kind):
        return [f"{kind}_{n}" for n in range(32)]

    def all(self, kind):
        """Every document of the shards of a kind."""
        return [document for name in self.shards(kind) for document in self.database[name].find()]

    def count(self, kind):
        return sum(self.database[name].count_documents({}) for name in self.shards(kind))

    def bytes(self):
        """Each document as it is stored, by its id."""
        kinds = ("message", "timeline")
        return {(kind, document["_id"]): document.raw for kind in kinds for document in self.all(kind)}

    def wait_for(self, kind, count):
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while (found := self.count_now(kind)) != count:
            assert time.monotonic() < deadline, f"{found} documents of {kind}, expected {count}"
            time.sleep(0.1)

    def wait_for_position(self, lsn):
        """The copy notes how far it has come behind what it has written."""
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while (position := self.position()) < lsn:
            assert time.monotonic() < deadline, f"the copy stands at {position} of {lsn}"
            time.sleep(0.1)

    def position(self):
        with contextlib.suppress(PyMongoError):
            return (self.database.imflow_position.find_one() or {"lsn": 0})["lsn"]
        return 0

    def count_now(self, kind):
        with contextlib.suppress(PyMongoError):
            return self.count(kind)


def serve(make_server, uri, *overrides):
    return make_server(f"sinks.archive.uri={uri}", "sinks.archive.pause=20ms", *overrides, config=MONGO)


def histories(server, conversations):
    with server.client(USERS[0], "checker") as reader:
        return {conversation: reader.history(conversation) for conversation in conversations}


def check(copy, histories, members):
    """The copy holds the log's messages, each once and whole, and nothing else."""
    expected = {int(m["serverMsgId"]): m for history in histories.values() for m in history}
    copy.wait_for("message", len(expected))
    found = {document["_id"]: document for document in copy.all("message")}
    assert found.keys() == expected.keys()
    for id, message in expected.items():
        document = found[id]
        # The copy has each entry as it came; history shows what later ones have made of it.
        changed = {"text"} if message.get("amended", {}).get("edits") else set()
        for field in {"conversationId", "clientMsgId", "senderId", "type", "text", "seq"} - changed:
            assert document.get(field, "") == message.get(field, ""), (field, message)
        assert int(document["createdAt"].timestamp() * 1000 + 0.5) == message["createdAt"]
        assert document["serverMsgId"] == id
    copy.wait_for("timeline", len(expected) * len(members))
    rows = collections.Counter((row["userId"], row["conversationId"], row["seq"]) for row in copy.all("timeline"))
    wanted = {(user, m["conversationId"], m["seq"]) for m in expected.values() for user in members}
    assert rows == collections.Counter(wanted)


def test_kills_on_both_sides_leave_mongo_equal_to_the_log(services, make_server):
    seed = int(os.environ.get("IMFLOW_SEED", time.time_ns() % 1_000_000_000))
    print(f"seed: IMFLOW_SEED={seed}")
    moments = random.Random(seed)
    services.up(["ferret"])
    copy = Copy(services.url("ferret"))
    server = serve(make_server, services.url("ferret"))
    for name in CONVERSATIONS:
        server.group(name, *USERS)
    senders = [Sender(user, ("json", "proto")[n % 2], PAUSE_SECONDS) for n, user in enumerate(USERS)]
    [server.token(user) for user in USERS]

    for round in range(ROUNDS):
        threads = [threading.Thread(target=sender.run, args=(server,)) for sender in senders]
        [thread.start() for thread in threads]
        time.sleep(moments.uniform(0.1, 0.8))
        # Either goes first, and sometimes only one of them goes.
        victims = moments.choice([("ferret", "imflow"), ("imflow", "ferret"), ("imflow",), ("ferret", "imflow")])
        for victim in victims:
            server.kill() if victim == "imflow" else services.kill("ferret")
            time.sleep(moments.uniform(0, 0.2))
        [thread.join(30) for thread in threads]
        if not services.is_running("ferret"):
            services.start("ferret")
        server.start()

    for sender in senders:
        sender.settle_all(server)
    check(copy, histories(server, CONVERSATIONS), USERS)
    total = copy.count("message")
    print(f"{ROUNDS} rounds, {total} messages")
    assert total > ROUNDS * 10, "there was hardly any load"

    # Everything is delivered once more, from the first record on: not a byte changes.
    before = copy.bytes()
    server.terminate()
    assert copy.database.imflow_position.update_many({}, {"$set": {"lsn": 0}}).modified_count == 1
    server.start()
    durable = total + len(CONVERSATIONS)
    copy.wait_for_position(durable)
    assert copy.bytes() == before
    assert "another document holds the place" not in server.log.read_text(errors="replace")


def test_a_server_that_lost_everything_is_filled_again(services, make_server):
    services.up(["mongo-java"])
    server = serve(make_server, services.url("mongo-java"))
    server.group("c1", *USERS)
    with server.client("u1") as client:
        for n in range(50):
            client.sent("c1", f"before {n}")
        check(Copy(services.url("mongo-java")), histories(server, ["c1"]), USERS)
        services.kill("mongo-java")  # it keeps all in memory
        services.start("mongo-java")
        for n in range(50):
            client.sent("c1", f"after {n}")
    check(Copy(services.url("mongo-java")), histories(server, ["c1"]), USERS)
    assert "is filled again from the log" in server.log.read_text(errors="replace")


@pytest.mark.parametrize("format", ["json", "proto"])
def test_senders_hear_of_a_delay_and_of_its_end(services, make_server, format):
    services.up(["ferret"])
    server = serve(make_server, services.url("ferret"))
    server.group("c1", "alice", "bob")
    with server.client("alice", format=format) as alice, server.client("bob", format=format) as bob:
        alice.sent("c1", "in time")
        # Behind the facts of `lobby` and `c1`.
        Copy(services.url("ferret")).wait_for_position(3)
        services.kill("ferret")
        acks = [alice.sent("c1", f"late {n}") for n in range(3)]
        assert all(ack["status"] == "OK" for ack in acks), "the log is the truth"
        for ack in acks:
            status = alice.push("status", 3 * PATIENCE)
            assert (status["conversationId"], status["seq"], status["status"]) == ("c1", ack["seq"], "DELAYED")
            assert status["clientMsgId"].startswith("alice-phone-")
        services.start("ferret")
        told = [alice.push("status", 3 * PATIENCE) for _ in acks]
        assert [(status["seq"], status["status"]) for status in told] == [(ack["seq"], "OK") for ack in acks]
        assert bob.pushed_now("status") == [], "only the sender is told"
    check(Copy(services.url("ferret")), {"c1": history_of(server, "bob")}, ["alice", "bob"])


def history_of(server, user):
    with server.client(user, "checker") as reader:
        return reader.history("c1")


def test_a_server_that_stands_still_is_given_up_and_taken_up_again(services, make_server):
    services.up(["ferret"])
    copy = Copy(services.url("ferret"))
    server = serve(make_server, services.url("ferret"), "sinks.archive.timeout=200ms", "sinks.archive.retries=0")
    server.group("c1", "alice", "bob")
    with server.client("alice") as alice:
        alice.sent("c1", "before")
        copy.wait_for_position(3)
        with services.frozen("ferret"):
            ack = alice.sent("c1", "meanwhile")
            status = alice.push("status", 3 * PATIENCE)
            assert (status["seq"], status["status"]) == (ack["seq"], "DELAYED")
        status = alice.push("status", 3 * PATIENCE)
        assert (status["seq"], status["status"]) == (ack["seq"], "OK")
    check(copy, {"c1": history_of(server, "bob")}, ["alice", "bob"])


def test_a_service_whose_mongo_was_never_there_serves(make_server):
    server = serve(make_server, "mongodb://127.0.0.1:9/")
    server.group("c1", "alice", "bob")
    with server.client("alice") as alice:
        alice.sent("c1", "hi")
        assert len(alice.history("c1")) == 1
    assert server.terminate() == 0
    assert "MongoDB" in server.log.read_text(errors="replace")
