"""What was acked is there after any end of the process, and the rest goes on where it stopped."""

import shutil

import pytest


def test_nothing_acked_is_lost_by_kill_minus_9(server):
    with server.client("alice") as alice:
        commands = [alice.post(send=alice.message("lobby", f"m{n}")) for n in range(500)]
        acks = [alice.reply(command)["ack"] for command in commands]
        server.kill()
    server.start()
    with server.client("bob") as bob:
        history = bob.history("lobby")
        assert [(m["seq"], m["serverMsgId"]) for m in history] == [(a["seq"], a["serverMsgId"]) for a in acks]
        assert bob.sent("lobby", "next")["seq"] == 501
        assert int(bob.history("lobby", 500)[0]["serverMsgId"]) > int(acks[-1]["serverMsgId"])


def test_a_resend_after_a_restart_gets_the_first_ack(server):
    with server.client("alice") as alice:
        message = alice.message("lobby", "once")
        first = alice.ask(send=message)["ack"]
        server.kill()
    server.start()
    with server.client("alice") as alice:
        assert alice.ask(send=message)["ack"] == first
        assert alice.refused(send={**message, "text": "other"})["code"] == "CONFLICT"
        assert len(alice.history("lobby")) == 1


def test_seq_goes_on_after_several_restarts(server):
    for round in range(4):
        with server.client("alice") as alice:
            assert alice.sent("lobby", f"round {round}")["seq"] == round + 1
        server.kill() if round % 2 else server.terminate()
        server.start()


def test_sigterm_says_goodbye_and_keeps_what_was_acked(server):
    with server.client("alice") as alice, server.client("bob", format="proto") as bob:
        messages = [alice.message("lobby", f"m{n}") for n in range(300)]
        commands = [alice.post(send=message) for message in messages]
        # The first ack shows that the load is being worked on when the signal comes.
        alice.reply(commands[0])
        assert server.terminate() == 0, server.output()
        alice.wait_closed(), bob.wait_closed()
        for client in (alice, bob):
            assert client.goodbye and client.goodbye["reconnect"] is True, client.close_code
        acked = {m["clientMsgId"] for c, m in zip(commands[1:], messages[1:]) if "ack" in alice.replies.get(c, {})}
    server.start()
    with server.client("alice") as alice:
        history = alice.history("lobby")
        assert [m["seq"] for m in history] == list(range(1, len(history) + 1))
        assert acked <= {m["clientMsgId"] for m in history}
        resent = [alice.reply(alice.post(send=message))["ack"]["seq"] for message in messages]
        assert sorted(resent) == list(range(1, 301)), "a resend completes the rest, nothing twice"


def test_an_idle_server_ends_quickly_on_sigterm(server):
    assert server.terminate() == 0
    assert "panicked" not in server.output()


@pytest.mark.parametrize("place", ["length", "text"])
def test_a_flipped_byte_in_the_log_refuses_to_start(server, place):
    marker = b"the message whose record will rot"
    with server.client("alice") as alice:
        alice.sent("lobby", "before")
        alice.sent("lobby", marker.decode())
        alice.sent("lobby", "after")
    server.kill()
    damaged = [path for path in server.data.rglob("*") if path.is_file() and holds(path, marker)]
    assert damaged, "the message is nowhere in the data directory"
    for path in damaged:
        content = bytearray(path.read_bytes())
        at = content.index(marker) - (90 if place == "length" else 0)
        content[at] ^= 0x40
        path.write_bytes(content)
    server.launch()
    assert server.wait_failed() == 1
    assert any(path.name in server.output() for path in damaged), server.output()


def holds(path, marker):
    # The index is rebuilt from the log; the log alone is the truth.
    return "index" not in path.parts and marker in path.read_bytes()


def test_an_index_that_is_gone_is_rebuilt(server):
    with server.client("alice") as alice:
        messages = [alice.message("lobby", f"m{n}") for n in range(50)]
        acks = [alice.ask(send=message)["ack"] for message in messages]
    server.kill()
    shutil.rmtree(server.data / "index", ignore_errors=True)
    server.start()
    with server.client("alice") as alice:
        assert [m["seq"] for m in alice.history("lobby")] == list(range(1, 51))
        assert [alice.ask(send=message)["ack"] for message in messages] == acks


def test_a_second_connection_of_a_device_replaces_the_first(server):
    with server.client("alice") as first, server.client("alice") as second:
        first.wait_closed()
        assert first.goodbye and first.goodbye["reason"], "the first one is told why"
        assert first.goodbye["reconnect"] is False, "or the two would chase each other"
        second.sent("lobby", "hi")


def test_a_folder_of_snapshots_that_is_gone_is_told_once(server):
    with server.client("alice") as alice:
        alice.sent("lobby", "hello")
        shutil.rmtree(server.data / "snapshots")
    assert server.terminate() == 0, "a stop takes a snapshot of each partition"
    told = server.output().count("cannot write the snapshot")
    assert told == 1, server.output()
