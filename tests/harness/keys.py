"""A connection to Redis, just enough of one."""

import socket


class Keys:
    def __init__(self, url):
        host, _, port = url.removeprefix("redis://").removesuffix("/0").partition(":")
        self.socket = socket.create_connection((host, int(port)), 5)
        self.file = self.socket.makefile("rb")

    def ask(self, *words):
        words = [word.encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        return self._answer()

    def _answer(self):
        line = self.file.readline().strip().decode()
        kind, rest = line[0], line[1:]
        if kind == "$":
            return None if rest == "-1" else self.file.read(int(rest) + 2)[:-2].decode()
        if kind == "*":
            return [self._answer() for _ in range(int(rest))]
        assert kind != "-", line
        return int(rest) if kind == ":" else rest
