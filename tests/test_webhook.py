"""Messages to members without a live device go to a webhook: signed, tried again, and never lost without a trace."""

import collections
import hashlib
import hmac
import http.server
import json
import threading
import time

import pytest

from harness.metrics import scrape

SECRET = "a secret of the test"


class Hook:
    """A service that takes posts; `answers` are given in turn, then 200."""

    def __init__(self):
        hook = self
        self.posts, self.answers, self.came = [], collections.deque(), threading.Condition()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with hook.came:
                    status, headers = hook.answers.popleft() if hook.answers else (200, {})
                    hook.posts.append((status, self.headers, body))
                    hook.came.notify_all()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def wait(self, count, timeout=20):
        with self.came:
            assert self.came.wait_for(lambda: len(self.posts) >= count, timeout), self.posts
            return [(status, json.loads(body)) for status, _, body in self.posts]


@pytest.fixture
def hook():
    hook = Hook()
    yield hook
    hook.server.shutdown()


@pytest.fixture
def server(make_server, hook):
    return make_server(
        "sinks.wake.kind=webhook",
        "sinks.wake.inputs=['fanout.absent']",
        f"sinks.wake.url='{hook.url}'",
        f"sinks.wake.secret='{SECRET}'",
        "sinks.wake.retry_from=50ms",
        "sinks.wake.attempts=3",
        "sinks.wake.timeout=2s",
    )


def dead_letters(server):
    path = server.data / "webhook.dead.ndjson"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_members_without_a_device_are_told_of_with_a_signature(server, connect, hook):
    server.group("team", "alice", "bob", "carol")
    alice, bob = connect("alice"), connect("bob")
    ack = alice.sent("team", "hello")
    bob.push("message")
    [(_, post)] = hook.wait(1)
    record = post["record"]
    assert post["type"] == "Absent" and record["userIds"] == ["carol"]
    assert (record["text"], record["senderId"], record["seq"]) == ("hello", "alice", ack["seq"])
    _, headers, body = hook.posts[0]
    stamp, signature = (part.split("=", 1)[1] for part in headers["Imflow-Signature"].split(","))
    assert abs(time.time() - int(stamp)) < 60
    expected = hmac.new(SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(signature, expected)
    carol = connect("carol")
    alice.sent("team", "all are here")
    carol.push("message")
    assert len(hook.posts) == 1


def test_what_fails_for_a_while_is_tried_again_under_its_id(server, connect, hook):
    server.group("team", "alice", "bob")
    hook.answers.extend([(503, {}), (429, {"Retry-After": "0"})])
    connect("alice").sent("team", "hello")
    posts = hook.wait(3)
    assert [status for status, _ in posts] == [503, 429, 200]
    assert len({post["id"] for _, post in posts}) == 1
    assert dead_letters(server) == []


def test_what_cannot_be_posted_is_a_dead_letter_and_holds_nobody_up(server, connect, hook):
    server.group("team", "alice", "bob")
    alice = connect("alice")
    hook.answers.append((410, {}))
    alice.sent("team", "gone")
    hook.wait(1)
    hook.answers.extend([(500, {})] * 3)
    alice.sent("team", "in vain")
    hook.wait(4)
    alice.sent("team", "fine")
    assert hook.wait(5)[4][1]["record"]["text"] == "fine"
    deadline = time.monotonic() + 10
    while len(dead_letters(server)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    first, second = dead_letters(server)
    assert (first["post"]["record"]["text"], first["attempts"], first["why"]) == ("gone", 1, "answered 410")
    assert (second["post"]["record"]["text"], second["attempts"]) == ("in vain", 3)
    assert scrape(server).value("webhook_posts_total", node_name="wake", outcome="dead") == 2


def test_a_service_that_is_away_costs_the_senders_nothing(make_server, hook):
    hook.server.shutdown()
    hook.server.server_close()
    server = make_server(
        "sinks.wake.kind=webhook",
        "sinks.wake.inputs=['fanout.absent']",
        f"sinks.wake.url='{hook.url}'",
        "sinks.wake.queue=10",
        "sinks.wake.retry_from=1s",
    )
    server.group("team", "alice", "bob")
    with server.client("alice") as alice:
        for n in range(200):
            alice.sent("team", f"m{n}")
    assert server.terminate() == 0
    assert 1 <= len(dead_letters(server)) <= 10, "what waited at the end is not lost without a trace"


def test_a_url_that_cannot_be_posted_to_is_found_by_check(server):
    ran = server.run(
        "check", "--set", "sinks.bad.kind=webhook", "--set", "sinks.bad.inputs=['fanout.absent']",
        "--set", "sinks.bad.url='push.example.com'", "--set", "sinks.bad.dead_letters='bad.ndjson'",
    )
    assert ran.returncode != 0 and "https://" in ran.stderr + ran.stdout
