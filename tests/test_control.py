"""The control API: a back end manages conversations, and the clients see it at once."""

import json
import time

from harness.server import DIRECT


def error_of(body):
    return body["error"]


def test_a_conversation_from_creation_to_messages(server, connect):
    status, body = server.http(
        "POST",
        "/v1/conversations",
        {"id": "c1", "type": "GROUP", "name": "first", "members": [{"userId": "alice", "role": "OWNER"}]},
    )
    assert status in (200, 201) and body["conversationId"] == "c1" and body["type"] == "GROUP", body
    server.put("/v1/conversations/c1/members/bob", {"role": "MEMBER"})
    alice, bob = connect("alice"), connect("bob")
    alice.sent("c1", "hi")
    assert bob.push("message")["text"] == "hi"
    status, page = server.http("GET", "/v1/conversations/c1/messages?afterSeq=0&limit=10")
    assert status == 200 and [m["text"] for m in page["items"]] == ["hi"] and page["more"] is False


def test_creating_it_again_answers_with_the_one_that_exists(server):
    wish = {"id": "c1", "type": "GROUP", "name": "first", "members": [{"userId": "alice", "role": "OWNER"}]}
    first = server.http("POST", "/v1/conversations", wish)
    second = server.http("POST", "/v1/conversations", wish)
    assert first[0] == 201 and second == (200, first[1]), (first, second)


def test_creating_it_again_shows_all_of_what_exists(server, connect):
    server.group("c1", "alice", "bob")
    status, made = server.http("GET", "/v1/conversations/c1")
    alice = connect("alice")
    alice.sent("c1", "hi")
    wish = {"conversationId": "c1", "type": "GROUP", "name": "another name", "members": ["carol"]}
    again = alice.ask(createConversation=wish)["conversation"]
    assert again == {**made, "role": "OWNER", "lastSeq": 1, "readSeq": 1, "deliveredSeq": 1} and again["createdAt"] > 0 and again["memberCount"] == 2
    assert connect("eve").refused(createConversation=wish)["code"] == "CONFLICT"
    with server.client("alice", options=("--scopes", "create")) as creator:
        assert creator.ask(createConversation=wish)["conversation"] == again


def test_members_are_listed(server):
    server.group("c1", "alice", "bob")
    status, body = server.http("GET", "/v1/conversations/c1/members")
    assert status == 200
    assert {(m["userId"], m["role"]) for m in body["items"]} == {("alice", "OWNER"), ("bob", "MEMBER")}


def test_a_new_member_is_told_and_gets_what_follows(server, connect):
    server.group("c1", "alice")
    alice, bob = connect("alice"), connect("bob")
    assert bob.refused(send=bob.message("c1", "hi"))["code"] == "NOT_A_MEMBER"
    server.put("/v1/conversations/c1/members/bob", {"role": "MEMBER"})
    changed = bob.push("conversationChanged", where=lambda c: c["conversationId"] == "c1")
    assert (changed["change"], changed["userId"]) == ("MEMBER_ADDED", "bob")
    assert alice.push("conversationChanged", where=lambda c: c["change"] == "MEMBER_ADDED")["userId"] == "bob"
    # The answer of the API means that it counts everywhere.
    assert bob.sent("c1", "here I am")["seq"] == 1
    assert alice.push("message")["text"] == "here I am"


def test_a_removed_member_can_neither_send_nor_read(server, connect):
    server.group("c1", "alice", "bob")
    alice, bob = connect("alice"), connect("bob")
    bob.sent("c1", "hi")
    server.delete("/v1/conversations/c1/members/bob")
    changed = bob.push("conversationChanged", where=lambda c: c["change"] == "MEMBER_REMOVED")
    assert changed["userId"] == "bob"
    assert bob.refused(send=bob.message("c1", "again"))["code"] == "NOT_A_MEMBER"
    assert bob.refused(history={"conversationId": "c1"})["code"] == "NOT_A_MEMBER"
    alice.sent("c1", "without bob")
    assert bob.pushed_now() == []


def test_roles_decide_who_changes_members(server, connect):
    server.group("c1", "alice", "bob")
    alice, bob = connect("alice"), connect("bob")
    add = {"conversationId": "c1", "add": [{"userId": "carol", "role": "MEMBER"}]}
    assert bob.refused(changeMembers=add)["code"] == "FORBIDDEN"
    assert "done" in alice.ask(changeMembers=add)
    server.put("/v1/conversations/c1/members/bob", {"role": "ADMIN"})
    assert "done" in bob.ask(changeMembers={"conversationId": "c1", "remove": ["carol"]})
    carol = connect("carol")
    assert carol.refused(send=carol.message("c1", "hi"))["code"] == "NOT_A_MEMBER"


def test_anybody_may_leave(server, connect):
    server.group("c1", "alice", "bob")
    bob = connect("bob")
    assert "done" in bob.ask(changeMembers={"conversationId": "c1", "remove": ["bob"]})
    assert bob.refused(send=bob.message("c1", "hi"))["code"] == "NOT_A_MEMBER"


def test_a_mute_ends_by_itself(server, connect):
    alice = connect("alice")
    server.put("/v1/conversations/lobby/mutes/alice", {"until": time.time_ns() // 1_000_000 + 1_500})
    assert alice.refused(send=alice.message("lobby", "hi"))["code"] == "MUTED"
    deadline = time.monotonic() + 20
    while "ack" not in alice.send("lobby", "hi"):
        assert time.monotonic() < deadline, "still muted"
        time.sleep(0.1)


def test_a_mute_lasts_for_a_while_or_until_it_is_lifted(server, connect):
    alice = connect("alice")
    server.put("/v1/conversations/lobby/mutes/alice", {"for": "10m"})
    error = alice.refused(send=alice.message("lobby", "hi"))
    assert error["code"] == "MUTED" and 500_000 < error["retryAfterMs"] <= 600_000, error
    server.put("/v1/conversations/lobby/mutes/alice")
    error = alice.refused(send=alice.message("lobby", "hi"))
    assert error["code"] == "MUTED" and "retryAfterMs" not in error, error
    server.delete("/v1/conversations/lobby/mutes/alice")
    alice.sent("lobby", "hi")


def test_a_users_conversations_are_listed_in_pages(server):
    for name in ("a", "b", "c"):
        server.group(name, "alice")
    first = server.http("GET", "/v1/users/alice/conversations?limit=2")
    assert first[0] == 200 and [c["conversationId"] for c in first[1]["items"]] == ["a", "b"] and first[1]["more"]
    status, rest = server.http("GET", "/v1/users/alice/conversations?limit=2&after=b")
    assert status == 200 and [c["conversationId"] for c in rest["items"]] == ["c", "lobby"] and not rest["more"]


def test_a_bot_speaks_in_the_name_of_a_member(server, connect):
    bob = connect("bob")
    message = {"senderId": "alice", "clientMsgId": "deploy-1", "type": "TEXT", "text": "deployed"}
    status, first = server.http("POST", "/v1/conversations/lobby/messages", message)
    assert status in (200, 201) and first["seq"] == 1 and first["status"] == "OK", first
    assert bob.push("message")["senderId"] == "alice"
    # The same id again is the same message.
    status, again = server.http("POST", "/v1/conversations/lobby/messages", message)
    assert status in (200, 201) and again == first
    status, body = server.http("POST", "/v1/conversations/lobby/messages", {**message, "text": "other"})
    assert status == 409 and error_of(body)["code"] == "CONFLICT"


def test_only_the_key_opens_it(server):
    user_token = server.token("alice")
    for key, expected in (("", {401}), ("nonsense", {401}), (user_token, {401, 403})):
        status, body = server.http("GET", "/v1/conversations/lobby/messages", key=key)
        assert status in expected and error_of(body)["code"] in ("UNAUTHENTICATED", "FORBIDDEN"), (status, body)


def test_errors_are_of_one_shape(server):
    cases = [
        ("POST", "/v1/conversations", b"{", {400}),
        ("POST", "/v1/conversations", {"id": "c1", "type": "GROUP", "colour": 1}, {400, 422}),
        ("POST", "/v1/conversations", {"id": "c 1", "type": "GROUP", "members": []}, {400, 422}),
        ("GET", "/v1/conversations/nowhere/messages", None, {404}),
        ("PUT", "/v1/conversations/nowhere/members/bob", {"role": "MEMBER"}, {404}),
        ("GET", "/v1/nothing-here", None, {404}),
        ("PATCH", "/v1/conversations", None, {405}),
        ("POST", "/v1/conversations", {"id": "c1", "type": "GROUP", "name": "x" * 300_000, "members": []}, {413}),
        ("PUT", "/v1/conversations/lobby/members/b%20b", None, {400}),
        ("GET", "/v1/conversations/%ff", None, {400}),
        ("GET", "/v1/conversations/lobby/messages?limit=many", None, {400}),
        ("GET", "/v1/users/alice/conversations?after=a%20b", None, {400}),
        ("POST", "/healthz", None, {405}),
    ]
    for method, path, body, expected in cases:
        status, answer = server.http(method, path, body)
        assert status in expected, (method, path, status, answer)
        error = error_of(answer)
        assert error["code"].isupper() and len(error["message"]) > 10, (method, path, answer)
        assert error["retryable"] is False, (method, path, answer)


def test_the_openapi_document_names_every_route(server):
    status, document = server.http("GET", "/v1/openapi.json", key="")
    if status == 401:
        status, document = server.http("GET", "/v1/openapi.json")
    assert status == 200 and document["openapi"].startswith("3.")
    routes = {(path, method) for path, item in document["paths"].items() for method in item}
    paths = json.dumps(sorted(path for path, _ in routes))
    for route in ("/v1/conversations", "/members", "/mutes/", "/bans/", "/messages"):
        assert route in paths, f"{route} is not described: {paths}"
    assert ("/v1/conversations", "post") in routes


def test_health_needs_no_key(server):
    for path in ("/healthz", "/readyz"):
        assert server.is_ready()
        assert plain_status(server, path) == 200


def plain_status(server, path):
    return DIRECT.open(f"http://127.0.0.1:{server.port}{path}", timeout=5).status


def test_facts_survive_a_restart(server):
    server.group("c1", "alice", "bob")
    server.put("/v1/conversations/c1/bans/bob")
    server.kill()
    server.start()
    with server.client("alice") as alice, server.client("bob") as bob:
        alice.sent("c1", "hi")
        assert bob.refused(send=bob.message("c1", "hi"))["code"] == "BANNED"


def test_a_level_is_a_fact_of_a_user(server):
    level = lambda user: server.http("GET", f"/v1/users/{user}/level")
    put = lambda body: server.http("PUT", "/v1/users/alice/level", body)
    assert level("alice") == (200, {"level": ""})
    assert put({"level": "gold"})[0] == 200
    for bad in ({"level": "two words"}, {"level": "x" * 65}, {"level": 3}, {}, {"colour": "red"}):
        status, answer = put(bad)
        assert status == 400 and error_of(answer)["code"] == "INVALID", bad
    server.kill()
    server.start()
    assert level("alice") == (200, {"level": "gold"})
    assert level("bob") == (200, {"level": ""})
    assert put({"level": ""})[0] == 200
    assert level("alice") == (200, {"level": ""})
