"""Makes listeners from the ports and endpoints of the configuration.

Knows Twisted's endpoints and what can be wrong with one; an error at the start ends the process
with a message. Knows nothing of who may connect.
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
    """The process cannot start; it ends with this message.

    It is an ``Exception`` too, because twistd reports only exceptions to the process that waits
    until the daemon is in the background; with a plain ``SystemExit`` that process would wait for
    ever.
    """


def listen(
    reactor: Reactor, descriptors: Descriptors, where: int | str, backlog: int, accept: Accept
) -> Listener:
    """Listen on a port number (IPv6 and IPv4) or on a Twisted endpoint.

    :param reactor: Twisted's own: its endpoints ask for more than the type says.
    :param descriptors: waits for connections; see :class:`ipyproxy.net.descriptors.Descriptors`.
    :param accept: called with each connected socket and its peer.
    :raises StartError: if listening fails; it says why.
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
    """Listen on a UNIX socket at ``path`` that only this user (and root) can connect to.

    A socket that an ended process has left behind is replaced. Raises OSError, with ``EADDRINUSE``
    if a process listens there or if ``path`` is anything else, and
    :class:`~ipyproxy.statefiles.NotOwnError` if others could replace the socket with their own.
    """
    with own_directory(path.parent):
        _clear(path)
        return Listener(descriptors, _PathPort(path, backlog, 0o177), accept)


def listen_at_path(descriptors: Descriptors, path: Path, backlog: int, accept: Accept) -> Listener:
    """Listen on a UNIX socket at ``path``; the process's umask decides who can connect.

    A socket that an ended process has left behind is replaced. Raises OSError, with ``EADDRINUSE``
    if a process listens there or if ``path`` is anything else.
    """
    _clear(path)
    return Listener(descriptors, _PathPort(path, backlog, None), accept)


def try_listen(
    descriptors: Descriptors, address: TCPAddress, backlog: int, accept: Accept
) -> Listener:
    """Listen on an address and a port. Raises OSError; the cause may be temporary."""
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
            return "another process"  # its backlog is full
        except OSError:
            return ""
        credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return f"process {int.from_bytes(credentials[:4], sys.byteorder)}"


class _Quiet(Factory):
    """The factory that Twisted's ports require and log. It never gets a connection."""

    noisy = False

    def logPrefix(self) -> str:
        """The name in Twisted's log lines, instead of an object's address."""
        return "ipyproxy"


class _Port:
    """A socket that listens, in the place of a port of Twisted's."""

    _socket: socket.socket

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def stopReading(self) -> None:
        """Nothing to stop: only the listener reads."""

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
        # Made with the right mode: if it were changed afterwards, others could connect for a
        # moment.
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
        """Close it and remove the file, unless another process has replaced it."""
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
        # The endpoint names one of systemd's sockets by index or name, but systemd has passed none.
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
    """``address`` as text for people."""
    if isinstance(address, UNIXAddress):
        return f"socket {os.fsdecode(address.name or b'')}"
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    return str(address) if port is None else f"{host} port {port}"
