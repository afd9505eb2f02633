"""Many descriptors behind one: an epoll set that is itself a single reader on the reactor.

Knows Linux's epoll. Knows nothing of what the descriptors are for. It has the same four methods as
the reactor (``IReactorFDSet``), but calls descriptors without the reactor's logging context around
each event: that context costs more than a small read.
"""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import classImplements

from ipyproxy.clock import Clock, Due
from ipyproxy.threads import MainThread

_Ready = tuple[int, int]
"""A descriptor's number, and epoll's bits for it."""

_log: Final = Logger(namespace="ipyproxy.epoll")

_EVENTS_AT_ONCE: Final = 256
# How often to poll for the next event before sleeping until it comes (some 25 µs). Mostly the
# answer to what was just served comes within that time, and sleeping and waking costs more than
# polling.
_LOOKS: Final = 30
# Longest sleep, in seconds, before the reactor gets its turn, which costs far more.
_STAY: Final = 0.001
_MOST_ROUNDS: Final = 64
_LONGEST_TURN: Final = 0.005
_READ: Final = select.EPOLLIN
_WRITE: Final = select.EPOLLOUT
# The next read or write reports an error or hang-up.
_READABLE: Final = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR
_WRITABLE: Final = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR


class Selectable(Protocol):
    """A descriptor, and who is told when it has failed."""

    def fileno(self) -> int:
        """Its number."""

    def connectionLost(self, reason: Failure, /) -> None:
        """It has failed or ended, or all do: nothing of it is called any more."""


class Readable(Selectable, Protocol):
    """What waits until it can be read."""

    def doRead(self) -> Exception | None:
        """Read; gives what has ended it, if anything has."""


class Writable(Selectable, Protocol):
    """What waits until it can be written."""

    def doWrite(self) -> Exception | None:
        """Write; gives what has ended it, if anything has."""


S = TypeVar("S", bound=Selectable)


class Descriptors(Protocol):
    """What a transport needs of the reactor, or of an :class:`EpollSet` on it."""

    def addReader(self, reader: Readable) -> object:
        """Call ``reader.doRead`` whenever the descriptor is readable."""

    def removeReader(self, reader: Readable) -> object:
        """Stop doing so."""

    def addWriter(self, writer: Writable) -> object:
        """Call ``writer.doWrite`` whenever the descriptor is writable."""

    def removeWriter(self, writer: Writable) -> object:
        """Stop doing so."""

    def callLater(self, delay: float, call: Callable[..., object], /, *args: Any) -> Due:
        """Call ``call`` after ``delay`` seconds."""


class Poller(Clock, Descriptors, Protocol):
    """What sockets need of the reactor."""


class Reactor(Poller, MainThread, Protocol):
    """What the parts of the service need of the reactor."""


class _DueCall:
    """A call that is due at once."""

    def __init__(self, call: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._call: Callable[..., object] | None = call
        self._args = args

    def active(self) -> bool:
        """Whether it is still to be called."""
        return self._call is not None

    def cancel(self) -> None:
        """Do not call it."""
        self._call = None

    def run(self) -> None:
        """Call it, unless it was cancelled."""
        call, self._call = self._call, None
        if call is not None:
            call(*self._args)


class EpollSet:
    """An epoll set that is one reader on the reactor. Remove descriptors before closing them.

    :param reactor: the reactor that the set is a reader of; its clock is used too.
    :param turn: seconds after which the reactor gets its turn, even if more is to do.
    """

    def __init__(self, reactor: Poller, turn: float = _LONGEST_TURN) -> None:
        self._reactor = reactor
        self._turn = turn
        self._epoll = select.epoll()
        self._readers: dict[int, Readable] = {}
        self._writers: dict[int, Writable] = {}
        self._unserved: list[_Ready] = []
        self._served: set[int] = set()  # in this round, if some were not served
        self._due: deque[_DueCall] = deque()
        self._comes_back = False
        reactor.addReader(self)

    def fileno(self) -> int:
        """The epoll descriptor; readable when any descriptor of the set is ready."""
        return -1 if self._epoll.closed else self._epoll.fileno()

    def logPrefix(self) -> str:
        """What Twisted puts before a log line."""
        return "ipyproxy"

    def addReader(self, reader: Readable) -> None:
        """See :class:`Descriptors`."""
        self._add(reader, self._readers, _READ)

    def addWriter(self, writer: Writable) -> None:
        """See :class:`Descriptors`."""
        self._add(writer, self._writers, _WRITE)

    def removeReader(self, reader: Readable) -> None:
        """See :class:`Descriptors`."""
        self._remove(reader, self._readers)

    def removeWriter(self, writer: Writable) -> None:
        """See :class:`Descriptors`."""
        self._remove(writer, self._writers)

    def _add(self, selectable: S, those: dict[int, S], bit: int) -> None:
        fd = selectable.fileno()
        if fd in those:
            return
        mask = self._mask(fd)
        if mask:
            self._epoll.modify(fd, mask | bit)
        else:
            self._epoll.register(fd, bit)
        # Only now: if the kernel has no room for it, the next descriptor may get its number.
        those[fd] = selectable

    def _remove(self, selectable: S, those: dict[int, S]) -> None:
        fd = selectable.fileno()
        if those.pop(fd, None) is None:
            return
        mask = self._mask(fd)
        if mask:
            self._epoll.modify(fd, mask)
        else:
            self._epoll.unregister(fd)

    def _mask(self, fd: int) -> int:
        """Which events of a descriptor are watched, as epoll's bits."""
        return (_READ if fd in self._readers else 0) | (_WRITE if fd in self._writers else 0)

    def callLater(self, delay: float, call: Callable[..., object], /, *args: Any) -> Due:
        """See :class:`Descriptors`. A call that is due at once runs in the next turn of this set.

        The set limits the time of a turn; the reactor does not. There, a thousand connections that
        want to go on would run before any new one.
        """
        if delay > 0:
            return self._reactor.callLater(delay, call, *args)
        due = _DueCall(call, args)
        self._due.append(due)
        self._come_back()
        return due

    def _come_back(self) -> None:
        if not self._comes_back:
            self._comes_back = True
            self._reactor.callLater(0, self._go_on)

    def _go_on(self) -> None:
        self._comes_back = False
        if not self._epoll.closed:
            self.doRead()

    def doRead(self) -> None:
        """Serve every descriptor that is ready, and those that become ready soon after."""
        deadline = self._reactor.seconds() + self._turn
        events = self._ready()
        for _ in range(_MOST_ROUNDS):
            self._unserved = self._serve(events, deadline)
            if not self._unserved:
                self._served.clear()
            if self._due:
                self._call_due(deadline)
                break
            if self._unserved or self._reactor.seconds() >= deadline:
                break
            events = self._next()
            if not events:
                break
        if self._due:
            self._come_back()

    def _ready(self) -> list[_Ready]:
        """The ready descriptors, round robin: each is served once in a round.

        First come those that became ready in this round and were not served in it, then those that
        the last turn left. One that is ready again waits for the next round.
        """
        fresh = self._epoll.poll(0, _EVENTS_AT_ONCE)
        if not self._unserved:
            return fresh
        met = self._served.union([fd for fd, _ in self._unserved])
        return [one for one in fresh if one[0] not in met] + self._unserved

    def _call_due(self, deadline: float) -> None:
        """Run the calls that were due when the turn began, until time is up; at least one."""
        for _ in range(len(self._due)):
            try:
                self._due.popleft().run()
            except Exception:
                _log.failure("a connection failed inside the proxy; please report this")
            if self._reactor.seconds() >= deadline:
                return

    def _next(self) -> list[tuple[int, int]]:
        """Events that come soon: a client that is answered at once often goes on at once."""
        poll = self._epoll.poll
        for _ in range(_LOOKS):
            events = poll(0, _EVENTS_AT_ONCE)
            if events:
                return events
        return poll(_STAY, _EVENTS_AT_ONCE)

    def _serve(self, events: list[_Ready], deadline: float) -> list[_Ready]:
        """Call the descriptors in ``events`` once each.

        Returns those for which time was too short.
        """
        readers, writers, seconds = self._readers, self._writers, self._reactor.seconds
        for at, (fd, event) in enumerate(events):
            if at and seconds() >= deadline:
                self._served.update([fd for fd, _ in events[:at]])
                return events[at:]
            # A descriptor served earlier in this round may have removed this one, or closed it, and
            # a new one may have its number. A superfluous event is harmless, because no descriptor
            # blocks.
            selectable: Any = readers.get(fd)  # or a writer: whatever is called
            why: Exception | None = None
            try:
                if selectable is not None and event & _READABLE:
                    why = selectable.doRead()
                if event & _WRITABLE and why is None and fd in writers:
                    selectable = writers[fd]
                    why = selectable.doWrite()
            except Exception as caught:
                _log.failure("a connection failed inside the proxy; please report this")
                why = caught
            if why is not None:
                self._lose(selectable, Failure(why))
        return []

    def _lose(self, selectable: Selectable, reason: Failure) -> None:
        # An exception that left this method would remove the whole set from the reactor.
        try:
            selectable.connectionLost(reason)
        except Exception:
            _log.failure("a connection failed at its end; please report this")

    def connectionLost(self, reason: Failure) -> None:
        """Called by the reactor at shutdown: all descriptors of the set are lost too."""
        for selectable in {**self._readers, **self._writers}.values():
            self._lose(selectable, reason)
        self._reactor.removeReader(self)
        self._epoll.close()


# Not by a decorator, behind which mypyc could not compile the class.
classImplements(EpollSet, IReadDescriptor)
