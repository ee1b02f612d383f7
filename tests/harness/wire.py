"""The two encodings behind one shape: an envelope is the dict of its JSON form.

The protobuf side is compiled from the repository's own schema, so the tests cannot drift from it.
"""

import functools
import importlib
import json
import pathlib
import sys
import tempfile

REPO = pathlib.Path(__file__).resolve().parents[2]

# protobuf's JSON form writes 64-bit integers as text; ours writes these as numbers.
NUMBERS = {
    "id", "seq", "afterSeq", "lastSeq", "upToSeq", "readSeq", "deliveredSeq", "read", "delivered", "unread", "targetSeq",
    "replyTo", "createdAt", "revokedAt", "editedAt", "at", "serverTime", "retryAfterMs", "indexedUpTo",
}


@functools.cache
def schema():
    """The module generated from `envelope.proto`, compiled into a temporary directory."""
    from grpc_tools import protoc

    source = REPO / "proto" / "proto"
    with tempfile.TemporaryDirectory(prefix="imflow-proto-") as out:
        status = protoc.main(["protoc", f"-I{source}", f"--python_out={out}", str(source / "envelope.proto")])
        assert status == 0, "protoc failed on envelope.proto"
        sys.path.insert(0, out)
        try:
            return importlib.import_module("envelope_pb2")
        finally:
            sys.path.remove(out)


class Json:
    subprotocol = "imflow.v1.json"

    @staticmethod
    def encode(envelopes):
        return "\n".join(json.dumps(envelope, ensure_ascii=False) for envelope in envelopes)

    @staticmethod
    def decode(frame):
        assert isinstance(frame, str), "a JSON client got a binary frame"
        return [json.loads(line) for line in frame.split("\n") if line.strip()]


class Proto:
    subprotocol = "imflow.v1.proto"

    @staticmethod
    def encode(envelopes):
        from google.protobuf.json_format import ParseDict

        frame = b""
        for envelope in envelopes:
            encoded = ParseDict(envelope, schema().Envelope()).SerializeToString()
            frame += varint(len(encoded)) + encoded
        return frame

    @staticmethod
    def decode(frame):
        from google.protobuf.json_format import MessageToDict

        assert isinstance(frame, bytes), "a protobuf client got a text frame"
        envelopes, at = [], 0
        while at < len(frame):
            length, at = read_varint(frame, at)
            envelope = schema().Envelope.FromString(frame[at : at + length])
            envelopes.append(plain(MessageToDict(envelope, always_print_fields_with_no_presence=True)))
            at += length
        return envelopes


FORMATS = {"json": Json, "proto": Proto}


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data, at):
    value, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def plain(value):
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {
            key: int(item) if key in NUMBERS and isinstance(item, str) else plain(item) for key, item in value.items()
        }
    return value
