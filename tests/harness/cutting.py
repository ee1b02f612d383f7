"""Sends until `keep` has removed the front of the log."""

import time

FILL = "x" * 12_000


def segments(server):
    return sorted(path.name for path in (server.data / "log").glob("*.seg"))


def fill_until_cut(server, user, conversation, first_seq=2):
    """Sends until the first segments have been removed; gives the texts by seq."""
    texts, deadline = {}, time.monotonic() + 60
    for round in range(40):
        with server.client(user) as client:
            for n in range(100):
                ack = client.sent(conversation, f"{round}/{n} {FILL}")
                texts[ack["seq"]] = f"{round}/{n} {FILL}"
        if "00000001.seg" not in segments(server):
            return texts
        assert time.monotonic() < deadline, "nothing was removed"
        time.sleep(1.1)
        # A stop takes the snapshots that cover what goes.
        assert server.terminate() == 0
        server.start()
    raise AssertionError("nothing was removed")
