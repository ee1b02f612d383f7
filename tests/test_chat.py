"""`imflow chat`: two people at their terminals, and a script at a pipe."""

import os
import pty
import re
import subprocess
import threading

import pytest

COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Terminal:
    """A chat in a pseudo-terminal: types lines, waits for what appears."""

    def __init__(self, server, *arguments):
        controller, terminal = pty.openpty()
        command = server.command("chat", *arguments)
        self.process = subprocess.Popen(
            command, stdin=terminal, stdout=terminal, stderr=terminal, cwd=server.home, start_new_session=True
        )
        os.close(terminal)
        self.controller, self.raw = controller, ""
        self.changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def type(self, line):
        os.write(self.controller, f"{line}\n".encode())

    def screen(self):
        return COLOUR.sub("", self.raw).replace("\r", "")

    def lines(self):
        """What looks like a message: `12 alice  hi`."""
        return re.findall(r"^(?:\[\S+\] )?\d+ \S+  .*$", self.screen(), re.MULTILINE)

    def wait_for(self, text, timeout=20):
        with self.changed:
            found = self.changed.wait_for(lambda: text in self.screen(), timeout)
        assert found, f"`{text}` did not appear within {timeout} s on:\n{self.screen()}"

    def wait_ended(self):
        return self.process.wait(timeout=20)

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _read(self):
        try:
            while data := os.read(self.controller, 4096):
                with self.changed:
                    self.raw += data.decode(errors="replace")
                    self.changed.notify_all()
        except OSError:
            pass


@pytest.fixture
def chat(server):
    terminals = []

    def chat(*arguments):
        terminals.append(Terminal(server, *arguments))
        return terminals[-1]

    yield chat
    for terminal in terminals:
        terminal.stop()


def test_two_people_talk(chat):
    alice, bob = chat("--as", "alice"), chat("--as", "bob")
    alice.type("hi bob")
    alice.wait_for("1 alice  hi bob")
    bob.wait_for("1 alice  hi bob")
    bob.type("hi alice, 你好")
    alice.wait_for("2 bob  hi alice, 你好")
    bob.type("/quit")
    assert bob.wait_ended() == 0
    assert alice.lines() == ["1 alice  hi bob", "2 bob  hi alice, 你好"]
    assert "\x1b[" in alice.raw, "a terminal gets colours"


def test_the_last_twenty_are_shown_at_the_start(server, chat):
    with server.client("bob") as bob:
        for n in range(1, 31):
            bob.sent("lobby", f"m{n}")
    alice = chat("--as", "alice")
    alice.wait_for("30 bob  m30")
    assert alice.lines()[0] == "11 bob  m11" and len(alice.lines()) == 20


def test_commands_make_and_change_conversations(chat):
    alice, bob = chat("--as", "alice"), chat("--as", "bob")
    bob.type("in the lobby")
    alice.wait_for("1 bob  in the lobby")
    alice.type("/new ops bob")
    alice.wait_for("talking in ops")
    alice.type("to ops")
    bob.wait_for("[ops] 1 alice  to ops")
    bob.type("/dm alice")
    bob.wait_for("talking in alice:bob")
    bob.type("only us")
    alice.wait_for("[alice:bob] 1 bob  only us")
    alice.type("/list")
    alice.wait_for("alice:bob  ONE_TO_ONE")
    alice.type("/fly")
    alice.wait_for("unknown command `/fly`")


def test_a_lost_server_costs_nothing(server, chat):
    alice, bob = chat("--as", "alice"), chat("--as", "bob")
    alice.type("before")
    bob.wait_for("1 alice  before")
    server.kill()
    alice.wait_for("connecting again")
    bob.wait_for("connecting again")
    alice.type("typed while away")
    alice.wait_for("kept until the connection is back")
    server.start()
    alice.wait_for("2 alice  typed while away")
    bob.wait_for("2 alice  typed while away")
    bob.type("after")
    for terminal in (alice, bob):
        terminal.wait_for("3 bob  after")
        assert [line.split()[0] for line in terminal.lines()] == ["1", "2", "3"], terminal.screen()


def test_a_goodbye_is_followed_by_a_new_connection(server, chat):
    alice = chat("--as", "alice")
    alice.type("one")
    alice.wait_for("1 alice  one")
    assert server.terminate() == 0
    alice.wait_for("connecting again")
    server.start()
    alice.type("two")
    alice.wait_for("2 alice  two")


def piped(server, text, *arguments):
    return server.run("chat", *arguments, input=text)


def test_a_pipe_sends_every_line_and_ends_after_the_acks(server):
    ran = piped(server, "".join(f"line {n}\n" for n in range(1, 51)), "--as", "alice", "--device", "script")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [f"{n} alice  line {n}" for n in range(1, 51)]
    with server.client("bob") as bob:
        assert [m["text"] for m in bob.history("lobby")] == [f"line {n}" for n in range(1, 51)]


def test_a_refused_line_fails_the_pipe(server):
    server.group("team", "bob")
    ran = piped(server, "hello\n", "--as", "alice", "--conversation", "team")
    assert ran.returncode == 1 and "NOT_A_MEMBER" in ran.stderr


def test_without_a_server_it_says_what_to_do(make_server):
    server = make_server(start=False)
    ran = piped(server, "hello\n", "--as", "alice")
    assert ran.returncode == 1 and "imflow run" in ran.stderr and str(server.port) in ran.stderr


def test_a_message_cannot_steer_the_terminal(server, chat):
    alice = chat("--as", "alice")
    alice.type("ready")
    alice.wait_for("1 alice  ready")
    with server.client("bob") as bob:
        bob.sent("lobby", "\x1b]0;owned\x07 \x1b[2Jgone")
    alice.wait_for("2 bob  \\u{1b}]0;owned\\u{7} \\u{1b}[2Jgone")
    assert "\x1b[2J" not in alice.raw
