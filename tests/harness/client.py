"""A client: commands paired with replies, pushes in a queue, the same for both encodings."""

import collections
import itertools
import socket
import struct
import threading
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from .wire import FORMATS

# Far above what any of these takes, so that only a reply that never comes reaches it.
PATIENCE = 20


class Closed(Exception):
    """The connection ended while somebody waited."""


class Client:
    def __init__(self, url, token, user, device="phone", format="json", resume=None):
        self.user, self.device = user, device
        self.codec = FORMATS[format]
        self.ids = itertools.count(1)
        self.replies, self.pushes = {}, collections.deque()
        self.pushed = 0
        self.welcome = self.goodbye = self.close_code = self.close_reason = None
        self.is_closed = False
        self.changed = threading.Condition()
        self.reads = threading.Event()
        self.reads.set()
        self.socket = connect(
            url,
            subprotocols=[self.codec.subprotocol, *([resume] if resume else [])],
            additional_headers={"Authorization": f"Bearer {token}"},
            open_timeout=PATIENCE,
            ping_interval=None,
            max_size=None,
            proxy=None,
            legacy=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        self._wait(lambda: self.welcome)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- commands -----------------------------------------------------------------------------

    def post(self, **body):
        """Sends one command without waiting; returns its id."""
        command = next(self.ids)
        self.socket.send(self.codec.encode([{"id": command, **body}]))
        return command

    def reply(self, command, timeout=PATIENCE):
        """The reply to a command, without its id: `{"ack": ...}`."""
        self._wait(lambda: command in self.replies, timeout, f"no reply to command {command}")
        return self.replies.pop(command)

    def ask(self, **body):
        return self.reply(self.post(**body))

    def message(self, conversation, text, client_msg_id=None, **fields):
        """The body of a send."""
        client_msg_id = client_msg_id or self.message_id()
        return {"conversationId": conversation, "clientMsgId": client_msg_id, "type": "TEXT", "text": text, **fields}

    def message_id(self):
        return f"{self.user}-{self.device}-{next(COUNTER)}-{time.time_ns() // 1_000_000}"

    def send(self, conversation, text, client_msg_id=None, **fields):
        return self.ask(send=self.message(conversation, text, client_msg_id, **fields))

    def sent(self, conversation, text, client_msg_id=None, **fields):
        """Sends and expects an ack."""
        reply = self.send(conversation, text, client_msg_id, **fields)
        assert "ack" in reply, reply
        return reply["ack"]

    def refused(self, **body):
        """Sends a command and expects an error."""
        reply = self.ask(**body)
        assert "error" in reply, reply
        return reply["error"]

    def history(self, conversation, after=0):
        """All messages after a seq, page by page."""
        items, more = [], True
        while more:
            reply = self.ask(history={"conversationId": conversation, "afterSeq": after, "limit": 200})
            assert "messages" in reply, reply
            page, more = reply["messages"]["items"], reply["messages"]["more"]
            assert page or not more, "an empty page that promises more"
            items += page
            after = items[-1]["seq"] if items else after
        return items

    # ---- pushes -------------------------------------------------------------------------------

    def push(self, kind=None, timeout=PATIENCE, where=lambda event: True):
        """Takes the next push (of a kind, where given); others stay in the queue."""

        def find():
            return next((e for e in self.pushes if (kind is None or kind in e) and where(e.get(kind, e))), None)

        self._wait(find, timeout, f"no push of kind {kind}")
        with self.changed:
            event = find()
            self.pushes.remove(event)
        return event[kind] if kind else event

    def messages(self, count, timeout=PATIENCE):
        """The next so many pushed messages."""
        return [self.push("message", timeout) for _ in range(count)]

    def pushed_now(self, kind="message"):
        """What has been pushed by now; complete up to everything the server did before this call."""
        reply = self.ask(ping={})
        assert "pong" in reply, reply
        with self.changed:
            return [event[kind] for event in self.pushes if kind in event]

    def pause(self):
        """Reads nothing more: what the server sends fills the buffers on the way."""
        self.reads.clear()

    def resume(self):
        self.reads.set()

    # ---- the end ------------------------------------------------------------------------------

    def wait_closed(self, timeout=PATIENCE):
        self._wait(lambda: self.is_closed, timeout, "the connection stayed open")
        return self.close_code

    def close(self):
        self.socket.close()

    def vanish(self):
        """The connection is gone without a word."""
        self.socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.socket.shutdown(socket.SHUT_RD)
        self.socket.socket.close()

    def _read(self):
        try:
            while True:
                self.reads.wait()
                for envelope in self.codec.decode(self.socket.recv()):
                    self._take(envelope)
        except ConnectionClosed as error:
            with self.changed:
                self.is_closed = True
                self.close_code = error.rcvd.code if error.rcvd else None
                self.close_reason = error.rcvd.reason if error.rcvd else None
                self.changed.notify_all()

    def _take(self, envelope):
        command = envelope.pop("id", 0)
        with self.changed:
            if "welcome" in envelope:
                self.welcome = envelope["welcome"]
            elif "goodbye" in envelope:
                self.goodbye = envelope["goodbye"]
            elif "push" in envelope:
                self.pushes.append(envelope["push"])
                self.pushed += 1
            else:
                assert command not in self.replies, f"two replies to command {command}"
                self.replies[command] = envelope
            self.changed.notify_all()

    def _wait(self, done, timeout=PATIENCE, what="nothing came"):
        with self.changed:
            self.changed.wait_for(lambda: done() or self.is_closed, timeout)
            if not done():
                if self.is_closed:
                    raise Closed(f"{what}: closed with {self.close_code} {self.close_reason}")
                raise TimeoutError(f"{self.user}-{self.device}: {what} within {timeout} s")


COUNTER = itertools.count(1)
