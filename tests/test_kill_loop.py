"""kill -9 at random moments under load, many times.

Acked means present exactly once, at the acked place; what was not acked may be sent again and is then
present exactly once too; seq has no gap. The seed of the moments is printed, IMFLOW_SEED repeats it.
"""

import os
import random
import threading
import time

from websockets.exceptions import WebSocketException

from harness.client import Closed

ROUNDS = int(os.environ.get("IMFLOW_KILLS", "50"))
USERS = ["u1", "u2", "u3", "u4"]
CONVERSATIONS = ["c1", "c2"]
IN_FLIGHT = 16
# The whole loop; a slow machine does fewer messages a round, not fewer rounds.
BUDGET_SECONDS = 150


class Sender:
    """One user's device across all connections: what was acked, and what is still owed."""

    def __init__(self, user, format, pause=0):
        self.user, self.format, self.pause = user, format, pause
        self.acked = {}
        # The last messages, which replies, reactions and edits are about: one can be edited so often and so long.
        self.own = {}
        self.owed = []

    def run(self, server):
        """Sends until the server dies: first what is owed, then new messages, some in flight at once."""
        try:
            with server.client(self.user, format=self.format) as client:
                self._talk(client)
        except (Closed, WebSocketException, OSError):
            pass  # It was killed: what is owed stays owed.

    def _talk(self, client):
        flying = []
        for message in list(self.owed):
            flying.append((post(client, message), message))
        while True:
            while len(flying) < IN_FLIGHT:
                message = self._next(client)
                # Owed before it is sent: the connection may break in between.
                self.owed.append(message)
                flying.append((post(client, message), message))
            command, message = flying.pop(0)
            reply = client.reply(command)
            if reply.get("error", {}).get("retryable"):
                flying.append((post(client, message), message))
            else:
                self._settle(message, reply)
            time.sleep(self.pause)

    def _next(self, client):
        """Mostly a message; in between a reply, or a reaction to or an edit of one that was acked."""
        number = len(self.acked)
        conversation = CONVERSATIONS[number // 3 % len(CONVERSATIONS)]
        message = client.message(conversation, f"{self.user} says something", None)
        target = next((ack["seq"] for where, ack in self.own.values() if where == conversation), None)
        if target is None or number % 4:
            return message
        about = {key: message[key] for key in ("conversationId", "clientMsgId")} | {"seq": target}
        return [
            message | {"replyTo": target},
            about | {"emoji": f"e{number % 3}"},
            about | {"text": f"{self.user} said something"},
        ][number // 4 % 3]

    def _settle(self, message, reply):
        assert "ack" in reply, reply
        self.owed.remove(message)
        known = self.acked.setdefault(message["clientMsgId"], (message["conversationId"], reply["ack"]))
        assert known[1] == reply["ack"]
        if "type" in message:
            self.own[message["clientMsgId"]] = known
            if len(self.own) > 32:
                del self.own[next(iter(self.own))]

    def settle_all(self, server):
        """The server lives: everything owed is sent again and answered."""
        with server.client(self.user, format=self.format) as client:
            for command, message in [(post(client, message), message) for message in list(self.owed)]:
                self._settle(message, client.reply(command))


def post(client, message):
    """Sends a message, or does what it says about one."""
    return client.post(**{"send" if "type" in message else "react" if "emoji" in message else "edit": message})


def test_fifty_kills_lose_repeat_and_skip_nothing(make_server):
    seed = int(os.environ.get("IMFLOW_SEED", time.time_ns() % 1_000_000_000))
    print(f"seed: IMFLOW_SEED={seed}")
    moments = random.Random(seed)
    server = make_server("operators.amended.max_edits=10000", "operators.amended.max_reactions=10000")
    for name in CONVERSATIONS:
        server.group(name, *USERS)
    senders = [Sender(user, ("json", "proto")[n % 2]) for n, user in enumerate(USERS)]
    [server.token(user) for user in USERS]

    begin = time.monotonic()
    for round in range(ROUNDS):
        threads = [threading.Thread(target=sender.run, args=(server,)) for sender in senders]
        [thread.start() for thread in threads]
        time.sleep(moments.uniform(0.02, 0.6))
        server.kill()
        [thread.join(30) for thread in threads]
        server.start()
        assert time.monotonic() - begin < BUDGET_SECONDS, f"only {round + 1} rounds in {BUDGET_SECONDS} s"

    for sender in senders:
        sender.settle_all(server)
    check(server, senders)
    total = sum(len(sender.acked) for sender in senders)
    print(f"{ROUNDS} kills, {total} messages, {time.monotonic() - begin:.0f} s")
    assert total > ROUNDS, "there was hardly any load"


def check(server, senders):
    acked = {id: place for sender in senders for id, place in sender.acked.items()}
    with server.client("u1", "checker") as reader:
        for conversation in CONVERSATIONS:
            history = reader.history(conversation)
            assert [m["seq"] for m in history] == list(range(1, len(history) + 1)), "a gap in seq"
            stored = {m["clientMsgId"]: m for m in history}
            assert len(stored) == len(history), "a message is stored twice"
            expected = {id: ack for id, (where, ack) in acked.items() if where == conversation}
            assert stored.keys() == expected.keys(), "stored and acked are not the same messages"
            for id, ack in expected.items():
                message = stored[id]
                assert (message["seq"], message["serverMsgId"]) == (ack["seq"], ack["serverMsgId"])
            ids = [int(m["serverMsgId"]) for m in history]
            assert ids == sorted(set(ids)), "serverMsgIds increase across restarts"
