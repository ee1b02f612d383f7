"""Presence: told to those who ask, and only once it has been still for a while."""

import pytest

DEBOUNCE = "operators.online.debounce=300ms"


@pytest.fixture
def server(make_server):
    return make_server(DEBOUNCE)


def subscribe(client, *users):
    return client.ask(presenceSubscribe={"userIds": list(users)})["presenceList"]["items"]


def test_a_subscriber_is_told_who_comes_and_goes(server, connect):
    alice = connect("alice")
    assert subscribe(alice, "bob") == [{"userId": "bob", "online": False}]
    bob = connect("bob")
    assert alice.push("presence") == {"userId": "bob", "online": True}
    bob.close()
    assert alice.push("presence") == {"userId": "bob", "online": False}


def test_the_answer_tells_who_is_online_already(server, connect):
    alice = connect("alice")
    bob, _ = connect("bob"), subscribe(alice, "bob")
    if alice.ask(presenceSubscribe={"userIds": ["bob"]})["presenceList"]["items"] != [{"userId": "bob", "online": True}]:
        assert alice.push("presence") == {"userId": "bob", "online": True}
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
            assert alice.push("presence") == {"userId": "carol", "online": True}
            assert alice.pushed_now("presence") == []


def test_a_user_is_online_while_one_device_is(server, connect):
    alice = connect("alice")
    subscribe(alice, "bob", "carol")
    phone, laptop = connect("bob", "phone"), connect("bob", "laptop")
    assert alice.push("presence") == {"userId": "bob", "online": True}
    phone.close()
    connect("carol")
    assert alice.push("presence") == {"userId": "carol", "online": True}
    laptop.close()
    assert alice.push("presence") == {"userId": "bob", "online": False}


def test_a_later_subscription_replaces_the_one_before(server, connect):
    alice = connect("alice")
    subscribe(alice, "bob")
    subscribe(alice, "carol")
    connect("bob"), connect("carol")
    assert alice.push("presence") == {"userId": "carol", "online": True}
    assert alice.pushed_now("presence") == []


def test_who_did_not_ask_is_not_told(server, connect):
    alice, dave = connect("alice"), connect("dave")
    subscribe(alice, "bob")
    connect("bob")
    alice.push("presence")
    assert dave.pushed_now("presence") == []
