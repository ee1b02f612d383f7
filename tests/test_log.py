"""`imflow log`, `backup` and `restore`: what an operator does with a data directory."""

import itertools
import json
import shutil
import threading
import time

import pytest

from harness.server import Server

SMALL = "sinks.store.segment=1MiB"


def command(server, *arguments):
    """`imflow log ...` or another, on the data directory alone."""
    return server.run(*arguments)


@pytest.fixture
def stopped(make_server):
    """A data directory of a few segments with two conversations; nothing runs on it."""
    server = make_server(SMALL)
    server.group("team", "alice", "bob")
    with server.client("alice") as alice:
        server.acks = [alice.sent("team" if n % 2 else "lobby", f"m{n} " + "x" * 9_000) for n in range(300)]
    assert server.terminate() == 0
    return server


def dump(server, *arguments):
    ran = command(server, "log", "dump", *arguments)
    return [json.loads(line) for line in ran.stdout.splitlines()], ran


def damage(server, text):
    """Flips a bit of the record with this text; its file's name."""
    for path in sorted((server.data / "log").glob("*.seg")):
        content = bytearray(path.read_bytes())
        if (at := content.find(text.encode())) >= 0:
            content[at] ^= 0x40
            path.write_bytes(content)
            return path.name
    raise AssertionError(f"no record has the text {text}")


def test_verify_reads_every_record(stopped):
    ran = command(stopped, "log", "verify")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "300 messages" in ran.stdout and "every record is whole" in ran.stdout, ran.stdout


def test_verify_names_file_offset_and_record_of_damage(stopped):
    records, _ = dump(stopped, "--conversation", "team")
    record = records[3]
    name = damage(stopped, record["message"]["text"][:40])
    ran = command(stopped, "log", "verify")
    assert ran.returncode == 3, ran.stdout
    for part in (name, f"byte {record['offset']}", f"record {record['lsn']}"):
        assert part in ran.stdout, (part, ran.stdout)
    _, ran = dump(stopped)
    assert ran.returncode == 3 and f"record {record['lsn']}" in ran.stderr, ran.stderr


def test_dump_filters_by_conversation_and_lsn_and_tells_no_secret(stopped):
    records, ran = dump(stopped)
    assert ran.returncode == 0
    assert [r["lsn"] for r in records] == list(range(1, len(records) + 1))
    assert sum("message" in r for r in records) == 300
    created = [r["fact"]["conversationId"] for r in records if "created" in r.get("fact", {})]
    assert sorted(created) == ["lobby", "team"]
    team, _ = dump(stopped, "--conversation", "team")
    assert [r["message"]["seq"] for r in team if "message" in r] == list(range(1, 151))
    some, _ = dump(stopped, "--after", 100, "--to", 110)
    assert [r["lsn"] for r in some] == list(range(101, 111))
    few, _ = dump(stopped, "--after", 5, "--limit", 2)
    assert [r["lsn"] for r in few] == [6, 7]
    for secret in (stopped.data / "secrets").iterdir():
        assert secret.read_text().strip() not in ran.stdout


def test_repair_tells_what_it_would_do_and_does_it_only_when_asked(stopped):
    records, _ = dump(stopped)
    record = records[120]
    damage(stopped, record["message"]["text"][:40])
    too_far = command(stopped, "log", "repair", "--to", record["lsn"] + 5)
    assert too_far.returncode == 1 and f"record {record['lsn']}" in too_far.stderr, too_far.stderr
    to = record["lsn"] - 1
    before = {p: p.read_bytes() for p in sorted(stopped.data.rglob("*")) if p.is_file()}
    dry = command(stopped, "log", "repair", "--to", to)
    assert dry.returncode == 0 and "nothing was changed" in dry.stdout, dry.stdout + dry.stderr
    assert before == {p: p.read_bytes() for p in sorted(stopped.data.rglob("*")) if p.is_file()}
    done = command(stopped, "log", "repair", "--to", to, "--yes")
    assert done.returncode == 0, done.stderr
    kept = list((stopped.data / f"removed-after-{to}").glob("*.seg"))
    assert kept, "a copy of what was removed"

    verified = command(stopped, "log", "verify")
    assert verified.returncode == 0 and f"records 1 to {to}:" in verified.stdout, verified.stdout
    stopped.start()
    with stopped.client("alice") as alice:
        for name in ("lobby", "team"):
            left = [r["message"]["seq"] for r in records[:to] if r.get("message", {}).get("conversationId") == name]
            assert [m["seq"] for m in alice.history(name)] == left
            assert alice.sent(name, "goes on")["seq"] == left[-1] + 1


def test_a_running_directory_may_be_looked_at_but_not_mended(stopped):
    stopped.start()
    assert command(stopped, "log", "verify").returncode == 0
    assert len(dump(stopped, "--limit", 5)[0]) == 5
    for arguments in (("repair", "--to", 5, "--yes"), ("rebuild-index",)):
        ran = command(stopped, "log", *arguments)
        assert ran.returncode == 1 and f"process {stopped.process.pid}" in ran.stderr, ran.stderr
    with stopped.client("alice") as alice:
        assert len(alice.history("team")) == 150


def test_rebuild_index_makes_it_anew(stopped):
    (stopped.data / "index" / "version").write_bytes(b"not one")
    ran = command(stopped, "log", "rebuild-index")
    assert ran.returncode == 0 and "made anew" in ran.stdout, ran.stderr
    stopped.start()
    with stopped.client("alice") as alice:
        assert len(alice.history("team")) == 150


def test_a_folder_without_a_log_is_told(make_server, tmp_path):
    server = make_server(start=False)
    for arguments in (("log", "verify"), ("backup", "--to", tmp_path / "b"), ("restore", "--from", tmp_path / "b")):
        ran = command(server, *arguments)
        assert ran.returncode == 1 and ("no log" in ran.stderr or "no backup" in ran.stderr), ran.stderr
    assert not server.data.exists() or not (server.data / "log").exists()


# ---- backup and restore ------------------------------------------------------------------------------


def test_a_backup_under_load_restores_everything_acked_before_it(make_server, tmp_path):
    server = make_server(SMALL)
    server.group("team", "alice", "bob", "carl")
    server.put("/v1/conversations/team/mutes/carl", {"until": 4_102_444_800_000})
    stop, acked = threading.Event(), []

    def load():
        with server.client("alice") as alice:
            for n in itertools.count():
                if stop.is_set():
                    return
                message = alice.message("team", f"m{n} " + "x" * 3_000)
                acked.append((message, alice.ask(send=message)["ack"]))

    loading = threading.Thread(target=load)
    loading.start()
    try:
        for count in (200, 600):
            while len(acked) < count:
                assert loading.is_alive()
                time.sleep(0.01)
            before = list(acked)
            ran = command(server, "backup", "--to", tmp_path / "backup", *(["--with-secrets"] if count == 600 else []))
            assert ran.returncode == 0, ran.stderr
    finally:
        stop.set()
        loading.join()
    assert not list((tmp_path / "backup" / "index").glob("*")), "the index is made anew"
    server.stop()

    home = tmp_path / "restored"
    restored = Server(home, SMALL)
    home.mkdir()
    try:
        ran = command(restored, "restore", "--from", tmp_path / "backup")
        assert ran.returncode == 0 and "keys of the service" in ran.stdout, ran.stderr
        again = command(restored, "restore", "--from", tmp_path / "backup")
        assert again.returncode == 1 and "has a log already" in again.stderr, again.stderr
        restored.start()
        restored.tokens = server.tokens
        with restored.client("bob") as bob, restored.client("alice") as alice, restored.client("carl") as carl:
            history = bob.history("team")
            assert [m["seq"] for m in history] == list(range(1, len(history) + 1))
            ids = {m["clientMsgId"]: m["seq"] for m in history}
            assert all(ids.get(message["clientMsgId"]) == ack["seq"] for message, ack in before), "acked before it began"
            message, ack = before[0]
            assert alice.ask(send=message)["ack"] == ack, "a repeat gets its first answer"
            assert alice.sent("team", "goes on")["seq"] == len(history) + 1
            assert carl.refused(send=carl.message("team", "muted"))["code"] == "MUTED"
    finally:
        restored.stop()
        shutil.rmtree(home, ignore_errors=True)


def test_a_later_backup_copies_what_is_new(stopped, tmp_path):
    first = command(stopped, "backup", "--to", tmp_path / "b")
    assert first.returncode == 0 and "without the keys" in first.stdout, first.stderr
    second = command(stopped, "backup", "--to", tmp_path / "b")
    assert "1 of " in second.stdout, second.stdout
    assert not (tmp_path / "b" / "secrets").exists()


def test_a_backup_that_is_damaged_or_not_one_is_refused(stopped, make_server, tmp_path):
    assert command(stopped, "backup", "--to", tmp_path / "b").returncode == 0
    segment = min((tmp_path / "b" / "log").glob("*.seg"))
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    other = make_server(start=False)
    ran = command(other, "restore", "--from", tmp_path / "b")
    assert ran.returncode == 3 and segment.name in ran.stderr, ran.stderr
    assert not (other.data / "log").exists()
    full = tmp_path / "full"
    full.mkdir()
    (full / "somebody's.txt").write_text("mine")
    ran = command(stopped, "backup", "--to", full)
    assert ran.returncode == 1 and "holds other files" in ran.stderr, ran.stderr


# ---- retention ---------------------------------------------------------------------------------------


def test_old_segments_go_and_what_is_left_is_whole(make_server, tmp_path):
    server = make_server(SMALL, "sinks.store.keep_bytes=3MiB")
    server.group("quiet", "alice", "bob")
    with server.client("alice") as alice:
        first = alice.message("quiet", "long ago")
        alice.ask(send=first)
        acks = [alice.sent("lobby", f"m{n} " + "x" * 12_000) for n in range(400)]
        assert alice.history("lobby")[0]["seq"] == 1, "no snapshot covers it as yet"
    # A graceful stop takes snapshots; the next full segment cuts.
    assert server.terminate() == 0
    server.start()
    with server.client("alice") as alice:
        acks += [alice.sent("lobby", f"m{n} " + "x" * 12_000) for n in range(400, 800)]
        deadline = time.monotonic() + 20
        while (page := alice.ask(history={"conversationId": "lobby", "afterSeq": 0, "limit": 5})["messages"]).get("removedUpToSeq", 0) < 100:
            assert time.monotonic() < deadline, page
            time.sleep(0.05)
    for end in (server.kill, server.terminate):
        end()
        server.start()
        with server.client("alice") as alice:
            page = alice.ask(history={"conversationId": "lobby", "afterSeq": 0, "limit": 5})["messages"]
            floor = page["removedUpToSeq"]
            assert page["items"][0]["seq"] == floor + 1
            assert [m["seq"] for m in alice.history("lobby")] == list(range(floor + 1, 801))
            assert "removedUpToSeq" not in alice.ask(history={"conversationId": "lobby", "afterSeq": floor, "limit": 5})["messages"]
            quiet = alice.ask(history={"conversationId": "quiet", "afterSeq": 0, "limit": 5})["messages"]
            assert (quiet["items"], quiet["removedUpToSeq"]) == ([], 1)
    # Without its index it is the same, and goes on.
    assert server.terminate() == 0
    assert command(server, "log", "verify").returncode == 0
    assert command(server, "log", "rebuild-index").returncode == 0
    server.start()
    with server.client("alice") as alice, server.client("bob") as bob:
        assert [m["seq"] for m in bob.history("lobby")] == list(range(floor + 1, 801))
        assert alice.sent("quiet", "again")["seq"] == 2
        assert alice.sent("lobby", "goes on")["seq"] == 801
        assert len(list((server.data / "log").glob("*.seg"))) < 100
    # So is a backup of it.
    backup = tmp_path / "backup"
    assert command(server, "backup", "--to", backup).returncode == 0
    server.terminate()
    shutil.rmtree(server.data)
    ran = command(server, "restore", "--from", backup)
    assert ran.returncode == 0, ran.stderr
    server.tokens.clear()
    server.start()
    with server.client("alice") as alice:
        assert [m["seq"] for m in alice.history("lobby")] == list(range(floor + 1, 802))
        assert alice.sent("quiet", "once more")["seq"] == 3
