"""Dialling on real sockets; only the clock is played."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from ipyproxy.net import sockets
from ipyproxy.net.address import TCPAddress, UNIXPath
from ipyproxy.net.sockets import Dial
from tests.polls import LOCALHOST, Poll


class Outcome:
    """What became of a dial."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.error: OSError | None = None

    def connected(self, sock: socket.socket) -> None:
        self.socket = sock

    def failed(self, error: OSError) -> None:
        self.error = error


class TestDial:
    def test_somebody_listens(self, poll: Poll) -> None:
        outcome = Outcome()
        with socket.create_server((LOCALHOST, 0)) as server:
            Dial(poll, server.getsockname(), 2.0, outcome.connected, outcome.failed)
            poll.look()
            assert outcome.socket is not None
            with outcome.socket as sock, server.accept()[0] as other:
                assert sock.getsockname() == other.getpeername()
        assert (poll.writers, poll.getDelayedCalls()) == ([], [])

    def test_nobody_listens(self, poll: Poll) -> None:
        outcome = Outcome()
        with socket.create_server((LOCALHOST, 0)) as server:
            address = server.getsockname()
        Dial(poll, address, 2.0, outcome.connected, outcome.failed)
        poll.advance(0)
        if poll.writers:
            poll.look()
        assert outcome.error is not None
        assert outcome.error.errno == errno.ECONNREFUSED
        assert (poll.writers, poll.getDelayedCalls()) == ([], [])

    def test_nobody_takes_it_in_time(self, poll: Poll) -> None:
        outcome = Outcome()
        with socket.create_server((LOCALHOST, 0), backlog=0) as server:
            queued = [socket.socket() for _ in range(3)]
            for sock in queued:
                sock.setblocking(False)
                sock.connect_ex(server.getsockname())
            Dial(poll, server.getsockname(), 2.0, outcome.connected, outcome.failed)
            assert not poll.look(0.05)
            poll.advance(1.9)
            assert outcome.error is None
            poll.advance(0.2)
            assert isinstance(outcome.error, TimeoutError)
            for sock in queued:
                sock.close()
        assert (poll.writers, poll.getDelayedCalls()) == ([], [])

    def test_it_is_not_late_if_only_we_are(self, poll: Poll) -> None:
        outcome = Outcome()
        with socket.create_server((LOCALHOST, 0)) as server:
            Dial(poll, server.getsockname(), 2.0, outcome.connected, outcome.failed)
            poll.advance(5)
            assert outcome.socket is not None
            outcome.socket.close()
        assert (poll.writers, poll.getDelayedCalls()) == ([], [])

    def test_given_up_it_says_nothing(self, poll: Poll) -> None:
        outcome = Outcome()
        with socket.create_server((LOCALHOST, 0)) as server:
            dial = Dial(poll, server.getsockname(), 2.0, outcome.connected, outcome.failed)
            dial.cancel()
            poll.advance(5)
        assert (outcome.socket, outcome.error, dial.fileno()) == (None, None, -1)
        assert (poll.writers, poll.getDelayedCalls()) == ([], [])

    def test_a_dial_that_cannot_even_begin_fails_later(self, poll: Poll) -> None:
        outcome = Outcome()
        Dial(poll, TCPAddress("255.255.255.255", 80), 2.0, outcome.connected, outcome.failed)
        assert outcome.error is None
        poll.advance(0)
        assert outcome.error is not None

    def test_a_unix_socket_is_dialled_by_its_path(self, poll: Poll, tmp_path: Path) -> None:
        outcome, path = Outcome(), str(tmp_path / "app.sock")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen()
            Dial(poll, UNIXPath(path), 2.0, outcome.connected, outcome.failed)
            poll.look()
            assert outcome.socket is not None
            with outcome.socket as sock, server.accept()[0] as other:
                sock.sendall(b"hello")
                assert other.recv(5) == b"hello"
        assert (poll.writers, poll.getDelayedCalls()) == ([], [])

    @pytest.mark.parametrize(
        ("is_there", "code"), [(False, errno.ENOENT), (True, errno.ECONNREFUSED)]
    )
    def test_at_a_path_nobody_listens(
        self, poll: Poll, tmp_path: Path, is_there: bool, code: int
    ) -> None:
        outcome, path = Outcome(), str(tmp_path / "app.sock")
        if is_there:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(path)
        Dial(poll, UNIXPath(path), 2.0, outcome.connected, outcome.failed)
        poll.advance(0)
        assert outcome.error is not None
        assert outcome.error.errno == code

    def test_where_the_queue_of_a_path_is_full_it_waits_for_its_turn(
        self, poll: Poll, tmp_path: Path
    ) -> None:
        path = str(tmp_path / "app.sock")
        with ExitStack() as stack:
            server = stack.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(path)
            server.listen(0)
            first = stack.enter_context(socket.socket(socket.AF_UNIX))
            first.connect(path)
            late, patient = Outcome(), Outcome()
            Dial(poll, UNIXPath(path), 0.5, late.connected, late.failed)
            Dial(poll, UNIXPath(path), 2.0, patient.connected, patient.failed)
            for _ in range(60):
                poll.advance(0.01)
            assert isinstance(late.error, TimeoutError)
            assert (patient.socket, patient.error) == (None, None)
            stack.enter_context(server.accept()[0])
            poll.advance(0.05)
            poll.look()
            assert patient.socket is not None
            patient.socket.close()
        assert (poll.writers, poll.getDelayedCalls()) == ([], [])

    def test_a_socket_that_met_itself_is_no_connection(self) -> None:
        with socket.socket() as sock:
            sock.bind((LOCALHOST, 0))
            sock.connect(sock.getsockname())
            assert sockets._is_its_own_peer(sock)

    def test_then_nobody_listened(self, poll: Poll, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sockets, "_is_its_own_peer", lambda sock: True)
        outcome = Outcome()
        with socket.create_server((LOCALHOST, 0)) as server:
            Dial(poll, server.getsockname(), 2.0, outcome.connected, outcome.failed)
            poll.look()
        assert outcome.error is not None
        assert outcome.error.errno == errno.ECONNREFUSED
