"""Operators without Rust, in a live service."""

import json
import time

from harness.client import PATIENCE
from harness.wire import REPO

ORDERS = """
[operators.orders]
kind = "filter"
inputs = ["store.committed"]
where = "int(text) > 100"

[sinks.orders_file]
kind = "file"
inputs = ["orders"]
path = "{home}/orders.ndjson"
"""


def wait_for(is_there, what):
    deadline = time.monotonic() + PATIENCE
    while not is_there():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)


def test_an_expression_without_a_value_is_counted_and_stops_nothing(make_server, tmp_path):
    config = tmp_path / "dataflow.toml"
    config.write_text((REPO / "dataflow.toml").read_text() + ORDERS.format(home=tmp_path))
    # The port `errors` is wired to nothing, and still nobody needs to guess.
    server = make_server(config=config)
    with server.client("alice") as alice:
        for text in ("200", "two", "three", "four", "300"):
            alice.sent("lobby", text)
    log = lambda: server.log.read_text(errors="replace")
    wait_for(lambda: all(f"count={count} " in log() for count in (1, 2)), log)
    (first,) = (line for line in log().splitlines() if "count=1 " in line)
    assert 'port="orders.errors"' in first and 'option="where"' in first
    assert "count=3" not in log(), "the first and each doubling, not each record"
    orders = tmp_path / "orders.ndjson"
    wait_for(lambda: orders.exists() and len(orders.read_text().splitlines()) == 2, log)
    assert [json.loads(line)["text"] for line in orders.read_text().splitlines()] == ["200", "300"]
