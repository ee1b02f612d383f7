"""Whatever one client does wrong, it is told what, and another client's messages still flow."""

import base64
import contextlib
import json
import os
import pathlib
import subprocess
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from harness import raw
from harness.client import Client
from harness.server import Server
from harness.wire import schema, varint


@pytest.fixture
def others(server, connect):
    """Two more clients; at the end of the test they must still be able to talk."""
    server.group("others", "carol", "dave")
    carol, dave = connect("carol"), connect("dave", format="proto")
    yield carol
    ack = carol.sent("others", "still here")
    assert dave.push("message", where=lambda m: m["seq"] == ack["seq"])["text"] == "still here"


def says_malformed(code):
    return code in (1002, 1003, 1007, 1008) or code == 4500


# ---- frames ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", ["{", "hello", '{"id":1}}', "[1]x"])
def test_a_malformed_json_frame_closes_the_connection(connect, others, frame):
    alice = connect("alice")
    alice.socket.send(frame)
    assert says_malformed(alice.wait_closed()), alice.close_code
    assert alice.close_reason or alice.goodbye, "the client is told why"


# The last: 1,025 envelopes, each of them empty.
@pytest.mark.parametrize("frame", [b"\x05\x01\x02", b"\xff" * 12, b"\x02\xff\xff", b"\0" * 1025])
def test_a_malformed_protobuf_frame_closes_the_connection(connect, others, frame):
    alice = connect("alice", format="proto")
    alice.socket.send(frame)
    assert says_malformed(alice.wait_closed()), alice.close_code


def test_a_frame_of_the_other_encoding_closes_the_connection(connect, others):
    alice = connect("alice", format="json")
    alice.socket.send(b"\x02\x08\x01")
    assert says_malformed(alice.wait_closed()), alice.close_code


def test_a_text_frame_that_is_not_utf8_closes_the_connection(server, others):
    with raw.handshake(server, server.token("alice")) as socket:
        socket.sendall(raw.frame(b'{"ping":{}}\xff\xfe'))
        code = raw.close_code(raw.read_to_end(socket))
    assert code is None or says_malformed(code), code


def test_an_unknown_key_is_named_and_costs_only_its_command(connect, others):
    alice = connect("alice")
    error = alice.refused(send={**alice.message("lobby", "hi"), "colour": "red"})
    assert error["code"] == "INVALID" and "colour" in error["message"]
    error = alice.refused(fly={})
    assert error["code"] == "INVALID" and "fly" in error["message"]
    assert alice.sent("lobby", "after that")["seq"] == 1


def test_an_unknown_protobuf_field_is_ignored(connect, others):
    alice = connect("alice", format="proto")
    envelope = schema().Envelope(id=900, ping=schema().Ping()).SerializeToString() + b"\xfa\x7f\x01x"
    alice.socket.send(varint(len(envelope)) + envelope)
    assert "pong" in alice.reply(900)


def test_an_envelope_without_a_command_is_invalid(connect, others):
    alice = connect("alice")
    assert alice.refused()["code"] == "INVALID"
    # What only the server says is no command either.
    assert alice.refused(ack={"serverMsgId": "1", "seq": 1, "status": "OK"})["code"] in ("INVALID", "UNSUPPORTED")


def test_a_frame_beyond_the_limit_is_refused(connect, others):
    alice = connect("alice")
    with contextlib.suppress(ConnectionClosed):
        alice.post(send=alice.message("lobby", "x" * 2_000_000))
    assert alice.wait_closed() in (None, 1009, 4513), alice.close_code


# ---- content --------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["json", "proto"])
def test_a_text_beyond_the_limit_is_too_large(connect, others, format):
    alice = connect("alice", format=format)
    error = alice.refused(send=alice.message("lobby", "x" * 40_000))
    assert error["code"] == "TOO_LARGE" and not error["retryable"]
    alice.sent("lobby", "shorter")


@pytest.mark.parametrize(
    "change",
    [
        {"text": ""},
        {"conversationId": ""},
        {"conversationId": "a b"},
        {"conversationId": "x" * 65},
        {"clientMsgId": ""},
        {"clientMsgId": "free form"},
        {"clientMsgId": "alice-phone-1-" + "9" * 60},
        {"clientMsgId": "bob-phone-1-1732440000000"},
        {"clientMsgId": "alice-laptop-1-1732440000000"},
    ],
)
def test_content_of_a_wrong_form_is_invalid(connect, others, change):
    alice = connect("alice")
    error = alice.refused(send={**alice.message("lobby", "hi"), **change})
    assert error["code"] == "INVALID" and len(error["message"]) > 15, error
    assert alice.history("lobby") == []


def test_a_message_without_a_type_is_invalid(connect, others):
    alice = connect("alice", format="proto")
    error = alice.refused(send={"conversationId": "lobby", "clientMsgId": alice.message_id(), "text": "hi"})
    assert error["code"] == "INVALID"


# ---- who may ----------------------------------------------------------------------------------------


def test_an_unknown_conversation_is_refused(connect, others):
    alice = connect("alice")
    assert alice.refused(send=alice.message("nowhere", "hi"))["code"] == "UNKNOWN_CONVERSATION"
    assert alice.refused(history={"conversationId": "nowhere"})["code"] in ("UNKNOWN_CONVERSATION", "NOT_A_MEMBER")


def test_somebody_outside_may_neither_send_nor_read(server, connect, others):
    server.group("team", "bob")
    alice = connect("alice")
    assert alice.refused(send=alice.message("team", "hi"))["code"] == "NOT_A_MEMBER"
    assert alice.refused(history={"conversationId": "team"})["code"] == "NOT_A_MEMBER"
    assert connect("bob").history("team") == []


def test_the_muted_and_the_banned_are_told_so(server, connect, others):
    alice, bob = connect("alice"), connect("bob")
    until = time.time_ns() // 1_000_000 + 3_600_000
    server.put("/v1/conversations/lobby/mutes/alice", {"until": until})
    assert alice.refused(send=alice.message("lobby", "hi"))["code"] == "MUTED"
    server.delete("/v1/conversations/lobby/mutes/alice")
    alice.sent("lobby", "again")
    server.put("/v1/conversations/lobby/bans/alice")
    assert alice.refused(send=alice.message("lobby", "hi"))["code"] == "BANNED"
    assert alice.refused(history={"conversationId": "lobby"})["code"] == "BANNED"
    (synced,) = alice.ask(sync={"cursors": [{"conversationId": "lobby", "seq": 0}]})["synced"]["conversations"]
    assert synced["error"]["code"] == "BANNED"
    server.delete("/v1/conversations/lobby/bans/alice")
    alice.sent("lobby", "and again")
    assert [m["text"] for m in bob.history("lobby")] == ["again", "and again"]


def test_a_refused_message_leaves_no_trace(server, connect):
    alice = connect("alice")
    message = alice.message("team", "hi")
    assert alice.refused(send=message)["code"] == "UNKNOWN_CONVERSATION"
    server.group("team", "alice")
    assert alice.ask(send=message)["ack"]["seq"] == 1


def test_scopes_limit_what_a_token_may_do(server, others):
    with server.client("alice", options=("--scopes", "read")) as reader:
        assert reader.history("lobby") == []
        assert reader.refused(send=reader.message("lobby", "hi"))["code"] == "FORBIDDEN"
        assert reader.refused(createConversation={"type": "ONE_TO_ONE", "members": ["bob"]})["code"] == "FORBIDDEN"


# ---- tokens -----------------------------------------------------------------------------------------


def status_of(server, token):
    with pytest.raises(InvalidStatus) as refused:
        Client(server.url, token, "alice")
    return refused.value.response


def test_a_wrong_token_is_refused_before_the_upgrade(server, others):
    good = server.token("alice")
    head, body, signature = good.split(".")
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    for token in ("nonsense", f"{head}.{body}.{flipped}", f"{head}.{body}.", ""):
        response = status_of(server, token)
        assert response.status_code == 401, token
        assert signature.encode() not in (response.body or b"")


def test_an_unsigned_token_is_refused(server, others):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {"sub": "alice", "device": "phone", "scopes": ["send"], "exp": int(time.time()) + 600}
    assert status_of(server, f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}.").status_code == 401


def test_an_expired_token_is_refused_before_the_upgrade(server, others):
    token = server.run("token", "--user", "alice", "--device", "phone", "--ttl", "1s").stdout.strip()
    deadline = time.monotonic() + 30
    while True:
        try:
            Client(server.url, token, "alice").close()
        except InvalidStatus as refused:
            assert refused.response.status_code == 401
            return
        assert time.monotonic() < deadline, "a token of one second is still good after half a minute"
        time.sleep(0.5)


# ---- load and silence -------------------------------------------------------------------------------


def test_ten_thousand_commands_without_reading_hurt_nobody_else(server, connect, others):
    """The one who floods is slowed down; every command is answered once it reads."""
    count = 10_000
    flooder = raw.handshake(server, server.token("alice"))
    flooder.settimeout(60)

    def flood():
        for n in range(1, count + 1):
            send = {"conversationId": "lobby", "clientMsgId": f"alice-phone-{n}-1732440000000", "type": "TEXT", "text": "x" * 100}
            flooder.sendall(raw.frame(json.dumps({"id": n, "send": send}).encode()))

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    took = []
    for n in range(50):
        begin = time.monotonic()
        others.sent("others", f"quick {n}")
        took.append(time.monotonic() - begin)
    assert sorted(took)[45] < 1.0, f"90 % of another client's sends are quick: {sorted(took)[40:]}"

    answered = {}
    for text in text_frames(flooder):
        for line in text.split(b"\n"):
            reply = json.loads(line)
            if "id" in reply:
                assert reply["id"] not in answered, "two replies to one command"
                answered[reply["id"]] = reply
        if len(answered) == count:
            break
    thread.join(60)
    flooder.close()
    kinds = {"ack" if "ack" in reply else reply["error"]["code"] for reply in answered.values()}
    assert len(answered) == count and kinds <= {"ack", "BUSY"}, kinds


def text_frames(socket):
    """Payloads of the text frames of a server; answers its pings."""
    stream = socket.makefile("rb")
    while head := stream.read(2):
        opcode, length = head[0] & 0x0F, head[1] & 0x7F
        if length == 126:
            length = int.from_bytes(stream.read(2), "big")
        elif length == 127:
            length = int.from_bytes(stream.read(8), "big")
        payload = stream.read(length)
        assert opcode != 8, f"closed: {payload!r}"
        if opcode == 1:
            yield payload
        elif opcode == 9:
            socket.sendall(raw.frame(payload, 10))


def test_a_half_open_connection_is_closed(make_server):
    """Its peer vanished without a word: it answers no ping."""
    server = make_server("sources.clients.ping_interval=1s")
    with raw.handshake(server, server.token("bob")) as silent, server.client("alice") as alice:
        silent.settimeout(30)
        raw.read_to_end(silent)
        alice.sent("lobby", "still here")
    with server.client("alice", "watch") as watcher:
        [bob] = watcher.ask(presenceSubscribe={"userIds": ["bob"]})["presenceList"]["items"]
        assert bob["online"] is False or watcher.push("presence")["online"] is False


def test_one_that_answers_pings_stays(make_server):
    server = make_server("sources.clients.ping_interval=1s")
    with server.client("bob") as bob:
        with raw.handshake(server, server.token("alice")) as silent:
            silent.settimeout(30)
            raw.read_to_end(silent)
        assert not bob.is_closed and "pong" in bob.ask(ping={})


# ---- starting ----------------------------------------------------------------------------------------


def test_a_port_in_use_is_named(make_server, server):
    second = make_server(start=False)
    second.port = server.port
    second.launch()
    assert second.wait_failed() == 1
    assert str(server.port) in second.output() and "in use" in second.output()


@pytest.mark.parametrize(
    "text",
    ["[operators.valid\n", '[operators.valid]\nkind = "validat"\n', '[operators.valid]\nkind = "validate"\ninputs = ["nobody"]\n'],
)
def test_a_bad_file_ends_with_78_and_its_place(make_server, tmp_path, text):
    config = tmp_path / "bad.toml"
    config.write_text(text)
    server = make_server(start=False, config=config)
    server.launch()
    assert server.wait_failed() == 78
    assert "bad.toml:" in server.output(), server.output()


def test_a_bad_override_ends_with_78(make_server):
    server = make_server('operators.fresh.retain="soon"', start=False)
    server.launch()
    assert server.wait_failed() == 78
    assert "retain" in server.output()


def test_a_data_directory_that_is_a_file_is_refused(make_server):
    server = make_server(start=False)
    server.data.write_text("in the way")
    server.launch()
    assert server.wait_failed() == 1
    assert str(server.data) in server.output()
    assert server.data.read_text() == "in the way"


def test_an_unwritable_data_directory_is_refused(make_server):
    server = make_server(start=False)
    server.data.mkdir()
    server.data.chmod(0o555)
    prefix = []
    if os.getuid() == 0:
        # Root may write anywhere, so the server runs as nobody, who has to get there.
        prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        for path in [server.home, *server.home.parents]:
            if path.stat().st_mode & 0o005 != 0o005:
                path.chmod(path.stat().st_mode | 0o005)
    server.launch(prefix)
    assert server.wait_failed() == 1, server.output()
    assert str(server.data) in server.output()


def test_two_servers_do_not_share_a_data_directory(make_server, server):
    second = Server(server.home)
    second.log = server.home / "second.log"
    second.launch()
    assert second.wait_failed() == 1
    assert str(server.data) in second.output()


# ---- a full disk -------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A filesystem of 256 MiB, mounted in a namespace of its own: nobody needs to be root for that. It
    is reached through the process that keeps the namespace, and is gone with it."""
    mount = tmp_path / "disk"
    mount.mkdir()
    script = 'mount -t tmpfs -o size=256m tmpfs "$0" && echo mounted && exec cat'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, str(mount)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as keeper:
        if keeper.stdout.readline() != "mounted\n":
            pytest.fail(
                "this test fills a disk of its own, mounted in a user namespace, which this machine refuses; "
                f"allow user namespaces, or run it as root: {keeper.stderr.read().strip()}"
            )
        yield pathlib.Path(f"/proc/{keeper.pid}/root{mount}")
        # Its input ends, so `cat` does.
        keeper.stdin.close()


def test_a_full_disk_refuses_messages_and_recovers(make_server, small_disk):
    server = make_server("sinks.store.segment=1MiB", home=small_disk)
    with server.client("alice") as alice, server.client("bob") as bob:
        alice.sent("lobby", "before")
        ballast = small_disk / "ballast"
        free = os.statvfs(small_disk)
        with open(ballast, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - (3 << 20))

        error = fill(alice)
        assert error["code"] == "STORAGE_FULL" and error["retryable"], error
        # Reads go on, and so do connections.
        history = bob.history("lobby")
        assert [m["seq"] for m in history] == list(range(1, len(history) + 1))
        with server.client("alice", "second") as second:
            assert second.ask(send=second.message("lobby", "x" * 4096)).keys() <= {"ack", "error"}

        ballast.unlink()
        deadline = time.monotonic() + 30
        while "ack" not in (answer := alice.send("lobby", "after")):
            assert time.monotonic() < deadline, f"no recovery within 30 s of free space: {answer}"
            time.sleep(0.1)
        acked = alice.history("lobby")
    server.kill()
    server.start()
    with server.client("bob") as bob:
        assert bob.history("lobby") == acked, "nothing acked was lost, nothing refused came back"
    server.stop()


def test_an_index_that_met_a_full_disk_works_again_without_a_restart(make_server, small_disk):
    """The log has its room ahead; the index has not. Its store refuses every write after one that failed,
    so it must be opened anew, and what it forgot read from the log again."""
    server = make_server("sinks.store.segment=1MiB", home=small_disk)
    for n in range(20):
        server.group(f"before-{n}", "alice", "bob")
    ballast = small_disk / "ballast"
    with open(ballast, "wb") as file, pytest.raises(OSError):
        while file.write(b"x" * 65_536):
            file.flush()

    # Facts are durable in the log; sooner or later the index cannot take one.
    refused, created = None, []
    for n in range(2_000):
        members = [{"userId": f"member-{n}-{m}", "role": "OWNER" if m == 0 else "MEMBER"} for m in range(200)]
        body = {"id": f"full-{n}", "type": "GROUP", "members": members}
        status, answer = server.http("POST", "/v1/conversations", body)
        if status >= 400:
            refused = answer
            break
        created.append(f"full-{n}")
    assert refused and "STORAGE_FULL" in json.dumps(refused), refused
    with server.client("bob") as bob:
        assert bob.history("before-0") == [], "reads go on"

    ballast.unlink()
    with server.client("alice") as alice:
        deadline = time.monotonic() + 30
        while "ack" not in (answer := alice.send("before-0", "after")):
            assert time.monotonic() < deadline, f"no recovery within 30 s of free space: {answer}"
            time.sleep(0.1)

    # Nothing that was confirmed is missing, now and after a restart.
    for restart in (False, True):
        if restart:
            server.kill()
            server.start()
        with server.client("alice") as alice:
            assert [m["text"] for m in alice.history("before-0")] == ["after"]
        for name in created:
            status, answer = server.http("GET", f"/v1/conversations/{name}")
            assert status == 200 and answer["memberCount"] == 200, (name, status, answer)
    server.stop()


def fill(client):
    """Sends until refused; the refusal."""
    for _ in range(200):
        commands = [client.post(send=client.message("lobby", "x" * 16_000)) for _ in range(20)]
        errors = [reply["error"] for reply in map(client.reply, commands) if "error" in reply]
        if errors:
            return errors[0]
    raise AssertionError("the disk never filled up")
