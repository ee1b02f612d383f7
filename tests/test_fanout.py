"""Fan-out: pushed, or told of and pulled; who types; and clients that are too slow for either."""

import pytest


def pin(server, conversation, mode):
    server.put(f"/v1/conversations/{conversation}/fanout", {"mode": mode})


@pytest.mark.parametrize("format", ["json", "proto"])
def test_a_pinned_conversation_is_told_of_once_and_pulled(server, connect, format):
    server.group("team", "alice", "bob")
    pin(server, "team", "NOTIFY")
    alice, bob = connect("alice"), connect("bob", format=format)
    for n in range(30):
        alice.sent("team", f"m{n}")
    told = bob.push("notify")
    assert told["conversationId"] == "team" and told["upToSeq"] >= 1
    if told["upToSeq"] < 30:
        assert bob.push("notify")["upToSeq"] == 30, "what followed within a second is one notice"
    assert bob.pushed_now("message") == [] and bob.pushed_now("notify") == []
    assert [m["text"] for m in bob.history("team")] == [f"m{n}" for n in range(30)]
    pin(server, "team", "DIRECT")
    alice.sent("team", "again")
    assert bob.push("message")["text"] == "again", "pushed again once it was pulled"


def test_nothing_is_pushed_behind_a_notice_until_it_was_pulled(server, connect):
    server.group("team", "alice", "bob")
    pin(server, "team", "NOTIFY")
    alice, bob = connect("alice"), connect("bob")
    alice.sent("team", "told of")
    assert bob.push("notify")["upToSeq"] == 1
    pin(server, "team", "DIRECT")
    alice.sent("team", "not pushed")
    assert bob.push("notify")["upToSeq"] == 2, "a push here would leave a hole"
    assert bob.pushed_now("message") == []
    assert bob.ask(delivered={"conversationId": "team", "seq": 2}) == {"done": {}}
    alice.sent("team", "pushed")
    assert bob.push("message")["text"] == "pushed", "to have confirmed is to know"


def test_a_long_message_is_told_of(server, connect):
    server.group("team", "alice", "bob")
    alice, bob = connect("alice"), connect("bob")
    assert alice.ask(send=alice.message("team", "x" * 11_000)).get("ack")
    assert bob.push("notify") == {"conversationId": "team", "upToSeq": 1}
    assert len(bob.history("team")[0]["text"]) == 11_000


def test_a_pin_outlives_a_restart_and_only_the_control_api_sets_it(server, connect):
    server.group("team", "alice", "bob")
    pin(server, "team", "NOTIFY")
    server.kill()
    server.start()
    assert server.http("GET", "/v1/conversations/team")[1]["fanout"] == "NOTIFY"
    alice, bob = connect("alice"), connect("bob")
    alice.sent("team", "hello")
    assert bob.push("notify")["upToSeq"] == 1
    status, refused = server.http("PUT", "/v1/conversations/team/fanout", {"mode": "FAST"})
    assert status == 400 and "DIRECT" in refused["error"]["message"]


def test_the_others_are_told_who_types(server, connect):
    server.group("team", "alice", "bob")
    alice, bob, carol = connect("alice"), connect("bob", format="proto"), connect("carol")
    assert alice.ask(typing={"conversationId": "team"}) == {"done": {}}
    assert bob.push("typing") == {"conversationId": "team", "userId": "alice"}
    assert carol.ask(typing={"conversationId": "team"}) == {"done": {}}
    assert alice.ask(typing={"conversationId": ""})["error"]["code"] == "INVALID"
    alice.sent("team", "done")
    bob.push("message")
    assert bob.pushed_now("typing") == [], "who is no member is not told of"


def follow(client, conversation, count):
    """Reads on as the protocol says, until so many messages came; how often it was told to pull."""
    last = told = 0
    while last < count:
        event = client.push()
        if "message" in event:
            assert event["message"]["seq"] == last + 1, "pushes leave no hole"
            last += 1
        elif "notify" in event and event["notify"]["upToSeq"] > last:
            told += 1
            for message in client.history(conversation, after=last):
                assert message["seq"] == last + 1
                last += 1
    return told


def test_a_reader_that_falls_behind_loses_nothing_and_holds_nobody_up(make_server):
    server = make_server("sources.clients.outbox_pushes=3600", "sources.clients.write_stall=60s")
    server.group("busy", "alice", "bob", "carol")
    with server.client("alice") as alice, server.client("carol") as carol:
        bob = server.client("bob")
        # Bob's program stops to read: its socket fills up, then its outbox.
        bob.pause()
        text = "x" * 4_000
        for n in range(4_000):
            alice.post(send=alice.message("busy", f"{n} {text}"))
            if n % 100 == 99:
                alice.sent("busy", "step")
        follow(carol, "busy", 4_040)
        bob.resume()
        assert follow(bob, "busy", 4_040) > 0, "what found no room was told of"
        alice.sent("busy", "live again")
        assert bob.push("message")["text"] == "live again"
        bob.close()
