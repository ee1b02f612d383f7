"""Clients that mean harm: each is bounded and closed with its code, and nobody else notices."""

import contextlib
import os
import random
import socket
import struct
import time

import pytest

from harness import raw
from harness.metrics import scrape


@pytest.fixture
def hostile(make_server):
    """A server with short deadlines, and two who talk on it; at the end they still do."""
    server = make_server("sources.clients.message_timeout=1s", "sources.clients.ping_interval=2s")
    server.group("g", "carol", "dave")
    with server.client("carol") as carol, server.client("dave", format="proto") as dave:
        server.carol, before = carol, memory(server)
        yield server
        took = []
        for n in range(20):
            start = time.monotonic()
            ack = carol.sent("g", f"{n}")
            took.append(time.monotonic() - start)
            assert dave.push("message", where=lambda m: m["seq"] == ack["seq"])["text"] == f"{n}"
        assert sorted(took)[10] < 1, took
        assert memory(server) - before < 64 << 20, "what an attack costs is bounded"


def memory(server):
    with open(f"/proc/{server.process.pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def attack(server, user="mallory"):
    return raw.handshake(server, server.token(user))


def head(opcode, length, final=True):
    """The head of a masked frame, without its payload."""
    first = (0x80 if final else 0) | opcode
    mask = b"\0\0\0\0"
    if length < 126:
        return struct.pack("!BB", first, 0x80 | length) + mask
    if length < 65536:
        return struct.pack("!BBH", first, 0x80 | 126, length) + mask
    return struct.pack("!BBQ", first, 0x80 | 127, length) + mask


def flood(attacker, data, seconds=20):
    """Writes the same bytes over and over until the server closes; its close code."""
    attacker.settimeout(0.2)
    answer, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(TimeoutError):
            try:
                attacker.sendall(data)
                answer += attacker.recv(65536)
            except (ConnectionResetError, BrokenPipeError):
                return raw.close_code(answer)
            if raw.close_code(answer) is not None:
                return raw.close_code(answer)
    pytest.fail("the server let it go on")


def test_a_head_without_its_body_is_waited_for_no_longer_than_a_message_may_take(hostile):
    with attack(hostile) as attacker:
        attacker.sendall(head(1, 65_000))
        assert raw.close_code(raw.read_to_end(attacker)) == 4414


def test_a_message_that_drips_is_cut_off_though_it_never_stops(hostile):
    with attack(hostile) as attacker:
        attacker.sendall(head(1, 1_000))
        start = time.monotonic()
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while time.monotonic() - start < 10:
                attacker.sendall(b"x")
                time.sleep(0.1)
        assert time.monotonic() - start < 6


def test_a_head_that_promises_too_much_is_refused_before_anything_is_reserved(hostile):
    for length in (70_000, 1 << 30, 1 << 62):
        with attack(hostile) as attacker:
            attacker.sendall(head(2, length))
            assert raw.close_code(raw.read_to_end(attacker)) in (4513, 1002)


def test_a_flood_of_pings_is_ended_and_a_few_are_answered(hostile):
    with attack(hostile) as attacker:
        for _ in range(50):
            attacker.sendall(raw.frame(b"hi", opcode=9))
        answers = b""
        while answers.count(b"\x8a\x02hi") < 50:
            answers += attacker.recv(65536)
        assert flood(attacker, raw.frame(b"x" * 100, opcode=9) * 50) == 4529
    assert scrape(hostile).value("websocket_closed_total", node_name="clients", code="4529") == 1


def test_a_flood_of_empty_fragments_is_ended(hostile):
    with attack(hostile) as attacker:
        attacker.sendall(head(1, 0, final=False))
        assert flood(attacker, head(0, 0, final=False) * 5_000) in (4513, 4414)


def test_a_message_in_many_fragments_below_the_limit_is_read(hostile):
    hostile.group("m", "mallory", "carol")
    with attack(hostile) as attacker:
        text = b'{"id":1,"ping":{}}'
        for at, byte in enumerate(text):
            final, opcode = at == len(text) - 1, 0 if at else 1
            attacker.sendall(head(opcode, 1, final) + bytes([byte]))
            # Pings may come between.
            attacker.sendall(raw.frame(b"", opcode=9))
        answers = b""
        while b'"pong"' not in answers:
            answers += attacker.recv(65536)


def test_compression_is_not_taken(hostile):
    token = hostile.token("mallory")
    with socket.create_connection(("127.0.0.1", hostile.port), timeout=20) as attacker:
        attacker.sendall(
            f"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: imflow.v1.json\r\n"
            f"Sec-WebSocket-Extensions: permessage-deflate\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += attacker.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101") and b"xtensions" not in answer
        # Compressed all the same: the bit is not agreed on.
        attacker.sendall(bytes([0xC1, 0x80 | 5]) + bytes(4) + b"bombs")
        assert raw.close_code(raw.read_to_end(attacker)) == 1002


def test_one_who_went_away_without_a_word_is_forgotten(hostile):
    with attack(hostile):
        # Nothing answers its pings.
        deadline = time.monotonic() + 20
        while scrape(hostile).samples.get(("websocket_closed_total", frozenset({"node_name": "clients", "code": "4410"}.items()))) != 1:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_random_bytes_end_their_own_connection_only(hostile):
    rng = random.Random(7)
    for _ in range(60):
        with attack(hostile) as attacker:
            attacker.settimeout(20)
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                attacker.sendall(rng.randbytes(rng.randrange(1, 4_000)))
                attacker.shutdown(socket.SHUT_WR)
            raw.read_to_end(attacker)


def test_random_payloads_in_whole_frames_end_their_own_connection_only(hostile):
    rng = random.Random(8)
    for format, opcode in (("imflow.v1.json", 1), ("imflow.v1.proto", 2)):
        for _ in range(40):
            with raw.handshake(hostile, hostile.token("mallory"), format) as attacker:
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    attacker.sendall(raw.frame(rng.randbytes(rng.randrange(1, 500)), opcode))
                    attacker.sendall(raw.frame(b"\x03\xe8", opcode=8))
                raw.read_to_end(attacker)


def test_a_thousand_pending_handshakes_from_many_addresses_hold_nobody_up(make_server):
    server = make_server("listeners.main.max_pending_per_ip=100")
    server.group("g", "carol", "dave")
    half = b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    with server.client("carol") as carol, contextlib.ExitStack() as pending:
        for address in range(2, 14):
            for _ in range(90):
                source = (f"127.0.0.{address}", 0)
                one = pending.enter_context(socket.create_connection(("127.0.0.1", server.port), source_address=source))
                one.sendall(half)
        assert scrape(server).value("listener_pending", listener="main") > 500
        start = time.monotonic()
        with server.client("dave") as dave:
            ack = carol.sent("g", "hello")
            assert dave.push("message")["seq"] == ack["seq"]
        assert time.monotonic() - start < 3
