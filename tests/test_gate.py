"""The gateway's door: who gets in, how often it is heard, and how a session outlives its token."""

import json
import time

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as dial

from harness.metrics import scrape


def shake(server, token, origin=None, **headers):
    return dial(
        server.url,
        subprotocols=["imflow.v1.json"],
        additional_headers={"Authorization": f"Bearer {token}", **headers},
        origin=origin,
        ping_interval=None,
        proxy=None,
        legacy=True,
    )


def refused(server, token, **kwargs):
    """Status, headers and error of a handshake that must not succeed."""
    with pytest.raises(InvalidStatus) as caught:
        shake(server, token, **kwargs)
    response = caught.value.response
    return response.status_code, response.headers, json.loads(response.body)["error"]


# ---- rates ------------------------------------------------------------------------------------------


def test_a_device_that_sends_too_fast_is_told_when_to_go_on_and_nobody_else_is(make_server):
    server = make_server("sources.clients.rate_per_device=10", "sources.clients.rate_burst=1s")
    server.group("g", "alice", "bob")
    with server.client("alice") as alice, server.client("bob", format="proto") as bob:
        posted = [alice.post(send=alice.message("g", f"m{n}")) for n in range(40)]
        answers = [alice.reply(command) for command in posted]
        acks = [answer for answer in answers if "ack" in answer]
        errors = [answer["error"] for answer in answers if "error" in answer]
        assert 10 <= len(acks) <= 20 and len(acks) + len(errors) == 40
        assert {(error["code"], error["retryable"]) for error in errors} == {("RATE_LIMITED", True)}
        wait = errors[-1]["retryAfterMs"]
        assert 0 < wait <= 1_000 and "rate_per_device" in errors[-1]["message"]
        # Others go on, and so does the device when the time has passed.
        bob.sent("g", "not I")
        time.sleep(wait / 1_000 + 0.05)
        alice.sent("g", "again")
        limited = scrape(server).value("websocket_rate_limited_total", node_name="clients", whose="device")
        assert limited == len(errors)


def test_the_devices_of_a_user_and_the_writers_of_a_conversation_share_a_rate(make_server):
    server = make_server(
        "sources.clients.rate_per_user=5",
        "sources.clients.rate_per_conversation=8",
        "sources.clients.rate_burst=1s",
    )
    server.group("g", "alice", "bob", "carol")
    with server.client("alice") as phone, server.client("alice", "pad") as pad, server.client("bob") as bob:
        spent = [client.send("g", "x") for client in (phone, pad) for _ in range(5)]
        errors = [answer["error"]["message"] for answer in spent if "error" in answer]
        assert errors and all("rate_per_user" in error for error in errors)
        errors = [answer["error"]["message"] for answer in (bob.send("g", "x") for _ in range(5)) if "error" in answer]
        assert errors and all("rate_per_conversation" in error for error in errors)


def test_handshakes_of_one_address_are_slowed_before_the_token_is_looked_at(make_server):
    server = make_server("sources.clients.handshake_rate_per_ip=5", "sources.clients.rate_burst=1s")
    statuses = []
    for _ in range(12):
        status, headers, error = refused(server, "forged")
        statuses.append(status)
    assert statuses[:5] == [401] * 5 and statuses[-1] == 429
    assert int(headers["Retry-After"]) >= 1 and error["code"] == "RATE_LIMITED" and error["retryable"]
    assert scrape(server).value("websocket_refused_total", node_name="clients", reason="rate") == statuses.count(429)


# ---- origins ----------------------------------------------------------------------------------------


def test_a_page_of_another_host_is_refused_before_the_upgrade(server):
    token = server.token("alice")
    status, _, error = refused(server, token, origin="https://evil.example")
    assert (status, error["code"]) == (403, "FORBIDDEN") and "evil.example" in error["message"] and "origins" in error["message"]
    for origin in (None, f"http://127.0.0.1:{server.port}", "http://localhost:5173"):
        shake(server, token, origin=origin).close()


def test_a_list_of_origins_is_all_there_is(make_server):
    server = make_server('sources.clients.origins=["https://chat.example.com"]')
    token = server.token("alice")
    shake(server, token, origin="https://chat.example.com").close()
    shake(server, token).close()
    assert refused(server, token, origin="http://localhost:5173")[0] == 403


def test_what_is_no_origin_keeps_the_service_from_starting(make_server):
    server = make_server('sources.clients.origins=["chat.example.com"]', start=False)
    server.launch()
    assert server.wait_failed() == 1
    assert "`chat.example.com` in `origins` is no origin" in server.output()


# ---- tokens -----------------------------------------------------------------------------------------


def test_a_session_is_warned_refreshes_in_place_and_outlives_its_first_token(make_server):
    server = make_server()
    server.group("g", "alice", "bob")
    with server.client("alice", options=("--ttl", "4s")) as alice:
        # A token that lives less than a minute: the warning comes at once.
        warning = alice.push("tokenExpiring")
        before = warning["expiresAt"]
        refreshed = alice.ask(refresh={"token": server.token("alice", "phone", "--ttl", "1h")})["refreshed"]
        assert refreshed["expiresAt"] > before + 3_000_000
        time.sleep(max(0, before / 1_000 - time.time()) + 1.5)
        alice.sent("g", "still here")
        assert not alice.pushed_now("tokenExpiring")


def test_a_session_that_does_not_refresh_ends_with_its_token(make_server):
    server = make_server()
    with server.client("alice", options=("--ttl", "2s")) as alice:
        assert alice.push("tokenExpiring")
        assert alice.wait_closed() == 4501 and alice.goodbye["reconnect"] is False


@pytest.mark.parametrize("format", ["json", "proto"])
def test_a_refresh_brings_the_scopes_of_its_token(server, format):
    server.group("g", "alice", "bob")
    with server.client("alice", format=format) as alice:
        alice.sent("g", "may")
        less = server.token("alice", "phone", "--scopes", "read", "--ttl", "30m")
        assert "refreshed" in alice.ask(refresh={"token": less})
        assert alice.send("g", "may not")["error"]["code"] == "FORBIDDEN"
        assert alice.ask(history={"conversationId": "g"})["messages"]["items"]
        more = server.token("alice", "phone", "--ttl", "40m")
        assert "refreshed" in alice.ask(refresh={"token": more})
        alice.sent("g", "may again")


def test_a_token_of_somebody_else_a_forged_or_an_old_one_changes_nothing(server):
    server.group("g", "alice", "bob")
    old = server.token("alice", "phone", "--ttl", "1s")
    with server.client("alice") as alice:
        # Tokens count in whole seconds.
        time.sleep(2.2)
        for token, code in (
            (server.token("bob"), "FORBIDDEN"),
            (server.token("alice", "pad"), "FORBIDDEN"),
            ("forged", "UNAUTHENTICATED"),
            (old, "TOKEN_EXPIRED"),
        ):
            error = alice.refused(refresh={"token": token})
            assert error["code"] == code and token not in error["message"], error
        alice.sent("g", "as before")
