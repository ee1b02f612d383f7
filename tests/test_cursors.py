"""How far everybody has come: read and delivered cursors, unread counts, receipts, reminders."""

import threading
import time

import pytest

from harness.client import Client
from harness.proxy import LosingProxy

FORMATS = pytest.mark.parametrize("format", ["json", "proto"])


def mark(client, kind, conversation, seq):
    reply = client.ask(**{kind: {"conversationId": conversation, "seq": seq}})
    assert "done" in reply, reply


def standing(client, conversation):
    """Last, read, delivered and unread as the list of conversations has them."""
    items = client.ask(conversations={})["conversationList"]["items"]
    info = next(item for item in items if item["conversationId"] == conversation)
    return info["lastSeq"], info["readSeq"], info["deliveredSeq"], info["unread"]


def cursors(client, conversation):
    items = client.ask(cursors={"conversationId": conversation})["cursorList"]["items"]
    return {item["userId"]: (item["delivered"], item["read"]) for item in items}


@FORMATS
def test_a_read_is_durable_when_it_is_answered_and_others_get_a_receipt(server, connect, format):
    alice, bob = connect("alice", format=format), connect("bob", format=format)
    for n in range(5):
        alice.sent("lobby", f"m{n}")
    assert standing(bob, "lobby") == (5, 0, 0, 5)
    assert standing(alice, "lobby") == (5, 5, 5, 0), "what one wrote, one has read"
    mark(bob, "read", "lobby", 3)
    assert standing(bob, "lobby") == (5, 3, 3, 2)
    expected = {"conversationId": "lobby", "userId": "bob", "delivered": 3, "read": 3}
    assert alice.push("receipt") == expected
    assert bob.push("receipt") == expected, "the user's own devices learn it too"
    server.kill()
    server.start()
    with server.client("bob", format=format) as bob:
        assert standing(bob, "lobby") == (5, 3, 3, 2)


@FORMATS
def test_a_cursor_never_goes_back_and_never_beyond_the_last_message(connect, format):
    alice, bob = connect("alice", format=format), connect("bob", format=format)
    for n in range(4):
        alice.sent("lobby", f"m{n}")
    mark(bob, "read", "lobby", 999_999)
    assert standing(bob, "lobby") == (4, 4, 4, 0)
    mark(bob, "read", "lobby", 1)
    assert standing(bob, "lobby") == (4, 4, 4, 0)
    alice.sent("lobby", "m4")
    assert standing(bob, "lobby") == (5, 4, 4, 1)


@FORMATS
def test_deliveries_of_many_devices_reach_the_sender_merged(make_server, format):
    server = make_server("operators.cursors.merge=50ms")
    with server.client("alice", format=format) as alice, server.client("bob", "a", format=format) as one, server.client(
        "bob", "b", format=format
    ) as other:
        for n in range(10):
            alice.sent("lobby", f"m{n}")
        for seq in range(1, 8):
            mark(one, "delivered", "lobby", seq)
        mark(other, "delivered", "lobby", 4)
        receipt = alice.push("receipt", where=lambda r: r["delivered"] == 7)
        assert (receipt["userId"], receipt["read"]) == ("bob", 0)
        assert cursors(alice, "lobby") == {"bob": (7, 0)}


@FORMATS
def test_only_members_mark_and_see_marks(server, connect, format):
    server.group("team", "alice", "bob")
    eve, alice = connect("eve", format=format), connect("alice", format=format)
    for kind in ("read", "delivered"):
        assert eve.refused(**{kind: {"conversationId": "team", "seq": 1}})["code"] == "NOT_A_MEMBER"
        assert alice.refused(**{kind: {"conversationId": "nowhere", "seq": 1}})["code"] == "UNKNOWN_CONVERSATION"
    assert eve.refused(cursors={"conversationId": "team"})["code"] == "NOT_A_MEMBER"


def test_a_token_that_cannot_read_cannot_mark(connect):
    bob = connect("bob", options=["--scopes", "send"])
    assert bob.refused(read={"conversationId": "lobby", "seq": 1})["code"] == "FORBIDDEN"


def test_in_a_large_conversation_only_the_own_devices_get_receipts(make_server):
    server = make_server("operators.fanout.receipts=2")
    server.group("team", "alice", "bob", "carol")
    with server.client("alice") as alice, server.client("bob", "a") as one, server.client("bob", "b") as other:
        alice.sent("team", "hi")
        mark(one, "read", "team", 1)
        assert other.push("receipt")["read"] == 1
        assert cursors(alice, "team") == {"bob": (1, 1)}, "others ask"
        assert alice.pushed_now("receipt") == []


def test_cursors_are_paged_and_without_those_who_left(server, connect):
    users = [f"u{n}" for n in range(5)]
    server.group("team", *users)
    clients = {user: connect(user) for user in users}
    clients["u0"].sent("team", "hi")
    for user in users:
        mark(clients[user], "read", "team", 1)
    server.delete("/v1/conversations/team/members/u2")
    seen, after = [], ""
    while True:
        page = clients["u0"].ask(cursors={"conversationId": "team", "after": after, "limit": 2})["cursorList"]
        seen += [item["userId"] for item in page["items"]]
        if not page["more"]:
            break
        after = seen[-1]
    assert seen == ["u0", "u1", "u3", "u4"]


@FORMATS
def test_a_session_that_does_not_confirm_is_told_once_more(make_server, format):
    server = make_server("operators.cursors.confirm_within=200ms", "operators.cursors.notifies=2")
    with server.client("alice") as alice, server.client("bob", format=format) as bob, server.client("carol") as carol:
        server.group("team", "alice", "bob", "carol")
        alice.sent("team", "m1")
        mark(bob, "delivered", "team", 1)
        alice.sent("team", "m2")
        notify = {"conversationId": "team", "upToSeq": 2}
        assert bob.push("notify") == notify, "a lost last push is noticed without a further message"
        assert bob.push("notify") == notify
        assert carol.pushed_now("notify") == [], "who never confirms is left alone"
        mark(bob, "delivered", "team", 2)
        assert bob.pushed_now("notify") == []


def test_a_last_push_that_the_network_lost_is_pulled_without_a_further_message(make_server):
    server = make_server("operators.cursors.confirm_within=200ms", "operators.cursors.notifies=3")
    server.group("team", "alice", "bob")
    with LosingProxy(server.port, "the last one") as network, server.client("alice") as alice:
        bob = Client("ws://{}:{}/ws".format(*network.address), server.token("bob"), "bob")
        with bob:
            alice.sent("team", "the first one")
            assert bob.push("message")["seq"] == 1
            mark(bob, "delivered", "team", 1)
            alice.sent("team", "the last one")
            assert bob.push("notify") == {"conversationId": "team", "upToSeq": 2}
            assert network.lost == 1 and bob.pushed_now("message") == []
            # The same answer is lost again; then the network is well.
            lost = bob.post(history={"conversationId": "team", "afterSeq": 1})
            assert [bob.push("notify")["upToSeq"] for _ in range(2)] == [2, 2]
            assert lost not in bob.replies and network.lost == 2
            network.text = b"nothing is lost any more"
            assert [m["text"] for m in bob.history("team", 1)] == ["the last one"]
            time.sleep(2)
            assert bob.pushed_now("notify") == [], "reminders are bounded"
            mark(bob, "delivered", "team", 2)


class Device:
    """A client by the book: shows each seq once and in order, pulls what is missing, confirms what it has."""

    def __init__(self):
        self.shown = {}

    def offer(self, conversation, seq):
        """Shows a message if it is the next; says whether something before it is missing."""
        have = self.shown.setdefault(conversation, [0])
        if seq == have[-1] + 1:
            have.append(seq)
        return seq > have[-1]

    def resume(self, client):
        after, more = "", True
        while more:
            synced = client.ask(resume={"after": after})["synced"]
            for conversation in synced["conversations"]:
                name = conversation["conversationId"]
                assert "error" not in conversation or not conversation["error"], conversation
                first = conversation["items"][0]["seq"] if conversation["items"] else 0
                # Of what was confirmed and durable nothing comes again; what is not may.
                if first and first <= self.shown.get(name, [0])[-1]:
                    assert conversation["redelivered"] is True
                for message in conversation["items"]:
                    self.offer(name, message["seq"])
                if conversation["more"]:
                    self.pull(client, name)
            more, after = synced["more"], synced.get("after", "")

    def pull(self, client, conversation):
        for message in client.history(conversation, self.shown.setdefault(conversation, [0])[-1]):
            self.offer(conversation, message["seq"])

    def drain(self, client):
        for message in take_all(client, "message"):
            if self.offer(message["conversationId"], message["seq"]):
                self.pull(client, message["conversationId"])

    def confirm(self, client):
        for conversation, seqs in self.shown.items():
            client.ask(delivered={"conversationId": conversation, "seq": seqs[-1]})


def take_all(client, kind):
    with client.changed:
        taken = [event[kind] for event in client.pushes if kind in event]
        rest = [event for event in client.pushes if kind not in event]
        client.pushes.clear()
        client.pushes.extend(rest)
    return taken


@FORMATS
def test_a_device_that_comes_and_goes_under_load_gets_everything_once(server, format):
    """The border between what is pulled and what is pushed: no gap, nothing double, over many reconnects."""
    rooms = ["r1", "r2", "r3"]
    for room in rooms:
        server.group(room, "alice", "bob")
    stop, sent = threading.Event(), {room: 0 for room in rooms}

    def load():
        with server.client("alice") as alice:
            while not stop.is_set():
                for room in rooms:
                    sent[room] = alice.sent(room, "x")["seq"]

    thread = threading.Thread(target=load)
    thread.start()
    device = Device()
    try:
        for _ in range(12):
            with server.client("bob", format=format) as bob:
                device.resume(bob)
                for _ in range(10):
                    bob.ask(ping={})
                    device.drain(bob)
                device.confirm(bob)
    finally:
        stop.set()
        thread.join()
    with server.client("bob", format=format) as bob:
        device.resume(bob)
        for room in rooms:
            assert device.shown[room] == list(range(sent[room] + 1)), f"{room}: a gap or a double"


def test_what_a_crash_forgets_is_delivered_again_and_nothing_that_was_told_goes_back(make_server):
    server = make_server("operators.cursors.merge=60s")
    with server.client("alice") as alice, server.client("bob") as bob:
        for n in range(10):
            alice.sent("lobby", f"m{n}")
        mark(bob, "delivered", "lobby", 4)
        # A read takes waiting deliveries along, so 4 is durable; 9 is only taken.
        mark(bob, "read", "lobby", 2)
        assert alice.push("receipt")["delivered"] == 4
        mark(bob, "delivered", "lobby", 9)
        server.kill()
    server.start()
    with server.client("bob") as bob, server.client("alice") as alice:
        assert standing(bob, "lobby") == (10, 2, 4, 8)
        assert cursors(alice, "lobby")["bob"] == (4, 2)
        (conversation,) = bob.ask(resume={})["synced"]["conversations"]
        assert conversation["redelivered"] is True
        assert [message["seq"] for message in conversation["items"]] == list(range(5, 11))
        mark(bob, "read", "lobby", 3)
        assert standing(bob, "lobby")[1] == 3


def test_cursors_survive_many_kills(make_server):
    """Whatever was told by an answer or a receipt is the least that is there after the next start."""
    server = make_server("operators.cursors.merge=20ms")
    told = {"bob": 0, "delivered": 0}
    for round in range(8):
        with server.client("alice") as alice, server.client("bob") as bob:
            for n in range(20):
                seq = alice.sent("lobby", f"{round}-{n}")["seq"]
                mark(bob, "delivered", "lobby", seq)
                if n % 5 == 0:
                    mark(bob, "read", "lobby", seq)
                    told["bob"] = seq
            receipts = take_all(alice, "receipt")
            told["delivered"] = max([told["delivered"], *(r["delivered"] for r in receipts)])
            server.kill()
        server.start()
        with server.client("bob") as bob:
            last, read, delivered, unread = standing(bob, "lobby")
            assert read >= told["bob"] and delivered >= told["delivered"], (round, read, delivered, told)
            assert last >= delivered >= read and unread == last - read


def test_the_index_of_cursors_is_rebuilt_from_the_log(server):
    import shutil

    with server.client("alice") as alice, server.client("bob") as bob:
        for n in range(6):
            alice.sent("lobby", f"m{n}")
        mark(bob, "read", "lobby", 4)
        server.kill()
    shutil.rmtree(server.data / "index")
    server.start()
    with server.client("bob") as bob, server.client("alice") as alice:
        assert standing(bob, "lobby") == (6, 4, 4, 2)
        assert standing(alice, "lobby") == (6, 6, 6, 0)
