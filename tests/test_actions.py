"""What is done to a message: revoke, edit, react; and what refers to one: reply, forward, mention."""

import shutil
import threading

import pytest

from harness.wire import REPO

FORMATS = pytest.mark.parametrize("format", ["json", "proto"])


def act(client, name, conversation, seq, client_msg_id=None, **fields):
    """The command `name` about a message, as the arguments of `ask`."""
    body = {"conversationId": conversation, "clientMsgId": client_msg_id or client.message_id(), "seq": seq}
    return {name: {**body, **fields}}


def done(client, name, conversation, seq, **fields):
    """Acts on a message and expects an ack."""
    reply = client.ask(**act(client, name, conversation, seq, **fields))
    assert "ack" in reply, reply
    return reply["ack"]


def refused(client, name, conversation, seq, **fields):
    error = client.refused(**act(client, name, conversation, seq, **fields))
    assert error["message"], error
    return error["code"]


def amended(message):
    """What became of a message, without what nothing became of: protobuf shows unset fields too."""
    return {key: value for key, value in message.get("amended", {}).items() if value}


@FORMATS
def test_a_revoked_message_is_read_by_nobody(server, connect, format):
    alice, bob = connect("alice", format=format), connect("bob", format=format)
    alice.sent("lobby", "a secret", payload="AAEC", mentions=["bob"])
    ack = done(alice, "revoke", "lobby", 1)
    assert ack["seq"] == 2 and ack["status"] == "OK"
    bob.push("message")
    revoke = bob.push("message")
    assert (revoke["seq"], revoke["type"], revoke["action"]["targetSeq"]) == (2, "REVOKE", 1)
    assert bob.pushed_now("recalled") == []
    for client in (alice, bob):
        message, entry = client.history("lobby")
        assert amended(message) == {"revokedAt": ack["createdAt"], "revokedBy": "alice"}
        assert not any(message.get(key) for key in ("text", "payload", "mentions"))
        assert (message["senderId"], message["type"], entry["type"]) == ("alice", "TEXT", "REVOKE")
        synced = client.ask(sync={"cursors": [{"conversationId": "lobby", "seq": 0}]})["synced"]
        assert not synced["conversations"][0]["items"][0].get("text")
    status, page = server.http("GET", "/v1/conversations/lobby/messages?afterSeq=0")
    assert status == 200 and "a secret" not in str(page)


@FORMATS
def test_a_repeated_action_gets_its_first_answer(connect, format):
    alice = connect("alice", format=format)
    alice.sent("lobby", "one")
    for name, fields in [("react", {"emoji": "👍"}), ("edit", {"text": "two"}), ("revoke", {})]:
        command = act(alice, name, "lobby", 1, **fields)
        first = alice.ask(**command)
        assert "ack" in first and alice.ask(**command) == first, name
        other = {name: {**command[name], "seq": 2}}
        assert alice.refused(**other)["code"] == "CONFLICT", name
    assert [m["type"] for m in alice.history("lobby")] == ["TEXT", "REACT", "EDIT", "REVOKE"]


@FORMATS
def test_an_edit_replaces_text_and_mentions(connect, format):
    alice, bob = connect("alice", format=format), connect("bob", format=format)
    alice.sent("lobby", "helo", mentions=["bob"])
    done(alice, "edit", "lobby", 1, text="hello")
    ack = done(alice, "edit", "lobby", 1, text="hello!", mentions=["carol"])
    assert bob.push("message", where=lambda m: m["type"] == "EDIT")["text"] == "hello"
    message, first, second = bob.history("lobby")
    assert (message["text"], message["mentions"]) == ("hello!", ["carol"])
    assert amended(message) == {"editedAt": ack["createdAt"], "edits": 2}
    assert (first["text"], second["text"]) == ("hello", "hello!")
    done(alice, "revoke", "lobby", 1)
    history = bob.history("lobby")
    assert not any(m.get("text") for m in history), "edits go with what they edited"
    # Also when the page does not hold the message itself.
    page = bob.ask(history={"conversationId": "lobby", "afterSeq": 1, "limit": 2})["messages"]["items"]
    assert [m["type"] for m in page] == ["EDIT", "EDIT"] and not any(m.get("text") for m in page)


@FORMATS
def test_reactions_add_up(server, connect, format):
    users = [f"user{n}" for n in range(60)]
    server.group("team", "alice", *users)
    alice = connect("alice", format=format)
    alice.sent("team", "vote")
    for user in users:
        with server.client(user, format=format) as client:
            done(client, "react", "team", 1, emoji="👍")
            if user == "user1":
                done(client, "react", "team", 1, emoji="👍")
                done(client, "react", "team", 1, emoji="🎉")
            if user == "user0":
                done(client, "react", "team", 1, emoji="👍", remove=True)
    reactions = amended(alice.history("team")[0])["reactions"]
    assert [(r["emoji"], r["count"]) for r in reactions] == [("👍", 59), ("🎉", 1)]
    assert reactions[0]["userIds"] == users[1:51] and reactions[1]["userIds"] == ["user1"]


@FORMATS
def test_who_may_do_what(server, connect, format):
    server.group("team", "owner", "alice", "bob")
    owner, alice, bob, eve = (connect(user, format=format) for user in ("owner", "alice", "bob", "eve"))
    alice.sent("team", "hello")
    assert refused(bob, "revoke", "team", 1) == "FORBIDDEN"
    assert refused(bob, "edit", "team", 1, text="x") == "FORBIDDEN"
    assert refused(owner, "edit", "team", 1, text="x") == "FORBIDDEN"
    assert refused(alice, "revoke", "team", 9) == "UNKNOWN_MESSAGE"
    for name, fields in [("revoke", {}), ("react", {"emoji": "x"}), ("edit", {"text": "x"})]:
        # Whoever is outside learns nothing, whether the message is there or not.
        assert refused(eve, name, "team", 1, **fields) == refused(eve, name, "team", 9, **fields) == "NOT_A_MEMBER"
        assert refused(alice, name, "nowhere", 1, **fields) == "UNKNOWN_CONVERSATION"
        assert refused(alice, name, "team", 0, **fields) == "INVALID"
    assert refused(alice, "react", "team", 1, emoji="") == "INVALID"
    assert refused(alice, "edit", "team", 1, text="") == "INVALID"
    assert alice.refused(send={**alice.message("team", "x"), "type": "REVOKE"})["code"] == "INVALID"
    done(bob, "react", "team", 1, emoji="👍")
    assert refused(bob, "revoke", "team", 2) == "INVALID", "a reaction is no message"
    server.put("/v1/conversations/team/mutes/bob")
    assert refused(bob, "react", "team", 1, emoji="x") == "MUTED"
    done(owner, "revoke", "team", 1)
    for name, fields in [("revoke", {}), ("react", {"emoji": "x"}), ("edit", {"text": "x"})]:
        assert refused(alice, name, "team", 1, **fields) == "MESSAGE_REVOKED"
    assert alice.refused(send=alice.message("team", "x", replyTo=1))["code"] == "MESSAGE_REVOKED"
    recalled = alice.push("recalled")
    assert (recalled["conversationId"], recalled["seq"], recalled["by"]) == ("team", 1, "owner")
    assert bob.pushed_now("recalled") == []
    assert [m["seq"] for m in alice.history("team")] == [1, 2, 3], "what was refused left no trace"


def test_the_times_in_which_one_may_are_options(make_server):
    server = make_server('operators.amended.revoke_within="0s"', 'operators.amended.edit_within="0s"')
    with server.client("bob") as bob:
        bob.sent("lobby", "too late")
        bob.sent("lobby", "a moment later")
        assert refused(bob, "revoke", "lobby", 1) == refused(bob, "edit", "lobby", 1, text="x") == "TOO_LATE"


@FORMATS
def test_the_control_api_revokes_at_any_time(server, connect, format):
    alice = connect("alice", format=format)
    alice.sent("lobby", "advertising")
    status, ack = server.http("DELETE", "/v1/conversations/lobby/messages/1")
    assert (status, ack["seq"], ack["status"]) == (200, 2, "OK")
    assert server.http("DELETE", "/v1/conversations/lobby/messages/1") == (200, ack)
    assert alice.push("recalled")["by"] == ""
    assert amended(alice.history("lobby")[0]).keys() == {"revokedAt"}
    status, answer = server.http("DELETE", "/v1/conversations/lobby/messages/9")
    assert (status, answer["error"]["code"]) == (404, "UNKNOWN_MESSAGE")
    assert server.http("DELETE", "/v1/conversations/lobby/messages/x")[0] == 400
    alice.sent("lobby", "again")
    done(alice, "revoke", "lobby", 3)
    status, answer = server.http("DELETE", "/v1/conversations/lobby/messages/3")
    assert (status, answer["error"]["code"]) == (410, "MESSAGE_REVOKED")


@FORMATS
def test_replies_and_mentions_arrive(server, connect, format):
    server.group("team", "owner", "alice", "bob")
    owner, alice, bob = (connect(user, format=format) for user in ("owner", "alice", "bob"))
    alice.sent("team", "a question")
    bob.sent("team", "an answer", replyTo=1, mentions=["alice"])
    reply = alice.push("message")
    assert (reply["replyTo"], reply["mentions"]) == (1, ["alice"])
    assert alice.refused(send=alice.message("team", "x", replyTo=9))["code"] == "UNKNOWN_MESSAGE"
    assert alice.refused(send=alice.message("team", "x", mentions=["bob", "bob"]))["code"] == "INVALID"
    assert alice.refused(send=alice.message("team", "x", mentions=[f"u{n}" for n in range(101)]))["code"] == "INVALID"
    assert alice.refused(send=alice.message("team", "x", mentionAll=True))["code"] == "FORBIDDEN"
    owner.sent("team", "all hands", mentionAll=True)
    assert alice.push("message", where=lambda m: m["mentionAll"] if "mentionAll" in m else False)["text"] == "all hands"
    assert [m.get("replyTo", 0) for m in alice.history("team")] == [0, 1, 0]


@FORMATS
def test_a_forward_copies_what_its_sender_can_read(server, connect, format):
    server.group("private", "carol", "alice")
    alice, bob, carol = (connect(user, format=format) for user in ("alice", "bob", "carol"))
    carol.sent("private", "the plan", payload="AAEC")
    origin = {"conversationId": "private", "seq": 1}

    def forward(client, **fields):
        body = {"conversationId": "lobby", "clientMsgId": client.message_id(), "forwardOf": origin}
        return {"send": {**body, **fields}}

    command = forward(alice)
    ack = alice.ask(**command)["ack"]
    assert alice.ask(**command)["ack"] == ack
    copy = bob.push("message")
    assert (copy["text"], copy["payload"], copy["type"], copy["senderId"]) == ("the plan", "AAEC", "TEXT", "alice")
    assert copy["forwardOf"] == {**origin, "senderId": "carol"}
    assert bob.refused(**forward(bob))["code"] == "NOT_A_MEMBER"
    assert alice.refused(**forward(alice, text="and more", type="TEXT"))["code"] == "INVALID"
    assert refused(alice, "edit", "lobby", 1, text="another plan") == "FORBIDDEN"
    done(carol, "revoke", "private", 1)
    assert alice.refused(**forward(alice))["code"] == "MESSAGE_REVOKED"
    assert bob.history("lobby")[0]["text"] == "the plan", "the copy is a message of its own"
    # Of the copy, a further copy names the author and not who handed it on.
    again = {"conversationId": "lobby", "clientMsgId": bob.message_id(), "forwardOf": {"conversationId": "lobby", "seq": 1}}
    bob.ask(send=again)
    assert bob.history("lobby")[1]["forwardOf"]["senderId"] == "carol"


def test_actions_outlive_a_kill_and_a_lost_index(server):
    with server.client("alice") as alice:
        alice.sent("lobby", "revoked"), alice.sent("lobby", "first"), alice.sent("lobby", "liked")
        revoke = act(alice, "revoke", "lobby", 1)
        ack = alice.ask(**revoke)["ack"]
        done(alice, "edit", "lobby", 2, text="second")
        done(alice, "react", "lobby", 3, emoji="👍")
    for loses_index in (False, True):
        server.kill()
        if loses_index:
            shutil.rmtree(server.data / "index")
        server.start()
        with server.client("alice") as alice:
            assert alice.ask(**revoke)["ack"] == ack
            history = alice.history("lobby")
            assert [m["seq"] for m in history] == [1, 2, 3, 4, 5, 6]
            assert [m.get("text", "") for m in history[:3]] == ["", "second", "liked"]
            assert amended(history[2])["reactions"] == [{"emoji": "👍", "count": 1, "userIds": ["alice"]}]
            assert refused(alice, "edit", "lobby", 1, text="x") == "MESSAGE_REVOKED"


def test_a_sender_keeps_its_order_through_replies(server, connect):
    """A reply waits for the store; what its sender says next must not overtake it."""
    server.group("busy", "alice", "bob")
    clients = [connect("alice", format="json"), connect("bob", format="proto")]
    clients[0].sent("busy", "the start")

    def talk(client):
        posts = []
        for n in range(200):
            reply_to = {"replyTo": 1} if n % 3 == 0 else {}
            posts.append(client.post(send=client.message("busy", f"{client.user} {n}", **reply_to)))
            if n % 7 == 0:
                posts.append(client.post(**act(client, "react", "busy", 1, emoji=f"e{n % 5}")))
        assert all("ack" in client.reply(post) for post in posts)

    threads = [threading.Thread(target=talk, args=(client,)) for client in clients]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    history = clients[0].history("busy")
    assert [m["seq"] for m in history] == list(range(1, len(history) + 1))
    for client in clients:
        said = [m["text"] for m in history[1:] if m["senderId"] == client.user and m["type"] == "TEXT"]
        assert said == [f"{client.user} {n}" for n in range(200)]
        pushed = [m["seq"] for m in client.pushed_now()]
        assert pushed == sorted(pushed)


def test_without_amend_nothing_refers_to_anything(make_server, tmp_path):
    text = (REPO / "dataflow.toml").read_text()
    amended = text[text.index("[operators.amended]") : text.index("[operators.grants]")]
    text = text.replace(amended, "").replace('messages = ["amended"]', 'messages = ["fresh"]')
    config = tmp_path / "without.toml"
    config.write_text(text.replace(', references = ["amended.references"]', ""))
    with make_server(config=config).client("alice") as alice:
        alice.sent("lobby", "plain")
        assert alice.refused(send=alice.message("lobby", "x", replyTo=1))["code"] == "UNSUPPORTED"
        assert refused(alice, "revoke", "lobby", 1) == "UNSUPPORTED"
        assert alice.sent("lobby", "plain")["seq"] == 2


@FORMATS
def test_actions_are_not_unread(connect, format):
    alice, bob = connect("alice", format=format), connect("bob", format=format)

    def unread():
        return bob.ask(conversations={})["conversationList"]["items"][0].get("unread", 0)

    alice.sent("lobby", "one"), alice.sent("lobby", "two")
    done(alice, "edit", "lobby", 1, text="1")
    done(alice, "react", "lobby", 1, emoji="👍")
    assert unread() == 2
    bob.ask(read={"conversationId": "lobby", "seq": 3})
    assert unread() == 0
    alice.sent("lobby", "three")
    done(bob, "react", "lobby", 1, emoji="👍")
    assert unread() == 1, "a reaction is no sign of having read"


def test_the_chat_acts_on_messages(server):
    lines = ["hello", "helo", "/edit 2 hello again", "/react 1 👍", "/reply 1 yes", "/revoke 2", "/revoke"]
    chat = server.run("chat", "--as", "alice", input="\n".join(lines) + "\n")
    shown = [line for line in chat.stdout.splitlines() if line and line[0].isdigit()]
    expected = ["1 alice  hello", "2 alice  helo", "3 alice  edited 2: hello again", "4 alice  👍 to 1"]
    assert shown == [*expected, "5 alice  (to 1) yes", "6 alice  revoked 2"]
    assert "write `/revoke N`" in chat.stderr
    again = server.run("chat", "--as", "bob", input="")
    assert "1 alice  hello 👍1" in again.stdout and "2 alice  (revoked)" in again.stdout
