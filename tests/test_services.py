"""The servers that other tests lean on: killed, they come back where they were, with what they had."""

import socket


def ask(address, *words):
    """One command to Redis; its answer as it came."""
    host, _, port = address.removeprefix("redis://").removesuffix("/0").partition(":")
    with socket.create_connection((host, int(port)), 5) as redis:
        redis.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        return redis.recv(4096)


def test_a_killed_server_comes_back_with_its_data(services):
    services.up(["redis"])
    address = services.url("redis")
    assert ask(address, b"SET", b"key", b"kept") == b"+OK\r\n"
    ask(address, b"WAITAOF", b"1", b"0", b"5000")  # until it is on the disk; before 7.2 unknown
    services.kill("redis")
    assert not services.is_running("redis")
    services.start("redis")
    assert services.url("redis") == address
    assert ask(address, b"GET", b"key") == b"$4\r\nkept\r\n"


def test_stopped_servers_leave_nothing(services):
    services.up(["redis"])
    place = services.place("redis")
    services.down()
    assert not place.data.exists() and not services.file.exists()
    services.down()
