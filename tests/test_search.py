"""Searching: who finds what, in either encoding, whatever becomes of the process and of the index."""

import shutil
import time

import pytest

from harness.client import PATIENCE
from harness.wire import REPO

SEARCH = REPO / "examples" / "search" / "dataflow.toml"
FORMATS = pytest.mark.parametrize("format", ["json", "proto"])
QUICK = ("sinks.words.window=10ms",)


@pytest.fixture
def server(make_server):
    return make_server(*QUICK, config=SEARCH)


def ask(client, query, **search):
    reply = client.ask(search={"query": query, **search})
    assert "matches" in reply, reply
    return reply["matches"]


def seqs(client, query, **search):
    return [item["message"]["seq"] for item in ask(client, query, **search)["items"]]


def complete(client, query="anything"):
    """Waits until everything that was acked has been indexed."""
    deadline = time.monotonic() + PATIENCE
    while not ask(client, query)["complete"]:
        assert time.monotonic() < deadline, "the index did not catch up"
        time.sleep(0.02)


def all_of(client, query, **search):
    """Every message that is found, page by page."""
    found, before = [], "0"
    while True:
        page = ask(client, query, before=before, limit=7, **search)
        found += [item["message"] for item in page["items"]]
        before = page.get("next") or "0"
        if before == "0":
            return found


@FORMATS
def test_words_of_both_scripts_are_found_with_their_places(connect, format):
    alice = connect("alice", format=format)
    alice.sent("lobby", "Lunch at the harbour?")
    alice.sent("lobby", "今天天气很好, so lunch outside")
    complete(alice)
    assert seqs(alice, "LUNCH") == [2, 1]
    assert seqs(alice, "天气") == seqs(alice, "天") == seqs(alice, "天天气很") == [2]
    assert seqs(alice, "气天") == seqs(alice, "lun") == []
    [item] = ask(alice, 'lunch "天气很好 so"')["items"]
    assert item["snippet"] == "今天天气很好, so lunch outside"
    assert [item["snippet"][s.get("start", 0) : s["end"]] for s in item["spans"]] == ["天气很好, so", "lunch"]
    assert item["message"]["text"] == item["snippet"] and item["message"]["senderId"] == "alice"


@FORMATS
def test_a_search_is_narrowed_and_goes_on(connect, server, format):
    server.group("ops", "alice", "bob")
    alice, bob = connect("alice", format=format), connect("bob", format=format)
    acks = [(alice, bob)[n % 2].sent(("lobby", "ops")[n // 2 % 2], f"word number{n}") for n in range(40)]
    complete(alice)
    ids = [ack["serverMsgId"] for ack in acks]
    assert [m["serverMsgId"] for m in all_of(alice, "word")] == ids[::-1]
    assert {m["conversationId"] for m in all_of(alice, "word", conversationId="ops")} == {"ops"}
    assert [m["serverMsgId"] for m in all_of(alice, "word", senderId="bob")] == ids[1::2][::-1]
    after, before = acks[10]["createdAt"], acks[30]["createdAt"]
    wanted = [ack["serverMsgId"] for ack in acks if after <= ack["createdAt"] < before]
    assert [m["serverMsgId"] for m in all_of(alice, "word", afterTime=after, beforeTime=before)] == wanted[::-1]
    for query in ("", "🎉", '"open', "x" * 300, "a " * 20):
        assert alice.refused(search={"query": query})["code"] == "INVALID"
    assert alice.refused(search={"query": "word", "conversationId": "no where"})["code"] == "INVALID"


@FORMATS
def test_nobody_finds_what_they_may_not_read(connect, server, format):
    server.group("ops", "alice", "bob")
    status, _ = server.http(
        "POST", "/v1/conversations", {"id": "later", "type": "GROUP", "historySinceJoin": True, "members": [{"userId": "alice", "role": "OWNER"}]}
    )
    assert status == 201
    alice, bob, carol = (connect(user, format=format) for user in ("alice", "bob", "carol"))
    alice.sent("ops", "the secret plan")
    alice.sent("later", "a secret from before")
    complete(alice)
    assert [m["conversationId"] for m in all_of(alice, "secret")] == ["later", "ops"]
    assert seqs(bob, "secret") == [1] and seqs(carol, "secret") == []
    assert carol.refused(search={"query": "secret", "conversationId": "ops"})["code"] == "NOT_A_MEMBER"
    assert carol.refused(search={"query": "secret", "conversationId": "none"})["code"] == "UNKNOWN_CONVERSATION"
    # Who is removed, or banned, finds nothing from then on; who joins finds what it may read.
    server.delete("/v1/conversations/ops/members/bob")
    assert seqs(bob, "secret") == []
    server.put("/v1/conversations/ops/members/bob")
    assert seqs(bob, "secret") == [1]
    server.put("/v1/conversations/ops/bans/bob")
    assert seqs(bob, "secret") == []
    assert bob.refused(search={"query": "secret", "conversationId": "ops"})["code"] == "BANNED"
    server.put("/v1/conversations/ops/members/carol")
    server.put("/v1/conversations/later/members/carol")
    alice.sent("later", "a secret from after")
    complete(alice)
    assert [m["text"] for m in all_of(carol, "secret")] == ["a secret from after", "the secret plan"]
    assert seqs(carol, "secret", conversationId="later") == [2]
    blind = server.client("alice", "blind", format, options=("--scopes", "send"))
    assert blind.refused(search={"query": "secret"})["code"] == "FORBIDDEN"
    blind.close()


@FORMATS
def test_edits_and_revokes_count_at_once(connect, format):
    alice, bob = connect("alice", format=format), connect("bob", format=format)
    for text in ("old words", "other words", "words that stay"):
        alice.sent("lobby", text)
    complete(bob)
    assert seqs(bob, "words") == [3, 2, 1]
    edit = alice.ask(edit={"conversationId": "lobby", "clientMsgId": alice.message_id(), "seq": 1, "text": "new text"})
    revoke = alice.ask(revoke={"conversationId": "lobby", "clientMsgId": alice.message_id(), "seq": 2})
    assert "ack" in edit and "ack" in revoke
    # Before the index has followed.
    assert seqs(bob, "words") == [3]
    complete(bob)
    assert seqs(bob, "words") == [3] and seqs(bob, "text") == [1]


def test_the_control_api_searches_everything_or_for_a_user(server, connect):
    server.group("ops", "alice", "bob")
    alice = connect("alice")
    alice.sent("ops", "the secret plan")
    complete(alice)
    found = lambda path: server.http("GET", f"/v1/search?{path}")
    status, page = found("query=secret")
    assert status == 200 and [item["message"]["text"] for item in page["items"]] == ["the secret plan"]
    assert [len(found(f"query=secret&user={user}")[1]["items"]) for user in ("alice", "bob", "carol")] == [1, 1, 0]
    assert found("query=secret&conversationId=ops&senderId=bob")[1]["items"] == []
    assert found("query=secret&conversationId=none")[0] == 404
    for bad in ("query=", "query=secret&colour=red", "query=secret&user=a%20b", "query=secret&before=x"):
        status, answer = found(bad)
        assert status == 400 and answer["error"]["code"] == "INVALID", (bad, answer)


def test_a_service_without_an_index_says_so(make_server):
    server = make_server()
    with server.client("alice") as alice:
        error = alice.refused(search={"query": "word"})
        assert error["code"] == "UNSUPPORTED" and "search" in error["message"]
    status, answer = server.http("GET", "/v1/search?query=word")
    assert status == 501 and answer["error"]["code"] == "UNSUPPORTED"


def test_killed_again_and_again_each_acked_message_is_found_once(make_server):
    server = make_server(*QUICK, config=SEARCH, start=False)
    acked = {}
    for turn in range(8):
        server.start()
        with server.client("alice") as alice:
            pending = {}
            for n in range(60):
                text = f"word turn{turn} number{n}"
                pending[alice.post(send=alice.message("lobby", text))] = text
                if n % 10 == 9:
                    # Some pieces are written, some are under way.
                    time.sleep(0.01 * (turn % 4))
                    for command, text in list(pending.items()):
                        acked[alice.reply(command)["ack"]["serverMsgId"]] = text
                        del pending[command]
        server.kill()
    server.start()
    with server.client("alice") as alice:
        complete(alice)
        found = [(m["serverMsgId"], m["text"]) for m in all_of(alice, "word")]
        assert len(found) == len(dict(found)), "found twice"
        assert dict(found).items() >= acked.items()
        assert len(all_of(alice, "turn3 word")) == 60


@pytest.mark.parametrize("fate", ["deleted", "damaged"])
def test_an_index_that_is_gone_or_damaged_is_made_anew(make_server, fate):
    server = make_server(*QUICK, config=SEARCH)
    with server.client("alice") as alice:
        for n in range(100):
            alice.sent("lobby", f"word number{n} 天气")
        edit = {"conversationId": "lobby", "clientMsgId": alice.message_id(), "seq": 7, "text": "another word"}
        assert "ack" in alice.ask(edit=edit)
        complete(alice)
        before = all_of(alice, "word"), all_of(alice, "天气")
        assert (len(before[0]), len(before[1])) == (100, 99)
    server.terminate()
    folder = server.data / "search" / "words"
    if fate == "deleted":
        shutil.rmtree(folder)
    else:
        for file in folder.glob("*/*.pos"):
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 4
            file.write_bytes(content)
    server.start()
    with server.client("alice") as alice:
        complete(alice)
        assert (all_of(alice, "word"), all_of(alice, "天气")) == before
    assert ("made anew" in server.output()) == (fate == "damaged")
