"""The message path: acked once it is on disk, pushed to every member once and in order, never twice."""

import json
import threading
import tomllib

import pytest

from harness.wire import REPO


def test_a_message_is_acked_and_pushed_to_the_other_member(connect):
    alice, bob = connect("alice"), connect("bob")
    ack = alice.sent("lobby", "hi")
    assert ack["seq"] == 1 and ack["status"] == "OK"
    message = bob.push("message")
    assert message["conversationId"] == "lobby" and message["seq"] == 1
    assert (message["senderId"], message["text"], message["type"]) == ("alice", "hi", "TEXT")
    assert message["serverMsgId"] == ack["serverMsgId"] and message["createdAt"] == ack["createdAt"]


def test_the_welcome_names_the_session(connect):
    alice = connect("alice", "tablet")
    assert alice.welcome["userId"] == "alice" and alice.welcome["deviceId"] == "tablet"
    assert alice.welcome["nodeId"] == "node-1" and alice.welcome["sessionId"]


def test_every_online_member_gets_each_message_once_and_in_order(server, connect):
    server.group("team", "alice", "bob", "carol", "dave")
    alice = connect("alice")
    others = [connect(user) for user in ("bob", "carol", "dave")]
    commands = [alice.post(send=alice.message("team", f"m{n}")) for n in range(200)]
    seqs = [alice.reply(command)["ack"]["seq"] for command in commands]
    assert seqs == list(range(1, 201)), "one sender's messages keep their order"
    for other in others:
        got = other.messages(200)
        assert [message["seq"] for message in got] == list(range(1, 201))
        assert [message["text"] for message in got] == [f"m{n}" for n in range(200)]
        assert other.pushed_now() == []


def test_the_senders_other_device_gets_it_and_the_sending_session_does_not(connect):
    phone, laptop = connect("alice", "phone"), connect("alice", "laptop")
    phone.sent("lobby", "from the phone")
    assert laptop.push("message")["text"] == "from the phone"
    assert phone.pushed_now() == []


def test_somebody_outside_the_conversation_gets_nothing(server, connect):
    server.group("team", "alice", "bob")
    alice, bob, eve = connect("alice"), connect("bob"), connect("eve")
    alice.sent("team", "secret")
    bob.push("message")
    assert eve.pushed_now() == []


def test_a_filter_refuses_what_it_drops(make_server):
    shipped = tomllib.loads((REPO / "dataflow.toml").read_text())
    push = [*shipped["sinks"]["push"]["inputs"], "no_files.dropped"]
    server = make_server(
        'operators.no_files.kind="filter"',
        """operators.no_files.where="type != 'FILE'" """,
        'operators.no_files.inputs=["valid"]',
        'operators.fresh.inputs.messages=["no_files"]',
        f"sinks.push.inputs={json.dumps(push)}",
    )
    with server.client("alice") as alice:
        error = alice.refused(send={**alice.message("lobby", "a file"), "type": "FILE"})
        assert error["code"] == "FORBIDDEN" and "`no_files`" in error["message"] and not error["retryable"]
        assert alice.sent("lobby", "no file")["seq"] == 1


@pytest.mark.parametrize("format", ["json", "proto"])
def test_conversations_are_listed_in_pages(server, connect, format):
    names = [f"team-{n}" for n in range(7)]
    for name in names:
        server.group(name, "carol", "alice")
    server.put("/v1/conversations/team-3/bans/alice")
    alice = connect("alice", format=format)
    listed, after = [], ""
    while True:
        page = alice.ask(conversations={"after": after, "limit": 2})["conversationList"]
        listed += [item["conversationId"] for item in page["items"]]
        if not page.get("more"):
            break
        assert len(page["items"]) == 2, "only the last page is short"
        after = listed[-1]
    assert listed == ["lobby"] + [name for name in names if name != "team-3"]
    everything = alice.ask(conversations={})["conversationList"]
    assert [item["conversationId"] for item in everything["items"]] == listed and not everything.get("more")
    assert alice.refused(conversations={"after": "a b"})["code"] == "INVALID"


def test_a_repeat_gets_the_first_ack_and_no_second_message(connect):
    alice, bob = connect("alice"), connect("bob")
    message = alice.message("lobby", "once")
    first = alice.ask(send=message)["ack"]
    assert alice.ask(send=message)["ack"] == first
    # Several at once, in one frame and over both of its connections' lives.
    commands = [alice.post(send=message) for _ in range(20)]
    assert all(alice.reply(command)["ack"] == first for command in commands)
    assert bob.push("message")["text"] == "once"
    assert bob.pushed_now() == []
    assert [m["seq"] for m in bob.history("lobby")] == [1]


def test_repeats_that_overtake_the_first_ack_share_it(connect):
    alice = connect("alice")
    message = alice.message("lobby", "once")
    commands = [alice.post(send=message) for _ in range(50)]
    acks = [alice.reply(command)["ack"] for command in commands]
    assert all(ack == acks[0] for ack in acks)
    assert len(alice.history("lobby")) == 1


def test_a_repeat_after_a_reconnect_gets_the_first_ack(server, connect):
    alice = connect("alice")
    message = alice.message("lobby", "once")
    first = alice.ask(send=message)["ack"]
    alice.close()
    assert connect("alice").ask(send=message)["ack"] == first


def test_the_same_id_with_other_content_is_a_conflict(connect):
    alice = connect("alice")
    message = alice.message("lobby", "one")
    alice.ask(send=message)
    error = alice.refused(send={**message, "text": "another"})
    assert error["code"] == "CONFLICT" and not error["retryable"]
    assert [m["text"] for m in alice.history("lobby")] == ["one"]


@pytest.mark.parametrize("sender, receiver", [("json", "proto"), ("proto", "json"), ("proto", "proto")])
def test_both_encodings_meet_in_one_conversation(connect, sender, receiver):
    alice, bob = connect("alice", format=sender), connect("bob", format=receiver)
    ack = alice.sent("lobby", "你好", payload="AAEC/w==")
    message = bob.push("message")
    assert (message["text"], message["payload"], message["seq"]) == ("你好", "AAEC/w==", 1)
    assert message["serverMsgId"] == ack["serverMsgId"], "a 63-bit id survives both encodings"
    assert bob.history("lobby")[0]["serverMsgId"] == ack["serverMsgId"]


@pytest.mark.parametrize("format", ["json", "proto"])
def test_a_frame_carries_several_envelopes(connect, format):
    alice = connect("alice", format=format)
    envelopes = [{"id": n, "send": alice.message("lobby", f"m{n}")} for n in range(1, 11)]
    alice.socket.send(alice.codec.encode(envelopes))
    assert [alice.reply(n)["ack"]["seq"] for n in range(1, 11)] == list(range(1, 11))


def test_seq_is_gapless_and_ids_increase_under_concurrent_senders(server, connect):
    users = [f"user{n}" for n in range(8)]
    server.group("busy", *users)
    clients = [connect(user, format=("json", "proto")[n % 2]) for n, user in enumerate(users)]
    acks = {user: [] for user in users}

    def talk(client):
        commands = [client.post(send=client.message("busy", f"{client.user} {n}")) for n in range(100)]
        acks[client.user] = [client.reply(command)["ack"] for command in commands]

    threads = [threading.Thread(target=talk, args=(client,)) for client in clients]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

    seqs = sorted(ack["seq"] for each in acks.values() for ack in each)
    assert seqs == list(range(1, 801))
    history = clients[0].history("busy")
    assert [message["seq"] for message in history] == list(range(1, 801))
    ids = [int(message["serverMsgId"]) for message in history]
    assert all(a < b for a, b in zip(ids, ids[1:])), "serverMsgIds increase with seq"
    for user, each in acks.items():
        assert [m["text"] for m in history if m["senderId"] == user] == [f"{user} {n}" for n in range(100)]
        assert [ack["seq"] for ack in each] == sorted(ack["seq"] for ack in each)
    # Each client saw all messages of the others, in that one order.
    for client in clients:
        got = [message["seq"] for message in client.messages(700)]
        assert got == [m["seq"] for m in history if m["senderId"] != client.user]


def test_conversations_count_on_their_own(server, connect):
    server.group("a", "alice"), server.group("b", "alice")
    alice = connect("alice")
    assert [alice.sent(name, "x")["seq"] for name in "aabab"] == [1, 2, 1, 3, 2]


@pytest.mark.parametrize("text", ["😀👨‍👩‍👧", "e\u0301 ≠ é", "שלום עולם", "a\n\tb\\\"", "\u2028 end", "x" * 10_000])
def test_text_arrives_as_it_was_sent(connect, text):
    alice, bob = connect("alice"), connect("bob", format="proto")
    alice.sent("lobby", text)
    assert bob.push("message")["text"] == text
    assert alice.history("lobby")[0]["text"] == text


def test_history_is_read_in_pages(connect):
    alice = connect("alice")
    commands = [alice.post(send=alice.message("lobby", f"m{n}")) for n in range(1, 26)]
    [alice.reply(command) for command in commands]
    page = alice.ask(history={"conversationId": "lobby", "afterSeq": 5, "limit": 10})["messages"]
    assert [m["seq"] for m in page["items"]] == list(range(6, 16)) and page["more"]
    page = alice.ask(history={"conversationId": "lobby", "afterSeq": 15, "limit": 10})["messages"]
    assert [m["seq"] for m in page["items"]] == list(range(16, 26)) and not page["more"]


def test_sync_brings_what_was_missed_in_several_conversations(server, connect):
    server.group("team", "alice", "bob")
    alice, bob = connect("alice"), connect("bob")
    for n in range(3):
        alice.sent("lobby", f"l{n}"), alice.sent("team", f"t{n}")
    cursors = [{"conversationId": "lobby", "seq": 1}, {"conversationId": "team", "seq": 2}, {"conversationId": "nowhere"}]
    synced = bob.ask(sync={"cursors": cursors})["synced"]["conversations"]
    by_id = {each["conversationId"]: each for each in synced}
    assert [m["text"] for m in by_id["lobby"]["items"]] == ["l1", "l2"]
    assert [m["text"] for m in by_id["team"]["items"]] == ["t2"]
    assert by_id["nowhere"]["error"]["code"] in ("UNKNOWN_CONVERSATION", "NOT_A_MEMBER")


def test_the_list_names_ones_conversations(server, connect):
    server.group("team", "bob", "alice")
    alice = connect("alice")
    alice.sent("team", "x")
    items = {each["conversationId"]: each for each in alice.ask(conversations={})["conversationList"]["items"]}
    assert set(items) == {"lobby", "team"}
    assert (items["team"]["lastSeq"], items["team"]["memberCount"], items["team"]["type"]) == (1, 2, "GROUP")


def test_clients_make_groups_and_one_to_ones(connect):
    alice, bob = connect("alice"), connect("bob")
    group = alice.ask(createConversation={"conversationId": "team", "type": "GROUP", "members": ["bob"]})["conversation"]
    assert group["conversationId"] == "team" and group["role"] == "OWNER"
    direct = alice.ask(createConversation={"type": "ONE_TO_ONE", "members": ["bob"]})["conversation"]
    same = bob.ask(createConversation={"type": "ONE_TO_ONE", "members": ["alice"]})["conversation"]
    assert direct["conversationId"] == same["conversationId"], "it follows from the two members"
    bob.sent(direct["conversationId"], "only us")
    assert alice.push("message")["text"] == "only us"
