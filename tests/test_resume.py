"""A session outlives its connection for a while: who comes back in time goes on where it was."""

import time

import pytest


def resume(client):
    return f"resume.{client.welcome['sessionId']}.{client.pushed}"


@pytest.mark.parametrize("format", ["json", "proto"])
def test_a_lost_connection_costs_nothing(server, connect, format):
    server.group("team", "alice", "bob")
    alice, carol = connect("alice"), connect("carol")
    carol.ask(presenceSubscribe={"userIds": ["bob"]})
    bob = server.client("bob", format=format, resume="resume")
    assert carol.push("presence")["online"] is True
    assert bob.welcome["resumeWindowMs"] == 10_000 and not bob.welcome.get("recovered")
    bob.ask(presenceSubscribe={"userIds": ["alice"]})
    alice.sent("team", "read")
    assert bob.push("message")["text"] == "read"
    bob.vanish()
    for n in range(20):
        alice.sent("team", f"missed {n}")
    back = server.client("bob", format=format, resume=resume(bob))
    assert back.welcome["recovered"] is True and back.welcome["sessionId"] != bob.welcome["sessionId"]
    alice.sent("team", "live")
    texts = [message["text"] for message in back.messages(21)]
    assert texts == [*(f"missed {n}" for n in range(20)), "live"]
    alice.close()
    assert back.push("presence")["userId"] == "alice", "whom it followed, it follows still"
    assert carol.pushed_now("presence") == [], "nobody saw bob go"
    back.close()


def test_what_was_on_its_way_comes_again_and_nothing_twice(server, connect):
    server.group("team", "alice", "bob")
    alice = connect("alice")
    bob = server.client("bob", resume="resume")
    alice.sent("team", "one")
    alice.sent("team", "two")
    bob.messages(2)
    # It says that it has read one of the two that came: as if the second had been lost on the way.
    back = server.client("bob", resume=f"resume.{bob.welcome['sessionId']}.1")
    assert back.welcome["recovered"] is True, "also while the server holds the old connection for alive"
    assert back.push("message")["text"] == "two"
    assert bob.wait_closed() == 4509
    back.close()


def test_what_cannot_be_gone_on_with_says_so(make_server):
    server = make_server("sources.clients.resume_window=300ms", "operators.online.debounce=100ms")
    server.group("team", "alice", "bob")
    with server.client("alice") as alice:
        alice.ask(presenceSubscribe={"userIds": ["bob"]})
        bob = server.client("bob", resume="resume")
        assert alice.push("presence")["online"] is True
        for wanted in ("resume.node-1-999.0", f"resume.{bob.welcome['sessionId']}.77"):
            other = server.client("bob", resume=wanted)
            assert not other.welcome.get("recovered"), wanted
            bob = other
        bob.vanish()
        assert alice.push("presence")["online"] is False, "the window ends"
        late = server.client("bob", resume=resume(bob))
        assert not late.welcome.get("recovered")
        late.close()
        plain = server.client("bob")
        assert "resumeWindowMs" not in plain.welcome, "nothing is kept for who does not ask"
        plain.close()


def test_a_client_that_closes_is_gone_at_once(make_server):
    server = make_server("operators.online.debounce=100ms")
    with server.client("alice") as alice:
        alice.ask(presenceSubscribe={"userIds": ["bob"]})
        bob = server.client("bob", resume="resume")
        assert alice.push("presence")["online"] is True
        begun = time.monotonic()
        bob.close()
        assert alice.push("presence")["online"] is False
        assert time.monotonic() - begun < 8, "a close frame is no lost connection"
