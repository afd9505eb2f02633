"""The status listener on real sockets, on a reactor that the test turns."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IAddress

from ipyproxy.status.serving import SOCKET, StatusServer
from tests.front import LIMITS

from .office import Office

QUESTION = b"GET /_ipyproxy/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Stand:
    """A status server, and clients that connect to it."""

    def __init__(self) -> None:
        self.reactor: Any = EPollReactor()
        office: Any = Office()
        site = office.server.site
        self.server = StatusServer(self.reactor, self.reactor, site, LIMITS)

    def turn(self) -> None:
        self.reactor.runUntilCurrent()
        self.reactor.doIteration(0.01)

    def listen(self, where: int | str | None, directory: Path) -> IAddress | None:
        return self.server.listen(where, directory)

    def ask(self, family: int, address: Any) -> bytes:
        with socket.socket(family) as client:
            client.settimeout(5)
            client.connect(address)
            client.sendall(QUESTION)
            for _ in range(20):
                self.turn()
            return client.recv(4096)

    def stop(self) -> None:
        self.server.stop()
        for _ in range(5):
            self.turn()


@pytest.fixture
def stand() -> Iterator[Stand]:
    made = Stand()
    yield made
    made.stop()


def test_the_usual_socket_is_for_this_user_only_and_leaves_with_the_daemon(
    stand: Stand, tmp_path: Path
) -> None:
    directory = tmp_path / "made" / "on the way"
    assert stand.listen("unix", directory) is not None
    path = directory / SOCKET
    assert stat.filemode(path.stat().st_mode) == "srw-------"
    assert stand.ask(socket.AF_UNIX, str(path)).endswith(b"\r\n\r\nalive\n")
    stand.stop()
    assert not path.exists()


def test_a_socket_that_a_dead_process_left_is_replaced(stand: Stand, tmp_path: Path) -> None:
    path = tmp_path / SOCKET
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert stand.listen("unix", tmp_path) is not None
    assert stand.ask(socket.AF_UNIX, str(path)).startswith(b"HTTP/1.1 200 OK")


def test_a_second_daemon_waits_until_the_socket_is_given_up(stand: Stand, tmp_path: Path) -> None:
    path = tmp_path / SOCKET
    assert stand.listen("unix", tmp_path) is not None
    successor = Stand()
    assert successor.listen("unix", tmp_path) is None
    assert successor.server.sweep() is None
    assert stand.ask(socket.AF_UNIX, str(path)).startswith(b"HTTP/1.1 200 OK")
    stand.server.give_up_place()
    later = successor.reactor.seconds() + 3
    successor.reactor.seconds = lambda: later
    assert successor.server.sweep() is not None
    assert successor.ask(socket.AF_UNIX, str(path)).startswith(b"HTTP/1.1 200 OK")
    stand.stop()
    assert successor.ask(socket.AF_UNIX, str(path)).startswith(b"HTTP/1.1 200 OK")
    successor.stop()
    assert not path.exists()


def test_a_file_in_its_place_is_left_alone(stand: Stand, tmp_path: Path) -> None:
    (tmp_path / SOCKET).write_text("precious")
    assert stand.listen("unix", tmp_path) is None
    assert (tmp_path / SOCKET).read_text() == "precious"


def test_a_directory_that_cannot_be_is_no_end(stand: Stand, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert stand.listen("unix", tmp_path / "file" / "below") is None
    assert stand.listen("unix", tmp_path / ("x" * 120)) is None


def test_a_port_is_one_of_loopback(stand: Stand, tmp_path: Path) -> None:
    address: Any = stand.listen(0, tmp_path)
    assert address.host == "127.0.0.1"
    answer = stand.ask(socket.AF_INET, ("127.0.0.1", address.port))
    assert answer.endswith(b"\r\n\r\nalive\n")


def test_an_endpoint_that_was_asked_for_and_is_taken_ends_the_process(
    stand: Stand, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match="cannot listen on tcp:"):
            stand.listen(port, tmp_path)


def test_none_is_none(stand: Stand, tmp_path: Path) -> None:
    assert stand.listen(None, tmp_path) is None
    assert list(tmp_path.iterdir()) == []
