"""A wall clock that is set an hour forward or back: order, ids and repeats hold."""

import pathlib
import shutil
import subprocess

import pytest

SOURCE = pathlib.Path(__file__).parent / "harness" / "shifted_clock.c"
HOUR = 3600


@pytest.fixture
def clock(tmp_path):
    """The environment of a server whose clock can be set, and what sets it (in seconds off)."""
    compiler = shutil.which("cc") or pytest.fail("this test compiles a small library: install a C compiler (cc)")
    library, file = tmp_path / "shifted_clock.so", tmp_path / "clock"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    env = {"LD_PRELOAD": str(library), "IMFLOW_TEST_CLOCK": str(file)}

    def set(seconds):
        # Replaced whole: the server reads it at any moment.
        temporary = file.with_suffix(".new")
        temporary.write_text(str(seconds))
        temporary.rename(file)

    set(0)
    return env, set


@pytest.mark.parametrize("first", [HOUR, -HOUR])
def test_nothing_goes_backwards_when_the_clock_is_set(make_server, clock, first):
    env, set_clock = clock
    server = make_server(env=env)
    # Good for long enough whatever the clock says.
    alice_token = ("alice", "phone", "--ttl", "1d")
    server.tokens["alice", "phone"] = server.token(*alice_token)
    acks, messages = [], []

    def send(alice, count=20):
        for _ in range(count):
            messages.append(alice.message("lobby", "hi"))
            acks.append(alice.ask(send=messages[-1])["ack"])

    with server.client("alice") as alice:
        send(alice)
        for seconds in (first, 0, -first):
            set_clock(seconds)
            send(alice)
    # Restarts from snapshots and from the log, at other times.
    for seconds, end in ((-HOUR, server.terminate), (HOUR, server.kill), (-HOUR, server.terminate), (0, server.kill)):
        end()
        set_clock(seconds)
        server.start()
        with server.client("alice") as alice:
            send(alice)
            assert [alice.ask(send=m)["ack"] for m in messages[-25:]] == acks[-25:], "repeats get their first answer"
    with server.client("alice") as alice:
        history = alice.history("lobby")
    for field in ("seq", "serverMsgId", "createdAt"):
        values = [int(m[field]) for m in history]
        assert values == sorted(values), f"{field} goes backwards"
        assert values == [int(ack[field]) for ack in acks]
    assert [m["seq"] for m in history] == list(range(1, len(acks) + 1))
    assert len({m["serverMsgId"] for m in history}) == len(acks)


def test_a_repeat_of_six_days_ago_gets_its_first_answer_and_one_of_eight_days_ago_is_new(make_server, clock):
    env, set_clock = clock
    # A window of two ids: all others are known by the log's index alone.
    server = make_server("operators.fresh.window=2", env=env)
    server.tokens["alice", "phone"] = server.token("alice", "phone", "--ttl", "30d")
    with server.client("alice") as alice:
        messages = [alice.message("lobby", f"m{n}") for n in range(50)]
        acks = [alice.ask(send=message)["ack"] for message in messages]
    for days, end in ((6, server.kill), (6, server.terminate)):
        end()
        set_clock(days * 24 * HOUR)
        server.start()
        with server.client("alice") as alice:
            assert [alice.ask(send=message)["ack"] for message in messages] == acks
            assert len(alice.history("lobby")) == 50
    server.kill()
    set_clock(8 * 24 * HOUR)
    server.start()
    with server.client("alice") as alice:
        assert alice.ask(send=messages[0])["ack"]["seq"] == 51
