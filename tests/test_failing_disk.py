"""A disk that fails to sync ends the server: what it holds is unknown then, and nobody was told of it."""

import os
import pathlib
import shutil
import signal
import subprocess

import pytest

from harness.client import Closed

SOURCE = pathlib.Path(__file__).parent / "harness" / "failing_sync.c"


@pytest.fixture
def failing_sync(tmp_path):
    """A library to preload, and the file that makes it fail."""
    compiler = shutil.which("cc") or pytest.fail("this test compiles a small library: install a C compiler (cc)")
    library = tmp_path / "failing_sync.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    return library, tmp_path / "sync-fails"


def test_a_failed_fdatasync_ends_the_server_and_acks_nothing(make_server, failing_sync):
    library, trigger = failing_sync
    server = make_server(env={"LD_PRELOAD": str(library), "IMFLOW_TEST_SYNC_FAILS": str(trigger)})
    with server.client("alice") as alice:
        assert alice.sent("lobby", "before")["seq"] == 1
        trigger.touch()
        lost = alice.message("lobby", "lost")
        command = alice.post(send=lost)
        with pytest.raises(Closed):
            alice.reply(command)
    assert server.process.wait(timeout=30) == -signal.SIGABRT
    for part in (".seg", os.strerror(5), "the process ends"):
        assert part in server.output(), server.output()

    trigger.unlink()
    server.start()
    with server.client("alice") as alice:
        # Sent again under the same id it is stored once, whether or not the disk had kept it.
        ack = alice.ask(send=lost)["ack"]
        assert [(m["seq"], m["text"]) for m in alice.history("lobby")] == [(1, "before"), (ack["seq"], "lost")]
