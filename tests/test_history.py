"""Reading: from a place, by time, around a message, over all conversations, and from one's join on."""

import pytest

FORMATS = pytest.mark.parametrize("format", ["json", "proto"])


def page(client, **history):
    reply = client.ask(history={"conversationId": "lobby", **history})
    assert "messages" in reply, reply
    return [message["seq"] for message in reply["messages"]["items"]], reply["messages"]["more"]


@FORMATS
def test_history_from_every_place(connect, format):
    alice = connect("alice", format=format)
    acks = [alice.sent("lobby", f"m{n}") for n in range(30)]
    assert page(alice, afterSeq=10, limit=5) == ([11, 12, 13, 14, 15], True)
    assert page(alice, beforeSeq=11, limit=5) == ([6, 7, 8, 9, 10], True)
    assert page(alice, beforeSeq=4, limit=5) == ([1, 2, 3], False)
    assert page(alice, afterSeq=10, beforeSeq=13) == ([11, 12], False)
    assert page(alice, aroundSeq=15, limit=4) == ([13, 14, 15, 16], True)
    assert page(alice, aroundSeq=30, limit=4) == ([28, 29, 30], False)
    created = [ack["createdAt"] for ack in acks]
    at = created[20]
    assert page(alice, afterTime=at, limit=200)[0] == [n + 1 for n in range(30) if created[n] >= at]
    assert page(alice, beforeTime=at, limit=200)[0] == [n + 1 for n in range(30) if created[n] < at]
    assert page(alice, afterTime=created[-1] + 1) == ([], False)
    assert page(alice, beforeTime=created[0]) == ([], False)
    error = alice.refused(history={"conversationId": "lobby", "aroundSeq": 3, "beforeTime": at})
    assert error["code"] == "INVALID" and "aroundSeq" in error["message"]


@FORMATS
def test_a_timeline_merges_all_conversations_and_pages_both_ways(server, connect, format):
    rooms = ["a", "b", "c"]
    for room in rooms:
        server.group(room, "alice", "bob")
    server.group("other", "bob", "carol")
    alice, bob = connect("alice", format=format), connect("bob", format=format)
    for n in range(40):
        alice.sent(rooms[n * n % 3], f"m{n}")
    bob.sent("other", "not for alice")
    place = lambda m: (m["createdAt"], m["conversationId"], m["seq"])
    names = ("createdAt", "conversationId", "seq")

    def walk(direction, at):
        found = []
        while True:
            reply = alice.ask(timeline={"limit": 7, **({direction: at} if at is not None else {})})
            items, more = reply["messages"]["items"], reply["messages"]["more"]
            found = found + items if direction == "after" else items + found
            if not more:
                return [place(message) for message in found]
            at = dict(zip(names, place(found[-1] if direction == "after" else found[0])))

    forwards = walk("after", {"createdAt": 0})
    assert len(forwards) == 40 and forwards == sorted(forwards)
    assert {conversation for _, conversation, _ in forwards} == {"a", "b"}, "40 squares modulo 3"
    assert walk("before", None) == forwards
    middle = dict(zip(names, forwards[19]))
    assert walk("after", middle) == forwards[20:]
    assert walk("before", middle) == forwards[:19]


@FORMATS
def test_who_joins_sees_from_then_on_where_the_conversation_says_so(server, connect, format):
    for name, since_join in (("open", False), ("closed", True)):
        body = {"id": name, "type": "GROUP", "members": [{"userId": "alice", "role": "OWNER"}]}
        status, info = server.http("POST", "/v1/conversations", {**body, "historySinceJoin": since_join}, server.admin_key())
        assert status == 201 and info.get("historySinceJoin", False) is since_join
    alice = connect("alice", format=format)
    for name in ("open", "closed"):
        for n in range(5):
            alice.sent(name, f"before {n}")
        server.put(f"/v1/conversations/{name}/members/carol")
        alice.sent(name, "after")
    carol = connect("carol", format=format)
    read = lambda name, **place: [
        m["seq"] for m in carol.ask(history={"conversationId": name, **place})["messages"]["items"]
    ]
    assert read("open") == [1, 2, 3, 4, 5, 6]
    assert read("closed") == [6]
    assert read("closed", beforeSeq=7) == [6] and read("closed", beforeSeq=6) == []
    assert read("closed", aroundSeq=2) == [6] and read("closed", beforeTime=2**52) == [6]
    synced = carol.ask(sync={"cursors": [{"conversationId": "closed", "seq": 0}]})["synced"]["conversations"]
    assert [m["seq"] for m in synced[0]["items"]] == [6]
    timeline = carol.ask(timeline={})["messages"]["items"]
    assert sorted((m["conversationId"], m["seq"]) for m in timeline) == [("closed", 6), *(("open", n) for n in range(1, 7))]
    items = carol.ask(conversations={})["conversationList"]["items"]
    assert {i["conversationId"]: i["unread"] for i in items} == {"closed": 1, "open": 1}, "unread from the join on"
    # Leaving and coming back is a new join, and survives a rebuilt index.
    server.delete("/v1/conversations/closed/members/carol")
    alice.sent("closed", "without carol")
    server.put("/v1/conversations/closed/members/carol", {"role": "ADMIN"})
    server.put("/v1/conversations/closed/members/carol", {"role": "MEMBER"})
    alice.sent("closed", "with carol")
    assert read("closed") == [8]


def test_a_join_is_found_again_when_the_index_is_lost(server):
    import shutil

    body = {"id": "closed", "type": "GROUP", "members": [{"userId": "alice", "role": "OWNER"}], "historySinceJoin": True}
    server.http("POST", "/v1/conversations", body, server.admin_key())
    with server.client("alice") as alice:
        for n in range(5):
            alice.sent("closed", f"m{n}")
        server.put("/v1/conversations/closed/members/carol")
        alice.sent("closed", "after")
    server.kill()
    shutil.rmtree(server.data / "index")
    server.start()
    with server.client("carol") as carol:
        assert [m["seq"] for m in carol.history("closed")] == [6]


def test_the_control_api_reads_from_every_place_too(server, connect):
    alice = connect("alice")
    for n in range(10):
        alice.sent("lobby", f"m{n}")
    alice.ask(read={"conversationId": "lobby", "seq": 10})
    key = server.admin_key()
    get = lambda path: server.http("GET", path, key=key)
    seqs = lambda query: [m["seq"] for m in get(f"/v1/conversations/lobby/messages?{query}")[1]["items"]]
    assert seqs("afterSeq=7") == [8, 9, 10]
    assert seqs("beforeSeq=4&limit=2") == [2, 3]
    assert seqs("aroundSeq=5&limit=2") == [4, 5]
    assert seqs("beforeTime=1") == [] and len(seqs("afterTime=1")) == 10
    assert get("/v1/conversations/lobby/messages?aroundSeq=1&beforeTime=1")[0] == 400
    status, list = get("/v1/conversations/lobby/cursors")
    assert status == 200 and list["items"] == [{"userId": "alice", "delivered": 10, "read": 10}], list
    status, page = get("/v1/users/alice/timeline?limit=3")
    assert status == 200 and [m["seq"] for m in page["items"]] == [8, 9, 10] and page["more"] is True
    created = page["items"][0]["createdAt"]
    status, page = get(f"/v1/users/alice/timeline?beforeTime={created}&beforeConversation=lobby&beforeSeq=8&limit=2")
    assert status == 200 and [m["seq"] for m in page["items"]] == [6, 7]
