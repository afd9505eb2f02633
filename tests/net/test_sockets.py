"""Listening, and PROXY headers, on real sockets; only the clock is played."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress

from ipyproxy.net.sockets import Announcement, Listener, claim_descriptors
from tests.polls import LOCALHOST, Poll

HEADER = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n"


class BoundPort:
    """What an endpoint's ``listen`` gives, as far as a listener needs it."""

    def __init__(self) -> None:
        self.socket = socket.create_server((LOCALHOST, 0))
        self.stopped = 0

    def fileno(self) -> int:
        return self.socket.fileno()

    def stopReading(self) -> None:
        pass

    def stopListening(self) -> None:
        self.stopped += 1
        self.socket.close()


class Counter:
    """Takes connections, as a server does."""

    def __init__(self) -> None:
        self.taken: list[tuple[socket.socket, IAddress]] = []

    def __call__(self, sock: socket.socket, peer: IAddress) -> None:
        self.taken.append((sock, peer))

    def close(self) -> None:
        for sock, _ in self.taken:
            sock.close()


@pytest.fixture
def counter() -> Iterator[Counter]:
    made = Counter()
    yield made
    made.close()


def connect(listener: Listener) -> socket.socket:
    address: Any = listener.address
    return socket.create_connection((LOCALHOST, address.port), timeout=5)


class TestListener:
    def test_what_connects_is_handed_on(self, poll: Poll, counter: Counter) -> None:
        listener = Listener(poll, BoundPort(), counter)
        with connect(listener) as client:
            poll.look()
            (sock, peer) = counter.taken[0]
            assert peer == IPv4Address("TCP", *client.getsockname())
            assert not sock.getblocking()
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        listener.stop()

    def test_a_client_that_vanishes_is_missed_though_nothing_is_sent(
        self, poll: Poll, counter: Counter
    ) -> None:
        listener = Listener(poll, BoundPort(), counter)
        with connect(listener):
            poll.look()
            (sock, _) = counter.taken[0]
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            assert [sock.getsockopt(socket.IPPROTO_TCP, each) for each in options] == [60, 15, 4]
            # It would end a download that its reader has paused.
            assert not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        listener.stop()

    def test_many_in_one_go_but_not_all(self, poll: Poll, counter: Counter) -> None:
        listener = Listener(poll, BoundPort(), counter)
        clients = [connect(listener) for _ in range(40)]
        poll.look()
        assert len(counter.taken) == 8
        for _ in range(4):
            poll.look()
        assert len(counter.taken) == 40
        for client in clients:
            client.close()
        listener.stop()

    def test_a_mistake_costs_one_connection(self, poll: Poll) -> None:
        def fail(sock: socket.socket, peer: IAddress) -> None:
            raise RuntimeError("a mistake of ours")

        listener = Listener(poll, BoundPort(), fail)
        for _ in range(2):
            with connect(listener) as client:
                poll.look()
                assert client.recv(1) == b""
        assert poll.readers == [listener]
        listener.stop()

    def test_without_descriptors_it_pauses_instead_of_spinning(
        self, poll: Poll, counter: Counter
    ) -> None:
        listener = Listener(poll, BoundPort(), counter)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with connect(listener):
            lowest = os.dup(0)
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
            try:
                poll.look()
                assert (counter.taken, poll.readers) == ([], [])
                poll.advance(0.3)
                poll.look()
                assert (counter.taken, poll.readers) == ([], [])
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            poll.advance(0.3)
            poll.look()
            assert len(counter.taken) == 1
        listener.stop()

    def test_once_stopped_it_is_closed(self, poll: Poll, counter: Counter) -> None:
        port = BoundPort()
        listener = Listener(poll, port, counter)
        address: Any = listener.address
        listener.stop()
        assert (port.stopped, poll.readers, listener.fileno()) == (1, [], -1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((LOCALHOST, address.port), timeout=5)

    def test_stopped_in_a_pause_it_does_not_come_back(self, poll: Poll, counter: Counter) -> None:
        listener = Listener(poll, BoundPort(), counter)
        listener._pause(OSError(errno.EMFILE, "full"))
        listener.stop()
        poll.advance(1)
        assert poll.readers == []


class TestAnnouncement:
    @pytest.fixture
    def pair(self) -> Iterator[tuple[socket.socket, socket.socket]]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        yield ours, theirs
        ours.close()
        theirs.close()

    PEER = IPv4Address("TCP", "10.0.0.5", 50000)

    def test_the_header_says_who_connects_and_nothing_else_is_taken(
        self, poll: Poll, counter: Counter, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, theirs = pair
        Announcement(poll, ours, self.PEER, 10.0, counter)
        theirs.send(HEADER + b"\x16\x03\x01 hello")
        poll.look()
        assert counter.taken == [(ours, IPv4Address("TCP", "192.0.2.7", 4711))]
        assert ours.recv(100) == b"\x16\x03\x01 hello"
        assert (poll.readers, poll.getDelayedCalls()) == ([], [])

    def test_it_may_come_byte_by_byte_and_nobody_spins(
        self, poll: Poll, counter: Counter, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, theirs = pair
        Announcement(poll, ours, self.PEER, 10.0, counter)
        for at in range(len(HEADER)):
            assert counter.taken == []
            theirs.send(HEADER[at : at + 1])
            assert poll.look()
            assert not poll.look(0)
        assert [peer for _, peer in counter.taken] == [IPv4Address("TCP", "192.0.2.7", 4711)]

    def test_a_header_that_names_nobody_is_the_proxy_itself(
        self, poll: Poll, counter: Counter, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, theirs = pair
        Announcement(poll, ours, self.PEER, 10.0, counter)
        theirs.send(b"PROXY UNKNOWN\r\n")
        poll.look()
        assert counter.taken == [(ours, self.PEER)]

    @pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"])
    def test_anything_else_is_closed(
        self,
        poll: Poll,
        counter: Counter,
        pair: tuple[socket.socket, socket.socket],
        sent: bytes,
    ) -> None:
        ours, theirs = pair
        Announcement(poll, ours, self.PEER, 10.0, counter)
        theirs.send(sent)
        poll.look()
        assert (counter.taken, ours.fileno()) == ([], -1)
        assert (poll.readers, poll.getDelayedCalls()) == ([], [])

    def test_half_a_header_is_closed_in_time(
        self, poll: Poll, counter: Counter, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, theirs = pair
        Announcement(poll, ours, self.PEER, 10.0, counter)
        theirs.send(HEADER[:-1])
        poll.look()
        poll.advance(9.9)
        assert ours.fileno() != -1
        poll.advance(0.2)
        assert (counter.taken, ours.fileno(), poll.readers) == ([], -1, [])

    def test_one_that_hangs_up_is_closed(
        self, poll: Poll, counter: Counter, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, theirs = pair
        Announcement(poll, ours, self.PEER, 10.0, counter)
        theirs.send(HEADER[:-1])
        theirs.close()
        poll.look()
        poll.look()
        assert (counter.taken, ours.fileno(), poll.getDelayedCalls()) == ([], -1, [])


class TestDescriptors:
    @pytest.fixture(autouse=True)
    def limits(self) -> Iterator[tuple[int, int]]:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        yield before
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    def test_the_limit_is_raised_to_what_is_wanted(self, limits: tuple[int, int]) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
        assert claim_descriptors(300) == 300
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (300, limits[1])

    def test_but_not_beyond_what_is_allowed(self, limits: tuple[int, int]) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
        assert claim_descriptors(limits[1] + 1) == limits[1]

    def test_and_never_lowered(self, limits: tuple[int, int]) -> None:
        assert claim_descriptors(10) == limits[0]
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits
