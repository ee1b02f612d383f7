"""Erasure beyond the log's folder: the archive folder, the index of words, MongoDB; and the export of a user's data."""

import json
import os
import random
import socket
import time
import urllib.request

import pytest

from harness.client import PATIENCE
from harness.server import DIRECT
from test_erasure import SECRET, SMALL, assert_hers_is_gone, finished, history, talk, traces
from test_mongo import CATCH_UP_SECONDS, Copy, serve
from test_search import QUICK, SEARCH, complete, seqs


def until(check, what, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_what_lies_in_the_archive_folder_is_erased_there_through_kills(make_server, tmp_path):
    cold = tmp_path / "cold"
    server = make_server(SMALL, f"sinks.store.archive={cold}", "sinks.store.hot=1s")
    talk(server, 400)
    time.sleep(1.2)
    with server.client("bob") as bob:
        for n in range(250):
            bob.sent("other", f"bob says {n} " + "y" * 9_000)
    until(lambda: traces(cold), "nothing was moved to the archive")
    assert server.http("DELETE", "/v1/users/alice/data")[0] == 202
    for _ in range(4):
        time.sleep(random.uniform(0, 1))
        server.kill()
        verified = server.run("log", "verify")
        assert verified.returncode == 0, verified.stdout
        server.start()
    finished(server, "/v1/users/alice/data")
    assert traces(server.data) == [] and traces(cold) == []
    assert list(cold.glob("*.seg")), "what was moved stays there"
    with server.client("bob") as bob:
        assert_hers_is_gone(history(bob, "team"))


def test_words_leave_the_index_of_words(make_server):
    server = make_server(*QUICK, config=SEARCH)
    server.group("team", "alice", "bob")
    with server.client("alice") as alice, server.client("bob") as bob:
        seq = alice.sent("team", "a secretword of alice")["seq"]
        bob.sent("team", "an openword of bob")
        origin = {"conversationId": "team", "seq": seq}
        assert "ack" in bob.ask(send={"conversationId": "lobby", "clientMsgId": bob.message_id(), "forwardOf": origin})
        complete(bob)
        assert seqs(bob, "secretword", conversationId="team") == [1] and seqs(bob, "secretword") != []
        assert server.http("DELETE", "/v1/users/alice/data")[0] == 202
        assert seqs(bob, "secretword") == [], "found by nobody from the answer on"
        assert seqs(bob, "openword") == [2]
        finished(server, "/v1/users/alice/data")
    server.kill()
    server.start()
    with server.client("bob") as bob:
        complete(bob)
        assert seqs(bob, "secretword") == [] and seqs(bob, "openword") == [2]
    assert traces(server.data, "secretword") == [], "in no file, of the index either"


@pytest.mark.parametrize("database", ["ferret", "mongo-java"])
def test_the_copy_in_mongo_is_emptied(services, make_server, database):
    services.up([database])
    server = serve(make_server, services.url(database))
    talk(server, 40)
    with server.client("alice") as alice:
        assert server.http("DELETE", "/v1/users/alice/data")[0] == 202
    server.put("/v1/conversations/team/members/alice", {"role": "MEMBER"})
    with server.client("alice") as alice:
        later = alice.sent("team", "what she says now")["seq"]
    copy = Copy(services.url(database))
    rows = copy.database.imflow_erasures
    until(lambda: rows.count_documents({"userId": "alice", "finished": True}) == 1, "nothing was erased")
    messages = copy.all("message")
    assert SECRET.encode() not in b"".join(document.raw for document in messages)
    for message in messages:
        hers = message["senderId"] == "alice" and (message["conversationId"], message["seq"]) != ("team", later)
        if hers and "action" not in message:
            assert message["amended"]["erased"] and "text" not in message, message
        elif message["senderId"] == "bob" and message["type"] == "TEXT" and "amended" not in message:
            assert message["text"].startswith("bob says"), message
    assert [m["text"] for m in messages if m["senderId"] == "alice" and "text" in m] == ["what she says now"]
    assert [row["seq"] for row in copy.all("timeline") if row["userId"] == "alice"] == [later]
    log = server.log.read_text(errors="replace")
    assert "another document holds the place" not in log


def documents_with(database, text):
    """The collections that hold the text in any document."""
    found = []
    for name in database.list_collection_names():
        if any(text.encode() in document.raw for document in database[name].find()):
            found.append(name)
    return found


@pytest.mark.parametrize("database", ["ferret", "mongo-java"])
def test_kills_while_the_copy_is_emptied_leave_nothing_behind(services, make_server, database):
    seed = int(os.environ.get("IMFLOW_SEED", random.randrange(1 << 32)))
    print(f"IMFLOW_SEED={seed}")
    dice = random.Random(seed)
    services.up([database])
    server = serve(make_server, services.url(database))
    groups = [f"g{n}" for n in range(40)]
    for group in groups:
        server.group(group, "alice", "bob")
    with server.client("alice") as alice, server.client("bob") as bob:
        for n in range(6):
            for group in groups:
                alice.sent(group, f"{SECRET} {n}")
                bob.sent(group, f"bob says {n}")
    copy = Copy(services.url(database))
    copy.wait_for("message", 2 * 6 * len(groups))
    rows = copy.database.imflow_erasures
    assert server.http("DELETE", "/v1/users/alice/data")[0] == 202
    until(lambda: rows.count_documents({"userId": "alice"}) == 1, "the copy was not told", CATCH_UP_SECONDS)

    def unfinished():
        return rows.find_one({"userId": "alice", "finished": False})

    places = []
    while (row := unfinished()) and len(places) < 12:
        places.append((row["collection"], row["after"]))
        server.kill()
        server.start()
        time.sleep(dice.uniform(0, 0.3))
    assert len(set(places)) > 1, f"the kills met it in one place: {places}"
    until(lambda: not unfinished(), f"it does not end after {places}", CATCH_UP_SECONDS)
    print(f"{database}: {len(places)} kills, at {len(set(places))} places")
    assert rows.count_documents({}) == 1
    assert documents_with(copy.database, SECRET) == []
    assert [row for row in copy.all("timeline") if row["userId"] == "alice"] == []
    messages = copy.all("message")
    assert len(messages) >= 2 * 6 * len(groups)
    hers = [m for m in messages if m["senderId"] == "alice"]
    assert len(hers) >= 6 * len(groups) and all(m["amended"]["erased"] for m in hers if "action" not in m)
    assert sorted(m["text"] for m in messages if m["senderId"] == "bob") == sorted(f"bob says {n}" for n in range(6) for _ in groups)


def export(server, user):
    wish = urllib.request.Request(f"http://127.0.0.1:{server.port}/v1/users/{user}/export")
    wish.add_header("Authorization", f"Bearer {server.admin_key()}")
    with DIRECT.open(wish, timeout=PATIENCE) as response:
        assert response.headers["Content-Type"] == "application/x-ndjson"
        return [json.loads(line) for line in response.read().splitlines()]


def test_what_is_held_about_a_user_is_told_as_the_command_tells_it(make_server):
    server = make_server(SMALL)
    talk(server)
    with server.client("alice") as alice:
        alice.ask(read={"conversationId": "team", "seq": 5})
    lines = export(server, "alice")
    assert sum("message" in line for line in lines) == 152
    assert {"created", "membership", "message", "cursors", "end"} >= {key for line in lines for key in line}
    assert [index for index, line in enumerate(lines) if "end" in line] == [len(lines) - 1]
    told = server.run("log", "export", "--user", "alice")
    assert [json.loads(line) for line in told.stdout.splitlines()] == lines
    assert [next(iter(line)) for line in export(server, "nobody")] == ["end"]
    assert server.http("GET", "/v1/users/alice/export", key="")[0] == 401
    assert server.http("GET", "/v1/users/a%2Fb/export")[0] == 400
    assert server.http("DELETE", "/v1/users/alice/data")[0] == 202
    after = export(server, "alice")
    assert SECRET not in json.dumps(after) and "erased" in [next(iter(line)) for line in after]
    assert not any("cursors" in line for line in after)


def slow_export(server):
    """Asks, and reads no more than the first bytes of the answer."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.settimeout(PATIENCE)
    reader.connect(("127.0.0.1", server.port))
    head = f"GET /v1/users/alice/export HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.admin_key()}\r\n\r\n"
    reader.sendall(head.encode())
    assert reader.recv(12) == b"HTTP/1.1 200"
    return reader


def test_more_than_two_exports_at_a_time_are_refused(make_server):
    server = make_server()
    with server.client("alice") as alice:
        for n in range(900):
            alice.sent("lobby", f"{n} " + "x" * 9_000)
    slow = [slow_export(server) for _ in range(2)]
    status, refusal = server.http("GET", "/v1/users/alice/export")
    assert status == 503 and refusal["error"]["code"] == "BUSY", (status, refusal)
    for reader in slow:
        reader.close()

    def answers():
        try:
            return export(server, "alice")[-1]["end"]["lsn"] > 900
        except urllib.error.HTTPError as error:
            return error.code != 503 and pytest.fail(str(error))

    until(answers, "who went away is not waited for")
