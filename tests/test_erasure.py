"""Erasure: what somebody said, or what a conversation holds, is read by nobody and leaves every file."""

import json
import random
import time

SMALL = "sinks.store.segment=1MiB"
SECRET = "a-secret-that-must-go"
PATIENCE = 60


def traces(data, text=SECRET):
    """Files below the data directory that hold the text."""
    return [str(path.relative_to(data)) for path in sorted(data.rglob("*")) if path.is_file() and text.encode() in path.read_bytes()]


def finished(server, path):
    # A segment is moved into the tables first, which a busy disk can hold up.
    deadline = time.monotonic() + 3 * PATIENCE
    while True:
        status, told = server.http("GET", path)
        if status == 200 and told["finished"]:
            assert told["segmentsLeft"] == 0, told
            return
        assert time.monotonic() < deadline, (status, told)
        time.sleep(0.05)


def forward(client, to, conversation, seq):
    origin = {"conversationId": conversation, "seq": seq}
    return {"conversationId": to, "clientMsgId": client.message_id(), "forwardOf": origin}


def talk(server, messages=150):
    """Alice says secrets, bob and the others say what stays; more than one segment of it."""
    server.group("team", "alice", "bob")
    server.group("other", "bob", "alice")
    with server.client("alice") as alice, server.client("bob") as bob:
        for n in range(messages):
            alice.sent("team", f"{SECRET} {n} " + "x" * 9_000)
            bob.sent("team", f"bob says {n}")
        seq = alice.sent("other", f"{SECRET} to forward")["seq"]
        assert "ack" in bob.ask(send=forward(bob, "team", "other", seq))
        alice.ask(react={"conversationId": "team", "clientMsgId": "alice-phone-9-9", "seq": 2, "emoji": SECRET})
        bob.ask(react={"conversationId": "team", "clientMsgId": "bob-phone-9-9", "seq": 2, "emoji": "ok"})
        return alice.message("team", "one that is sent again")


def history(client, conversation):
    items, more = [], True
    while more:
        page = client.ask(history={"conversationId": conversation, "afterSeq": len(items), "limit": 200})["messages"]
        items, more = items + page["items"], page.get("more", False)
    return items


def assert_hers_is_gone(items):
    assert [m["seq"] for m in items] == list(range(1, len(items) + 1))
    for message in items:
        hers = message["senderId"] == "alice" or "forwardOf" in message
        assert SECRET not in json.dumps(message), message
        if message["senderId"] == "alice":
            assert message["amended"]["erased"] and "text" not in message, message
        elif not hers and message["type"] == "TEXT" and "amended" not in message:
            assert message["text"].startswith("bob says"), message


def test_what_a_user_said_is_gone_at_once_and_from_every_file_soon(make_server):
    server = make_server(SMALL)
    again = talk(server)
    with server.client("alice") as alice:
        first = alice.ask(send=again)["ack"]
    assert traces(server.data)
    assert server.http("GET", "/v1/users/alice/data")[0] == 404
    status, told = server.http("DELETE", "/v1/users/alice/data")
    assert status == 202 and told["askedAt"] > 0, (status, told)
    with server.client("bob") as bob:
        items = history(bob, "team")
        assert_hers_is_gone(items)
        assert items[1]["amended"]["reactions"] == [{"emoji": "ok", "count": 1, "userIds": ["bob"]}]
        assert bob.refused(send=forward(bob, "other", "team", 1))["code"] == "MESSAGE_REVOKED"
        finished(server, "/v1/users/alice/data")
        assert traces(server.data) == []
        after = history(bob, "team")
        assert_hers_is_gone(after)
        assert after[1]["amended"]["reactions"] == [{"emoji": "ok", "count": 1, "userIds": ["bob"]}]
    assert [m["userId"] for m in server.http("GET", "/v1/conversations/team/members")[1]["items"]] == ["bob"]
    server.put("/v1/conversations/team/members/alice", {"role": "MEMBER"})
    with server.client("alice") as alice:
        assert alice.ask(send=again)["ack"] == first, "a repeat is still known"
        assert alice.sent("team", "what she says now")["seq"] == len(items) + 1
    server.kill()
    verified = server.run("log", "verify")
    assert verified.returncode == 0, verified.stdout
    server.start()
    with server.client("bob") as bob:
        assert history(bob, "team")[-1]["text"] == "what she says now"
        assert traces(server.data) == []
    with server.client("alice") as alice:
        assert alice.ask(send=again)["ack"] == first, "and after a restart"


def test_kills_in_the_middle_leave_a_whole_log_and_the_rest_is_done(make_server):
    server = make_server(SMALL)
    talk(server, 400)
    assert server.http("DELETE", "/v1/users/alice/data")[0] == 202
    for _ in range(8):
        time.sleep(random.uniform(0, 1.5))
        server.kill()
        verified = server.run("log", "verify")
        assert verified.returncode == 0, verified.stdout
        server.start()
        with server.client("bob") as bob:
            assert_hers_is_gone(history(bob, "team"))
    finished(server, "/v1/users/alice/data")
    assert traces(server.data) == []
    with server.client("bob") as bob:
        assert_hers_is_gone(history(bob, "team"))


def test_a_conversation_loses_what_it_holds_and_its_name(make_server):
    server = make_server(SMALL)
    talk(server, 10)
    members = [{"userId": "alice", "role": "OWNER"}, {"userId": "bob"}]
    wish = {"id": "named", "type": "GROUP", "name": SECRET, "members": members}
    assert server.http("POST", "/v1/conversations", wish)[0] == 201
    with server.client("bob") as bob:
        bob.sent("named", "only-said-here")
        assert server.http("DELETE", "/v1/conversations/named/data")[0] == 202
        assert server.http("GET", "/v1/conversations/named")[1].get("name", "") == ""
        assert history(bob, "named")[0]["amended"] == {"erased": True}
        finished(server, "/v1/conversations/named/data")
        assert history(bob, "team")[1]["text"] == "bob says 0"
    assert traces(server.data, "only-said-here") == []
    assert server.http("DELETE", "/v1/conversations/none/data")[0] == 404
    assert server.http("DELETE", "/v1/users/a%2Fb/data")[0] == 400
    assert server.http("DELETE", "/v1/users/alice/data", key="")[0] == 401


def test_a_stopped_log_is_exported_and_erased(make_server):
    server = make_server(SMALL)
    talk(server)
    with server.client("alice") as alice:
        alice.ask(read={"conversationId": "team", "seq": 5})
    exported = server.run("log", "export", "--user", "alice")
    assert exported.returncode == 0, exported.stderr
    lines = [json.loads(line) for line in exported.stdout.splitlines()]
    assert all(line["message"]["senderId"] == "alice" for line in lines if "message" in line)
    assert sum("message" in line for line in lines) == 152
    memberships = {(l["membership"]["conversationId"], l["membership"]["role"]) for l in lines if "membership" in l}
    assert {("team", "OWNER"), ("other", "MEMBER")} <= memberships, memberships
    assert any("cursors" in line for line in lines)
    assert "bob" not in {line["message"]["senderId"] for line in lines if "message" in line}
    running = server.run("log", "erase", "--user", "alice", "--yes")
    assert running.returncode == 1 and f"process {server.process.pid}" in running.stderr, running.stderr
    assert server.terminate() == 0
    dry = server.run("log", "erase", "--user", "alice")
    assert dry.returncode == 0 and "nothing was changed" in dry.stdout and traces(server.data), dry.stdout + dry.stderr
    done = server.run("log", "erase", "--user", "alice", "--yes")
    assert done.returncode == 0, done.stderr
    assert traces(server.data) == []
    assert server.run("log", "verify").returncode == 0
    server.start()
    with server.client("bob") as bob:
        items = history(bob, "team")
        assert_hers_is_gone(items)
        assert bob.sent("team", "goes on")["seq"] == len(items) + 1
    finished(server, "/v1/users/alice/data")
    assert traces(server.data) == []


def test_the_next_backup_has_what_was_erased_erased(make_server, tmp_path):
    server = make_server(SMALL)
    talk(server)
    backup = tmp_path / "backup"
    assert server.run("backup", "--to", backup).returncode == 0
    assert traces(backup)
    assert server.http("DELETE", "/v1/users/alice/data")[0] == 202
    finished(server, "/v1/users/alice/data")
    ran = server.run("backup", "--to", backup)
    assert ran.returncode == 0, ran.stderr
    assert traces(backup) == []
