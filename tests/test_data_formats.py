"""A data directory of each earlier format opens, whole; one of a later format is refused. See fixtures/make.py."""

import json
import pathlib
import struct
import tarfile

import pytest

from fixtures.make import outline

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
FORMATS = sorted(path.name.removesuffix(".tar.xz") for path in FIXTURES.glob("*.tar.xz"))


@pytest.fixture(params=FORMATS)
def kept(request, make_server):
    """A server on a copy of the directory, not started yet, and what must be found there."""
    server = make_server("sinks.store.segment=1MiB", start=False)
    with tarfile.open(FIXTURES / f"{request.param}.tar.xz") as archive:
        archive.extractall(server.home, filter="data")
    return server, json.loads((FIXTURES / f"{request.param}.json").read_text())


def test_there_is_a_fixture_of_the_first_format():
    assert "data-v1" in FORMATS


@pytest.mark.parametrize("index", ["kept", "rebuilt"])
def test_a_kept_data_directory_opens_whole(kept, index):
    server, expected = kept
    if index == "rebuilt":
        for path in sorted((server.data / "index").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    server.start()
    with server.client("alice") as alice, server.client("bob") as bob:
        clients = {"alice": alice, "bob": bob}
        for name, items in expected["history"].items():
            assert [outline(message) for message in bob.history(name)] == items
        for entry in expected["resent"]:
            assert clients[entry["sender"]].ask(send=entry["message"])["ack"] == entry["ack"]
        for name, items in expected["history"].items():
            ack = bob.sent(name, "goes on")
            assert ack["seq"] == items[-1][0] + 1
            assert int(ack["serverMsgId"]) > max(int(item[1]) for item in items)
    for user, code in expected["refused"].items():
        with server.client(user) as client:
            assert client.refused(send=client.message("team", "no"))["code"] == code


def overwrite(path, at, new):
    content = bytearray(path.read_bytes())
    content[at : at + len(new)] = new
    path.write_bytes(content)


def refusal(server):
    server.launch()
    assert server.wait_failed() == 1, server.output()
    return server.output()


def test_a_log_of_a_later_format_is_refused(kept):
    server, _ = kept
    meta = server.data / "log" / "META"
    meta.write_text(meta.read_text().replace("version = 1", "version = 99"))
    output = refusal(server)
    assert "META" in output and "version 99" in output and "start the build that" in output, output


def test_a_snapshot_of_a_later_format_is_refused(kept):
    server, _ = kept
    path = server.data / "snapshots" / "07.snap"
    # The version of the state is what follows the head of the file; a snapshot carries its checksum.
    content = bytearray(path.read_bytes())
    content[24:26] = struct.pack("<H", 99)
    content[12:16] = struct.pack("<I", crc32c(content[16:]))
    path.write_bytes(content)
    output = refusal(server)
    assert "partition 7" in output and "version 99" in output and "start the build that" in output, output


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
