"""Presence: told to those who ask, and only once it has been still for a while."""

import time

import pytest

DEBOUNCE = "operators.online.debounce=300ms"


@pytest.fixture
def server(make_server):
    return make_server(DEBOUNCE)


def subscribe(client, *users, conversations=()):
    body = {"userIds": list(users), "conversationIds": list(conversations)}
    return [bare(item) for item in client.ask(presenceSubscribe=body)["presenceList"]["items"]]


def notice(client):
    return bare(client.push("presence"))


def bare(item):
    """Without when the user was last heard of, which is now or not at all."""
    at = int(item.pop("lastActiveAt", 0))
    assert at == 0 or abs(at - time.time() * 1000) < 60_000, item
    assert at or not item.get("online"), item
    return item


def test_a_subscriber_is_told_who_comes_and_goes(server, connect):
    alice = connect("alice")
    assert subscribe(alice, "bob") == [{"userId": "bob", "online": False}]
    bob = connect("bob")
    assert notice(alice) == {"userId": "bob", "online": True}
    bob.close()
    assert notice(alice) == {"userId": "bob", "online": False}


def test_the_answer_tells_who_is_online_already(server, connect):
    alice = connect("alice")
    bob, _ = connect("bob"), subscribe(alice, "bob")
    if subscribe(alice, "bob") != [{"userId": "bob", "online": True}]:
        assert notice(alice) == {"userId": "bob", "online": True}
    assert subscribe(connect("carol", format="proto"), "bob", "nobody") == [
        {"userId": "bob", "online": True},
        {"userId": "nobody", "online": False},
    ]
    bob.close()


def test_a_flapping_device_is_noticed_by_nobody(make_server):
    server = make_server("operators.online.debounce=2s")
    with server.client("alice") as alice:
        subscribe(alice, "bob", "carol")
        for _ in range(3):
            server.client("bob").close()
        # Carol's window opens after bob's: once her notice is here, his would be too.
        with server.client("carol"):
            assert notice(alice) == {"userId": "carol", "online": True}
            assert alice.pushed_now("presence") == []


def test_a_user_is_online_while_one_device_is(server, connect):
    alice = connect("alice")
    subscribe(alice, "bob", "carol")
    phone, laptop = connect("bob", "phone"), connect("bob", "laptop")
    assert notice(alice) == {"userId": "bob", "online": True}
    phone.close()
    connect("carol")
    assert notice(alice) == {"userId": "carol", "online": True}
    laptop.close()
    assert notice(alice) == {"userId": "bob", "online": False}


def test_a_later_subscription_replaces_the_one_before(server, connect):
    alice = connect("alice")
    subscribe(alice, "bob")
    subscribe(alice, "carol")
    connect("bob"), connect("carol")
    assert notice(alice) == {"userId": "carol", "online": True}
    assert alice.pushed_now("presence") == []


def test_who_did_not_ask_is_not_told(server, connect):
    alice, dave = connect("alice"), connect("dave")
    subscribe(alice, "bob")
    connect("bob")
    notice(alice)
    assert dave.pushed_now("presence") == []


def test_the_members_of_a_conversation_are_followed(server, connect):
    server.group("c1", "alice", "bob", "carol")
    server.group("others", "dave")
    alice, bob = connect("alice"), connect("bob", format="proto")
    dave = connect("dave")
    seen = {item["userId"]: item["online"] for item in subscribe(alice, "dave", conversations=["c1"])}
    assert seen.keys() == {"bob", "carol", "dave"} and not seen["carol"]
    connect("carol")
    while (told := notice(alice))["userId"] != "carol":
        pass
    assert told == {"userId": "carol", "online": True}
    # What takes its place names nobody.
    assert subscribe(alice) == []
    refused = alice.refused(presenceSubscribe={"conversationIds": ["others"]})
    assert refused["code"] == "NOT_A_MEMBER"
    assert alice.refused(presenceSubscribe={"conversationIds": ["none"]})["code"] == "UNKNOWN_CONVERSATION"
    bob.close(), dave.close()


def test_a_conversation_that_is_followed_has_a_limit_of_members(make_server):
    server = make_server("sinks.followed.largest=2")
    server.group("c1", "alice", "bob", "carol")
    with server.client("alice") as alice:
        refused = alice.refused(presenceSubscribe={"conversationIds": ["c1"]})
        assert refused["code"] == "INVALID" and "at most 2" in refused["message"]


def test_presence_is_read_over_http_with_each_device_and_after_its_end(server, connect):
    server.group("c1", "alice", "bob", "carol")
    phone, pad = connect("alice", "phone"), connect("alice", "pad")
    status, body = server.http("GET", "/v1/users/alice/presence")
    assert status == 200 and body["online"]
    now = time.time() * 1000
    assert {device["deviceId"]: device["nodeId"] for device in body["devices"]} == {"phone": "node-1", "pad": "node-1"}
    for device in body["devices"]:
        assert now - 60_000 < device["since"] <= device["lastSeen"] + 2_000 < now + 60_000
    assert server.http("GET", "/v1/users/alice/routes")[1] == {
        "items": [{"deviceId": "phone", "nodeId": "node-1"}, {"deviceId": "pad", "nodeId": "node-1"}]
    }
    assert server.http("GET", "/v1/conversations/c1/online") == (200, {"items": ["alice"]})
    assert server.http("GET", "/v1/conversations/none/online")[0] == 404
    phone.close(), pad.close()
    while (body := server.http("GET", "/v1/users/alice/presence")[1])["online"]:
        time.sleep(0.02)
    assert body["devices"] == [] and now - 60_000 < body["lastActiveAt"] <= time.time() * 1000
    assert server.http("GET", "/v1/users/nobody/presence") == (200, {"userId": "nobody", "online": False, "devices": []})
    assert server.http("GET", "/v1/users/a:b/presence")[0] == 400
