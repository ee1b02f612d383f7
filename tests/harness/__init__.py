"""What the end-to-end tests share: a server process, clients of both encodings, the HTTP API."""
