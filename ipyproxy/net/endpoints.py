"""Ports and endpoints of the configuration -> listeners.

Knows Twisted's endpoints and what can be wrong with one; what is wrong at the start ends the
process with a sentence. Knows nothing of who is let in.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from pathlib import Path
from typing import Any, cast

from twisted.internet import error
from twisted.internet.address import UNIXAddress
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, serverFromString
from twisted.internet.interfaces import IAddress, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from ipyproxy.net.address import TCPAddress
from ipyproxy.net.descriptors import Descriptors, Reactor
from ipyproxy.net.sockets import Accept, Listener
from ipyproxy.statefiles import own_directory


class StartError(SystemExit, Exception):
    """The process cannot start: a sentence, on which it ends.

    Not a mere ``SystemExit``, for twistd tells whoever waits for it to go into the background only
    of exceptions, and would let them wait for ever.
    """


def listen(
    reactor: Reactor, descriptors: Descriptors, where: int | str, backlog: int, accept: Accept
) -> Listener:
    """Listen on a port number (of IPv6 and IPv4 both) or on a Twisted endpoint.

    :param reactor: Twisted's own: its endpoints ask for more than the type says.
    :param descriptors: waits for connections; see :class:`ipyproxy.net.descriptors.Descriptors`.
    :param accept: called with each connected socket and its peer.
    :raises StartError: saying why, if that cannot be.
    """
    if isinstance(where, str):
        endpoint = _endpoint(reactor, where)
    elif socket.has_ipv6 and _can_ipv6():
        endpoint = TCP6ServerEndpoint(reactor, where, backlog, "::")
    else:
        endpoint = TCP4ServerEndpoint(reactor, where, backlog)
    outcome: list[Any] = []
    endpoint.listen(_Quiet()).addBoth(outcome.append)
    if outcome and not isinstance(outcome[0], Failure):
        return Listener(descriptors, outcome[0], accept)
    reason = outcome[0].value if outcome else "the endpoint did not bind at once"
    if isinstance(reason, error.CannotListenError):
        reason = getattr(reason.socketError, "strerror", None) or reason.socketError
    raise StartError(f"ipyproxy: cannot listen on {where}: {reason}")


def listen_privately(
    descriptors: Descriptors, path: Path, backlog: int, accept: Accept
) -> Listener:
    """Listen on a UNIX socket at ``path`` that nobody but this user (and root) can connect to.

    A socket that a process has left behind is replaced. Raises OSError, with ``EADDRINUSE`` where
    a process listens at it or anything else is there, and
    :class:`~ipyproxy.statefiles.NotOwnError` where others could put a socket of their own.
    """
    with own_directory(path.parent):
        _clear(path)
        return Listener(descriptors, _PathPort(path, backlog, 0o177), accept)


def listen_at_path(descriptors: Descriptors, path: Path, backlog: int, accept: Accept) -> Listener:
    """Listen on a UNIX socket at ``path``, which the process's umask says who can connect to.

    A socket that a process has left behind is replaced. Raises OSError, with ``EADDRINUSE`` where
    a process listens at it or anything else is there.
    """
    _clear(path)
    return Listener(descriptors, _PathPort(path, backlog, None), accept)


def try_listen(
    descriptors: Descriptors, address: TCPAddress, backlog: int, accept: Accept
) -> Listener:
    """Listen on an address and a port. Raises OSError, which may be for a moment only."""
    return Listener(descriptors, _AddressPort(address, backlog), accept)


def _clear(path: Path) -> None:
    """Remove a socket that a process has left behind. Raises OSError where one listens at it."""
    if path.is_socket():
        if other := _who_listens(path):
            raise OSError(errno.EADDRINUSE, f"{other} listens there")
        path.unlink()


def _who_listens(path: Path) -> str:
    """The process that takes connections at a UNIX socket; empty if none does."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            return "another process"  # with a full backlog
        except OSError:
            return ""
        credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return f"process {int.from_bytes(credentials[:4], sys.byteorder)}"


class _Quiet(Factory):
    """What Twisted's ports ask for, and tell the log of; connections never get as far as to it."""

    noisy = False

    def logPrefix(self) -> str:
        """What stands in lines of Twisted's, instead of an object's address."""
        return "ipyproxy"


class _Port:
    """A socket that listens, in the place of a port of Twisted's."""

    _socket: socket.socket

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def stopReading(self) -> None:
        """Nobody reads but the listener."""

    def stopListening(self) -> None:
        """Close it."""
        self._socket.close()


class _PathPort(_Port):
    """A socket at a path.

    Twisted's own port changes the mode after it has bound, and removes at its end whatever is at
    its path.
    """

    def __init__(self, path: Path, backlog: int, mask: int | None) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX)
        # Born with the right mode: changed afterwards, it would lie open for a moment.
        before = None if mask is None else os.umask(mask)
        try:
            self._socket.bind(str(path))
            self._socket.listen(backlog)
            self._inode = path.stat().st_ino
        except OSError:
            self._socket.close()
            raise
        finally:
            if before is not None:
                os.umask(before)

    def stopListening(self) -> None:
        """Close it, and leave nothing behind, unless another process has taken the place."""
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        super().stopListening()


class _AddressPort(_Port):
    """A socket at an address and a port."""

    def __init__(self, address: TCPAddress, backlog: int) -> None:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self._socket = socket.socket(family)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(address)
            self._socket.listen(backlog)
        except OSError:
            self._socket.close()
            raise


def _endpoint(reactor: Reactor, description: str) -> IStreamServerEndpoint:
    try:
        return cast("IStreamServerEndpoint", serverFromString(reactor, description))
    except (LookupError, ValueError) as caught:
        # An index or a name among the sockets that systemd hands over, and it has handed over none.
        raise StartError(
            f"ipyproxy: cannot listen on {description}: there is no such socket ({caught}); "
            "start ipyproxy by its systemd socket unit"
        ) from None


def _can_ipv6() -> bool:
    try:
        socket.socket(socket.AF_INET6).close()
    except OSError:
        return False
    return True


def spoken(address: IAddress) -> str:
    """``address`` for people."""
    if isinstance(address, UNIXAddress):
        return f"socket {os.fsdecode(address.name or b'')}"
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    return str(address) if port is None else f"{host} port {port}"
