"""What the log no longer keeps is read from its copy in MongoDB, as if it were still there."""

import random
import time

import pytest

from harness.client import PATIENCE
from harness.cutting import FILL, fill_until_cut, segments
from test_erasure_copies import export
from test_mongo import MONGO, Copy

SMALL = ("sinks.store.segment=1MiB", "sinks.store.keep=1s", "sinks.reader.archive=archive")


def serve(make_server, uri, *overrides):
    return make_server(f"sinks.archive.uri={uri}", "sinks.archive.pause=20ms", *SMALL, *overrides, config=MONGO)


def pages(client, **place):
    """All pages from a place on; each tells of no removed message."""
    items, more = [], True
    while more:
        page = client.ask(history={"conversationId": "c1", "limit": 200, **place})
        assert "messages" in page, page
        page = page["messages"]
        assert int(page.get("removedUpToSeq", 0)) == 0, page["removedUpToSeq"]
        assert page["items"] or not page["more"]
        more = page["more"]
        if "beforeSeq" in place or "beforeTime" in place:
            items = page["items"] + items
            place = {"beforeSeq": items[0]["seq"]} if items else place
        else:
            items += page["items"]
            place = {"afterSeq": items[-1]["seq"]} if items else place
    return items


@pytest.mark.parametrize("database", ["ferret", "mongo-java"])
def test_what_was_removed_from_the_log_is_read_from_the_archive(services, make_server, database):
    services.up([database])
    server = serve(make_server, services.url(database))
    server.group("c1", "alice", "bob")
    with server.client("alice") as alice:
        alice.sent("c1", "first")
        alice.ask(send=alice.message("c1", "to be revoked"))
        alice.ask(revoke={"conversationId": "c1", "clientMsgId": alice.message_id(), "seq": 2})
        alice.ask(send=alice.message("c1", "wrong"))
        alice.ask(edit={"conversationId": "c1", "clientMsgId": alice.message_id(), "seq": 4, "text": "right"})
        reaction = {"conversationId": "c1", "clientMsgId": alice.message_id(), "seq": 1, "emoji": "👍"}
        assert "ack" in alice.ask(react=reaction)
    texts = fill_until_cut(server, "alice", "c1")
    last = max(texts)

    for format in ("json", "proto"):
        with server.client("bob", format=format) as bob:
            everything = pages(bob, afterSeq=0)
            assert [m["seq"] for m in everything] == list(range(1, last + 1)), "no gap and nothing twice"
            assert all(m["text"] == texts[m["seq"]] for m in everything if m["seq"] in texts)
            assert pages(bob, beforeSeq=last + 1) == everything
            by_seq = {m["seq"]: m for m in everything}
            assert by_seq[1]["text"] == "first" and by_seq[1]["amended"]["reactions"][0]["emoji"] == "👍"
            assert by_seq[2].get("text", "") == "" and by_seq[2]["amended"]["revokedBy"] == "alice"
            assert by_seq[4]["text"] == "right" and by_seq[4]["amended"]["edits"] == 1
            around = bob.ask(history={"conversationId": "c1", "aroundSeq": 10, "limit": 6})["messages"]
            assert 10 in [m["seq"] for m in around["items"]]
            middle = everything[50]
            later = bob.ask(history={"conversationId": "c1", "afterTime": middle["createdAt"], "limit": 1})["messages"]["items"]
            assert later[0]["createdAt"] >= middle["createdAt"] and by_seq[later[0]["seq"] - 1]["createdAt"] < middle["createdAt"]
            synced = bob.ask(sync={"cursors": [{"conversationId": "c1", "seq": 0}]})["synced"]["conversations"][0]
            assert synced["items"][0]["seq"] == 1 and int(synced.get("removedUpToSeq", 0)) == 0 and synced["more"]
            newest = bob.ask(timeline={"limit": 20})["messages"]["items"]
            assert [m["seq"] for m in newest] == list(range(last - 19, last + 1))
    with server.client("eve") as eve:
        assert eve.refused(history={"conversationId": "c1", "afterSeq": 0})["code"] == "NOT_A_MEMBER"

    in_the_background(server, last)
    without_the_archive(services, server, database, last)
    took = [cold_read(server, last) for _ in range(3)]
    print(f"{database}: {last} messages, cold reads of 50: p99 {max(p99 for p99, _ in took):.1f} ms, median {took[-1][1]:.1f} ms")


def everything(client, forwards, limit):
    """The whole timeline, page by page, from one end."""
    items, place = [], {"after": {}} if forwards else {}
    for _ in range(1000):
        page = client.ask(timeline={"limit": limit, **place})
        assert "messages" in page, page
        page = page["messages"]
        items = items + page["items"] if forwards else page["items"] + items
        if not page["more"]:
            return items
        end = items[-1] if forwards else items[0]
        place = {"after" if forwards else "before": {key: end[key] for key in ("createdAt", "conversationId", "seq")}}
    raise AssertionError("the timeline does not end")


def place_of(message):
    return message["createdAt"], message["conversationId"], message["seq"]


@pytest.mark.parametrize("database", ["ferret", "mongo-java"])
def test_a_timeline_and_an_export_go_on_in_the_archive(services, make_server, database):
    services.up([database])
    # Two members get rows, three are many.
    server = serve(make_server, services.url(database), "sinks.archive.timeline_members=2")
    server.group("still", "alice", "bob")
    server.group("c1", "alice", "bob")
    server.group("many", "alice", "bob", "carol")
    server.group("others", "alice", "carol")
    server.group("left", "alice", "bob")
    since = {"id": "since", "type": "GROUP", "members": [{"userId": "alice", "role": "OWNER"}], "historySinceJoin": True}
    assert server.http("POST", "/v1/conversations", since)[0] == 201
    said = []
    with server.client("alice") as alice, server.client("bob") as bob:
        alice.sent("since", "before bob came")
        server.put("/v1/conversations/since/members/bob", {"role": "MEMBER"})
        for n in range(8):
            for id in ("still", "many", "since"):
                said.append((id, alice.sent(id, f"{id} {n}")["seq"]))
            alice.sent("others", f"not for bob {n}")
        bob.sent("left", "what bob said and left behind")
        revoke = {"conversationId": "still", "clientMsgId": alice.message_id(), "seq": 3}
        said.append(("still", alice.ask(revoke=revoke)["ack"]["seq"]))
        said.append(("many", bob.sent("many", "what bob said")["seq"]))
    server.delete("/v1/conversations/left/members/bob")
    texts = fill_until_cut(server, "alice", "c1")
    said += [("c1", seq) for seq in texts]

    for format in ("json", "proto"):
        with server.client("bob", format=format) as bob:
            assert bob.ask(history={"conversationId": "still", "limit": 3})["messages"]["items"][2]["amended"]["revokedBy"] == "alice"
            pages = {(forwards, limit): everything(bob, forwards, limit) for forwards in (True, False) for limit in (7, 200)}
            for way, items in pages.items():
                assert [place_of(m) for m in items] == sorted(place_of(m) for m in items), way
                assert sorted((m["conversationId"], m["seq"]) for m in items) == sorted(said), way
                by_seq = {(m["conversationId"], m["seq"]): m for m in items}
                revoked = by_seq["still", 3]
                assert revoked.get("text", "") == "" and revoked["amended"]["revokedBy"] == "alice", way
                assert by_seq["many", 2]["text"] == "many 1" and by_seq["since", 2]["text"] == "since 0", way

    with server.client("alice") as alice:
        target = {"conversationId": "still", "clientMsgId": alice.message_id(), "seq": 1}
        wishes = [{"send": alice.message("still", "x", replyTo=1)}, {"edit": {**target, "text": "x"}}, {"revoke": target}]
        for wish in wishes:
            error = alice.refused(**wish)
            assert error["code"] == "TOO_LATE" and "older than the log keeps" in error["message"], error
        assert alice.refused(send=alice.message("still", "x", replyTo=99))["code"] == "UNKNOWN_MESSAGE"
    assert server.http("GET", "/v1/users/bob/timeline?limit=5")[1]["items"][-1]["conversationId"] == "c1"
    told = [line["message"] for line in export(server, "bob") if "message" in line]
    assert sorted(m["text"] for m in told) == ["what bob said", "what bob said and left behind"], told
    hers = [line["message"] for line in export(server, "alice") if "message" in line]
    seqs = [(m["conversationId"], m["seq"]) for m in hers]
    assert len(seqs) == len(set(seqs)) == 8 * 4 + 2 + len(texts), "each once, though the log lacks most"
    # Offline, nobody asks another system; so it says.
    assert server.terminate() == 0
    alone = server.run("log", "export", "--user", "bob")
    assert "what bob said" not in alone.stdout and "archive" in alone.stderr, alone.stderr


def in_the_background(server, last):
    status, query = server.http("POST", "/v1/queries", {"id": "all", "userId": "bob", "conversationId": "c1"})
    assert status == 202 and query["id"] == "all", query
    status, again = server.http("POST", "/v1/queries", {"id": "all", "userId": "bob", "conversationId": "c1"})
    assert (status, again["error"]["code"]) == (409, "CONFLICT")
    assert server.http("GET", "/v1/queries/all?userId=alice")[0] == 404, "it is bob's"
    query = ended(server, "all")
    assert query["state"] == "DONE", query
    seqs = []
    for page in range(query["pages"]):
        seqs += [m["seq"] for m in server.http("GET", f"/v1/queries/all?userId=bob&page={page}")[1]["items"]]
    # It ends at 8 MiB.
    assert seqs == list(range(1, query["found"] + 1)) and (query["more"] or query["found"] == last)
    assert server.http("GET", "/v1/queries/all?userId=bob&page=1000")[0] == 400
    assert server.http("DELETE", "/v1/queries/all?userId=bob") == (200, {})
    assert server.http("GET", "/v1/queries/all?userId=bob")[0] == 404
    server.http("POST", "/v1/queries", {"id": "eves", "userId": "eve", "conversationId": "c1"})
    query = ended(server, "eves", "eve")
    assert (query["state"], query["error"]["code"]) == ("FAILED", "NOT_A_MEMBER")


def ended(server, id, user="bob"):
    deadline = time.monotonic() + 60
    while (query := server.http("GET", f"/v1/queries/{id}?userId={user}")[1])["state"] == "PENDING":
        assert time.monotonic() < deadline, query
        time.sleep(0.05)
    return query


def without_the_archive(services, server, database, last):
    """Who reads the log notices nothing; who wants what it lacks is told so, and a task waits."""
    with services.frozen(database), server.client("bob") as bob:
        slow = bob.post(history={"conversationId": "c1", "afterSeq": 0, "limit": 5})
        begin = time.monotonic()
        for _ in range(20):
            page = bob.ask(history={"conversationId": "c1", "beforeSeq": last + 1, "limit": 5})["messages"]
            assert [m["seq"] for m in page["items"]] == list(range(last - 4, last + 1))
            assert len(bob.ask(timeline={"limit": 5})["messages"]["items"]) == 5
        assert time.monotonic() - begin < 5
        server.http("POST", "/v1/queries", {"id": "patient", "userId": "bob", "conversationId": "c1", "limit": 50})
        reply = bob.reply(slow, 3 * PATIENCE)
        assert reply["error"]["code"] in ("BUSY", "TIMEOUT") and reply["error"]["retryable"], reply
        assert server.http("GET", "/v1/queries/patient?userId=bob")[1]["state"] == "PENDING"
    assert (query := ended(server, "patient"))["state"] == "DONE" and query["found"] == 50, query


def cold_read(server, last):
    took = []
    with server.client("bob") as bob:
        for _ in range(100):
            after = random.randrange(1, 40)
            begin = time.monotonic()
            items = bob.ask(history={"conversationId": "c1", "afterSeq": after, "limit": 20})["messages"]["items"]
            took.append((time.monotonic() - begin) * 1000)
            assert items[0]["seq"] == after + 1
    took.sort()
    return took[98], took[50]


def test_the_log_keeps_what_the_copy_has_not_got(services, make_server):
    services.up(["mongo-java"])
    server = serve(make_server, services.url("mongo-java"))
    server.group("c1", "alice", "bob")
    with services.frozen("mongo-java"):
        for _ in range(3):
            with server.client("alice") as alice:
                for n in range(150):
                    alice.sent("c1", f"{n} {FILL}")
            time.sleep(1.1)
            server.terminate()
            server.start()
        assert "00000001.seg" in segments(server)
        with server.client("alice") as alice:
            assert len(alice.history("c1")) == 450
    Copy(services.url("mongo-java")).wait_for("message", 450)
