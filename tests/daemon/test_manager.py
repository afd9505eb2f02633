"""What systemd hears: datagrams out, and no beat unless descriptors are served."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipyproxy.daemon.systemd import Manager
from ipyproxy.net.descriptors import EpollSet
from tests.polls import Poll


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket such as NOTIFY_SOCKET names."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.setblocking(False)
        yield made


def heard(ear: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(ear.recv(4096).decode())
        except BlockingIOError:
            return messages


def manager_at(ear: socket.socket, **more: str) -> Manager:
    return Manager({"NOTIFY_SOCKET": ear.getsockname(), **more})


def test_each_step_is_one_message(ear: socket.socket) -> None:
    manager = manager_at(ear)
    manager.ready()
    manager.reloading()
    manager.stopping(45)
    ready, reloading, stopping = heard(ear)
    assert ready == "READY=1"
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert stopping == "STOPPING=1\nEXTEND_TIMEOUT_USEC=60000000"
    manager.leave()
    manager.ready()
    assert heard(ear) == []


def test_a_status_is_told_when_it_changes(ear: socket.socket) -> None:
    manager = manager_at(ear)
    for text in ("serving", "serving", "draining"):
        manager.status(text)
    assert heard(ear) == ["STATUS=serving", "STATUS=draining"]
    manager.leave()


def test_an_abstract_socket_is_found() -> None:
    name = f"ipyproxy-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(f"\0{name}")
        ear.setblocking(False)
        manager = Manager({"NOTIFY_SOCKET": f"@{name}"})
        manager.ready()
        assert heard(ear) == ["READY=1"]
        manager.leave()


@pytest.mark.parametrize("environment", [
    {},
    {"NOTIFY_SOCKET": ""},
    {"NOTIFY_SOCKET": "vsock:2:1234"},
    {"NOTIFY_SOCKET": "/no/such/socket"},
])  # fmt: skip
def test_where_nobody_listens_nothing_happens(environment: dict[str, str]) -> None:
    manager = Manager(environment)
    manager.keep_watch(None, None)  # type: ignore[arg-type]  # neither is touched
    manager.ready()
    manager.stopping(1)
    manager.leave()


def test_it_beats_only_while_its_descriptors_are_served(ear: socket.socket) -> None:
    reactor = Poll()
    descriptors = EpollSet(reactor)
    manager = manager_at(ear, WATCHDOG_USEC="10000000", WATCHDOG_PID=str(os.getpid()))
    manager.keep_watch(reactor, descriptors)
    for _ in range(3):
        reactor.rest()
        assert heard(ear) == ["WATCHDOG=1"]
        reactor.rest()
        assert heard(ear) == []
        reactor.advance(4)
    # Time goes by, but nobody's turn comes.
    heard(ear)
    reactor.advance(40)
    assert heard(ear) == []
    reactor.rest()
    assert heard(ear) == ["WATCHDOG=1"]
    manager.leave()
    reactor.advance(40)
    reactor.rest()
    assert heard(ear) == []
    assert not reactor.getDelayedCalls()
    descriptors.connectionLost(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("wanted", [
    {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
    {"WATCHDOG_USEC": "soon"},
    {"WATCHDOG_USEC": "0"},
    {},
])  # fmt: skip
def test_nobody_is_fed_that_did_not_ask_us(ear: socket.socket, wanted: dict[str, str]) -> None:
    manager = manager_at(ear, **wanted)
    manager.keep_watch(None, None)  # type: ignore[arg-type]  # neither is touched
    assert heard(ear) == []
    manager.leave()
