"""Ending: clients are told to go in their turn, and the service manager is told all along."""

import os
import signal
import socket
import threading
import time


def test_goodbyes_are_spread_and_say_when_to_come_back(make_server):
    # 100 connections take a tenth of the time that 1,000 take.
    server = make_server("sources.clients.drain_over=20s")
    clients = [server.client("alice" if n % 2 else "bob", f"d{n}") for n in range(60)]
    gone = []

    def follow(client):
        client.wait_closed()
        gone.append(time.monotonic())

    followers = [threading.Thread(target=follow, args=(client,)) for client in clients]
    for follower in followers:
        follower.start()
    start = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    # One whose turn comes later is served meanwhile.
    assert "pong" in clients[-1].ask(ping={}) or gone
    for follower in followers:
        follower.join(20)
    assert server.process.wait(timeout=30) == 0
    spread = max(gone) - min(gone)
    assert 0.8 <= spread <= 4 and max(gone) - start < 5, spread
    assert {client.close_code for client in clients} == {4412}
    pauses = [client.goodbye.get("retryAfterMs", 0) for client in clients]
    assert max(pauses) <= 20_000 and max(pauses) - min(pauses) > 5_000, pauses


def test_the_service_manager_hears_ready_alive_and_stopping(make_server, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(20)
        server = make_server(env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"}, start=False)
        server.launch()
        heard = []

        def hear(word):
            while True:
                heard.append(manager.recv(4096).decode().splitlines()[0])
                if heard[-1] == word:
                    return

        hear("READY=1")
        # It may be asked now, without waiting.
        assert server.is_ready()
        hear("WATCHDOG=1")
        hear("WATCHDOG=1")
        server.process.send_signal(signal.SIGTERM)
        hear("STOPPING=1")
        assert server.process.wait(timeout=30) == 0
        assert heard.count("READY=1") == heard.count("STOPPING=1") == 1


def test_an_abstract_socket_and_a_manager_that_is_gone_do_no_harm(make_server):
    name = f"imflow-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        manager.settimeout(20)
        server = make_server(env={"NOTIFY_SOCKET": "@" + name})
        assert manager.recv(4096).startswith(b"READY=1")
    # STOPPING finds nobody.
    assert server.terminate() == 0
