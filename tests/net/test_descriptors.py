"""The epoll set: it calls what is ready, and a mistake in one descriptor is no harm to others."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet import error
from twisted.python.failure import Failure

from ipyproxy.net.address import TCPAddress
from ipyproxy.net.descriptors import EpollSet
from ipyproxy.net.sockets import Dial
from tests.polls import Poll


class Descriptor:
    """Notes how it is called."""

    def __init__(self, descriptors: EpollSet, sock: socket.socket) -> None:
        self.descriptors = descriptors
        self.socket = sock
        self.calls: list[str] = []
        self.lost: list[BaseException | None] = []
        self.on_read: Any = lambda: None
        self.on_write: Any = lambda: None
        self.on_lost: Any = lambda: None

    def fileno(self) -> int:
        return self.socket.fileno()

    def doRead(self) -> Any:
        self.calls.append("read")
        return self.on_read()

    def doWrite(self) -> Any:
        self.calls.append("write")
        return self.on_write()

    def connectionLost(self, reason: Failure) -> None:
        self.lost.append(reason.value)
        self.descriptors.removeReader(self)
        self.descriptors.removeWriter(self)
        self.on_lost()


@pytest.fixture
def descriptors(poll: Poll) -> EpollSet:
    return EpollSet(poll, turn=0)


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    made = [socket.socketpair() for _ in range(3)]
    yield made
    for pair in made:
        for sock in pair:
            sock.close()


Pairs = list[tuple[socket.socket, socket.socket]]


def test_what_is_ready_is_called_and_nothing_else(
    poll: Poll, descriptors: EpollSet, pairs: Pairs
) -> None:
    first, second, _ = (Descriptor(descriptors, ours) for ours, _ in pairs)
    descriptors.addReader(first)
    descriptors.addReader(second)
    descriptors.addWriter(second)
    poll.look()
    assert (first.calls, second.calls) == ([], ["write"])
    descriptors.removeWriter(second)
    pairs[0][1].send(b"x")
    poll.look()
    assert (first.calls, second.calls) == (["read"], ["write"])
    descriptors.removeReader(first)
    assert not poll.look(0.02)


def test_adding_and_removing_twice_does_no_harm(
    poll: Poll, descriptors: EpollSet, pairs: Pairs
) -> None:
    one = Descriptor(descriptors, pairs[0][0])
    for _ in range(2):
        descriptors.addReader(one)
        descriptors.addWriter(one)
    for _ in range(2):
        descriptors.removeReader(one)
        descriptors.removeWriter(one)
    pairs[0][1].send(b"x")
    assert not poll.look(0.02)


def test_a_descriptor_that_ends_is_told_why(
    poll: Poll, descriptors: EpollSet, pairs: Pairs
) -> None:
    one = Descriptor(descriptors, pairs[0][0])
    done = error.ConnectionDone()
    one.on_read = lambda: done
    descriptors.addReader(one)
    descriptors.addWriter(one)
    pairs[0][1].send(b"x")
    poll.look()
    assert (one.calls, one.lost) == (["read"], [done])


def test_a_mistake_is_the_end_of_one_only(poll: Poll, descriptors: EpollSet, pairs: Pairs) -> None:
    def fail() -> None:
        raise RuntimeError("a mistake of ours")

    broken, worse, sound = (Descriptor(descriptors, ours) for ours, _ in pairs)
    broken.on_read = worse.on_read = worse.on_lost = fail
    for one, (_, theirs) in zip((broken, worse, sound), pairs, strict=True):
        descriptors.addReader(one)
        theirs.send(b"x")
    for _ in range(3):
        poll.look()
    assert sound.calls[:1] == ["read"]
    assert [str(reason) for reason in broken.lost + worse.lost] == ["a mistake of ours"] * 2
    assert poll.readers == [descriptors]


def test_one_that_another_has_removed_is_not_called(
    poll: Poll, descriptors: EpollSet, pairs: Pairs
) -> None:
    both = [Descriptor(descriptors, ours) for ours, _ in pairs[:2]]
    for one, other in (both, both[::-1]):
        one.on_read = lambda other=other: descriptors.removeReader(other)
        descriptors.addReader(one)
    for _, theirs in pairs:
        theirs.send(b"x")
    poll.look()
    assert both[0].calls + both[1].calls == ["read"]


def test_a_number_that_is_used_again_is_the_new_descriptors(
    poll: Poll, descriptors: EpollSet, pairs: Pairs
) -> None:
    old = Descriptor(descriptors, pairs[0][0])
    descriptors.addReader(old)
    number = old.fileno()
    descriptors.removeReader(old)
    old.socket.close()
    os.dup2(pairs[1][0].fileno(), number)
    with socket.socket(fileno=number) as sock:
        new = Descriptor(descriptors, sock)
        descriptors.addReader(new)
        pairs[1][1].send(b"x")
        poll.look()
        assert (old.calls, new.calls) == ([], ["read"])
        descriptors.removeReader(new)


def test_what_the_kernel_refused_is_not_taken_for_watched(
    poll: Poll, descriptors: EpollSet, pairs: Pairs
) -> None:
    sock = pairs[0][0]
    number = sock.fileno()
    old = Descriptor(descriptors, sock)
    with tempfile.TemporaryFile() as file:
        kept = os.dup(number)
        os.dup2(file.fileno(), number)  # a plain file can't be watched: EPERM
        for add in descriptors.addReader, descriptors.addWriter:
            with pytest.raises(PermissionError):
                add(old)
        os.dup2(kept, number)
        os.close(kept)
    new = Descriptor(descriptors, sock)
    descriptors.addReader(new)
    pairs[0][1].send(b"x")
    poll.look()
    assert (old.calls, new.calls) == ([], ["read"])


@pytest.mark.parametrize("way", ["read", "write"])
def test_a_peer_that_is_gone_is_told_to_whoever_waits(
    poll: Poll, descriptors: EpollSet, pairs: Pairs, way: str
) -> None:
    ours, theirs = pairs[0]
    one = Descriptor(descriptors, ours)
    one.on_read = one.on_write = lambda: OSError(errno.EPIPE, "gone")
    (descriptors.addReader if way == "read" else descriptors.addWriter)(one)
    theirs.close()
    poll.look()
    assert (one.calls, len(one.lost)) == ([way], 1)


def test_at_the_end_all_are_told(poll: Poll, descriptors: EpollSet, pairs: Pairs) -> None:
    all_of_them = [Descriptor(descriptors, ours) for ours, _ in pairs]

    def fail() -> None:
        raise RuntimeError("a mistake of ours")

    all_of_them[0].on_lost = fail
    for one in all_of_them:
        descriptors.addReader(one)
    descriptors.connectionLost(Failure(error.ConnectionDone()))
    assert [len(one.lost) for one in all_of_them] == [1, 1, 1]
    assert (poll.readers, descriptors.fileno()) == ([], -1)


def test_a_turn_ends_in_time_and_the_others_come_first_in_the_next(
    poll: Poll, pairs: Pairs
) -> None:
    """However many are ready at once: timers and new connections wait for one turn at most."""
    descriptors = EpollSet(poll, turn=0.005)
    slow = [Descriptor(descriptors, ours) for ours, _ in pairs]
    for one, (_, theirs) in zip(slow, pairs, strict=True):
        one.on_read = lambda: poll.advance(0.004)
        descriptors.addReader(one)
        theirs.send(b"x")  # and nobody reads it, so all stay ready
    poll.look()
    assert sum(len(one.calls) for one in slow) == 2
    poll.look()
    assert [len(one.calls) for one in slow].count(0) == 0
    for _ in range(20):
        poll.look()
    counts = [len(one.calls) for one in slow]
    assert max(counts) - min(counts) <= 2, counts


def test_what_is_due_at_once_is_called_once_unless_it_is_cancelled(
    poll: Poll, descriptors: EpollSet
) -> None:
    said: list[str] = []
    first, second = (descriptors.callLater(0, said.append, word) for word in ("one", "two"))
    second.cancel()
    assert (first.active(), second.active()) == (True, False)
    for _ in range(3):
        poll.look(0.01)
    assert (said, first.active()) == (["one"], False)


def test_a_dial_that_fails_at_once_says_so(poll: Poll, descriptors: EpollSet) -> None:
    """Its timer is what :meth:`EpollSet.callLater` gives."""
    failures: list[OSError] = []
    Dial(descriptors, TCPAddress("not an address", 1), 5.0, lambda sock: None, failures.append)
    for _ in range(3):
        poll.look(0.01)
    assert len(failures) == 1


def test_who_goes_on_at_once_is_served_in_the_same_turn(poll: Poll, pairs: Pairs) -> None:
    descriptors = EpollSet(poll, turn=1)
    (ours, theirs), *_ = pairs
    echoes = iter((b"and", b"on"))

    eager = Descriptor(descriptors, ours)

    def go_on() -> None:
        ours.recv(16)
        theirs.send(next(echoes, b""))

    eager.on_read = go_on
    descriptors.addReader(eager)
    theirs.send(b"go")
    poll.look()
    assert eager.calls == ["read"] * 3
