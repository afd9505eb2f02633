"""Upstreams with host names: the name is looked up, in a thread, when a connection is made.

Knows names, addresses, and how long an answer is cached. Knows nothing of what a connection is for.
"""

from __future__ import annotations

import errno
import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ipyproxy.clock import Clock
from ipyproxy.net.address import NamedAddress, TCPAddress
from ipyproxy.net.sockets import Attempt

FRESH_FOR: Final = 10.0
"""Seconds for which an answer is cached; short, since containers are replaced and change
addresses."""
WAIT: Final = 5.0
"""Seconds that a connection waits for the look-up of its host."""
_REMEMBERED: Final = 4096

LookUp = Callable[[str], Deferred[list[str]]]
"""Finds the addresses of a host; fails with OSError if there are none."""
Begin = Callable[[TCPAddress, Callable[[OSError], None]], Attempt]
"""Begins to connect to an address; calls the callable if that fails."""


def system_look_up(name: str) -> list[str]:
    """Ask the system (``/etc/hosts``, DNS) for a host's addresses. Blocks; raises OSError."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _Host:
    """The record of one host."""

    __slots__ = ("addresses", "at", "waiting")

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.at = 0.0
        self.waiting: list[NamedAttempt] | None = None


class Names:
    """A cache of look-ups; its size is bounded.

    :param look_up: finds the addresses of a host.
    :param reactor: for its clock.
    """

    def __init__(self, look_up: LookUp, reactor: Clock) -> None:
        self._look_up = look_up
        self._reactor = reactor
        self._hosts: OrderedDict[str, _Host] = OrderedDict()

    def dial(
        self, address: NamedAddress, begin: Begin, failed: Callable[[OSError], None]
    ) -> Attempt:
        """Connect to a host, at the first of its addresses that accepts the connection."""
        return NamedAttempt(self, self._reactor, address, begin, failed)

    def known(self, address: NamedAddress) -> TCPAddress | None:
        """The address at which the host was found last; None if it never was."""
        addresses = self.last(address.name)
        return TCPAddress(addresses[0], address.port) if addresses else None

    def last(self, name: str) -> list[str]:
        """The addresses at which a host was found last; empty if it never was."""
        host = self._hosts.get(name)
        return [] if host is None else list(host.addresses)

    def find(self, attempt: NamedAttempt, name: str) -> None:
        """Give ``attempt`` the addresses, now or once they are known."""
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host()
            if len(self._hosts) > _REMEMBERED:
                self._hosts.popitem(last=False)
        else:
            self._hosts.move_to_end(name)
        now = self._reactor.seconds()
        if host.addresses and now - host.at < FRESH_FOR:
            attempt.found(list(host.addresses))
            return
        if host.waiting is not None:
            host.waiting.append(attempt)
            return
        host.waiting = [attempt]
        answer = self._look_up(name)
        answer.addCallbacks(
            self._answered, self._not_answered, callbackArgs=(host,), errbackArgs=(host,)
        )

    def _answered(self, addresses: list[str], host: _Host) -> None:
        host.addresses = addresses
        host.at = self._reactor.seconds()
        self._tell(host)

    def _not_answered(self, failure: Failure, host: _Host) -> None:
        # Earlier addresses may still be right, so a name server that is down stops nobody.
        self._tell(host)

    def _tell(self, host: _Host) -> None:
        waiting, host.waiting = host.waiting or [], None
        for attempt in waiting:
            attempt.found(list(host.addresses))


class NamedAttempt:
    """One attempt to connect to a host by name."""

    def __init__(
        self,
        names: Names,
        reactor: Clock,
        address: NamedAddress,
        begin: Begin,
        failed: Callable[[OSError], None],
    ) -> None:
        self._names = names
        self._address = address
        self._begin = begin
        self._failed = failed
        self._rest: list[str] = []
        self._attempt: Attempt | None = None
        self._is_over = False
        self._timer = reactor.callLater(WAIT, self._expire)
        names.find(self, address.name)

    def found(self, addresses: list[str]) -> None:
        """The look-up has ended with these addresses; empty if it found none."""
        if self._is_over or not self._timer.active():
            return
        self._timer.cancel()
        self._rest = addresses
        self._next(OSError(errno.EHOSTUNREACH, f"{self._address.name} is not known"))

    def _next(self, caught: OSError) -> None:
        if self._is_over:
            return
        if not self._rest:
            self._is_over = True
            self._failed(caught)
            return
        address = TCPAddress(self._rest.pop(0), self._address.port)
        self._attempt = self._begin(address, self._next)

    def _expire(self) -> None:
        # The system waits longer than that before it gives up on a name server.
        self._rest = self._names.last(self._address.name)
        self._next(TimeoutError(errno.ETIMEDOUT, f"{self._address.name} could not be looked up"))

    def cancel(self) -> None:
        """Give up; call nothing."""
        self._is_over = True
        if self._timer.active():
            self._timer.cancel()
        if self._attempt is not None:
            self._attempt.cancel()
