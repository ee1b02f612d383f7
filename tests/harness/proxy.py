"""A network that loses: a TCP proxy which leaves out frames from the server that hold a text."""

import socket
import threading


class LosingProxy:
    def __init__(self, port, text):
        self.port, self.text, self.lost = port, text.encode(), 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.port))
            threading.Thread(target=self._up, args=(client, server), daemon=True).start()
            threading.Thread(target=self._down, args=(server, client), daemon=True).start()

    def _up(self, client, server):
        try:
            while data := client.recv(65_536):
                server.sendall(data)
        except OSError:
            pass
        server.close()

    def _down(self, server, client):
        stream = server.makefile("rb")
        try:
            line = b""
            while line != b"\r\n":  # the answer to the upgrade
                line = stream.readline()
                client.sendall(line)
            while head := stream.read(2):
                length = head[1] & 0x7F  # a server does not mask
                more = stream.read({126: 2, 127: 8}.get(length, 0))
                body = stream.read(int.from_bytes(more, "big") if more else length)
                if self.text in body:
                    self.lost += 1
                else:
                    client.sendall(head + more + body)
        except (OSError, ValueError):
            pass
        client.close()
