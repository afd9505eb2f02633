"""Ports and endpoints of the configuration -> listeners.

Knows Twisted's endpoints and what can be wrong with one; what is wrong at the start ends the
process with a sentence. Knows nothing of who is let in.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Any

from twisted.internet import error
from twisted.internet.address import UNIXAddress
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, serverFromString
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from ipyproxy.sockets import Accept, Listener


def listen(
    reactor: Any, descriptors: Any, where: int | str, backlog: int, accept: Accept
) -> Listener:
    """Listen on a port number (of IPv6 and IPv4 both) or on a Twisted endpoint.

    :param descriptors: waits for connections; see :class:`ipyproxy.epoll.Descriptors`.
    :param accept: called with each connected socket and its peer.
    :raises SystemExit: saying why, if that cannot be.
    """
    if isinstance(where, str):
        endpoint = _endpoint(reactor, where)
    elif socket.has_ipv6 and _can_ipv6():
        endpoint = TCP6ServerEndpoint(reactor, where, backlog, "::")
    else:
        endpoint = TCP4ServerEndpoint(reactor, where, backlog)
    outcome: list[Any] = []
    endpoint.listen(Factory()).addBoth(outcome.append)
    if outcome and not isinstance(outcome[0], Failure):
        return Listener(descriptors, outcome[0], accept)
    reason = outcome[0].value if outcome else "the endpoint did not bind at once"
    if isinstance(reason, error.CannotListenError):
        reason = getattr(reason.socketError, "strerror", None) or reason.socketError
    raise SystemExit(f"ipyproxy: cannot listen on {where}: {reason}")


def listen_privately(
    reactor: Any, descriptors: Any, path: Path, backlog: int, accept: Accept
) -> Listener:
    """Listen on a UNIX socket at ``path`` that nobody but this user (and root) can connect to.

    What a process that is gone has left there is replaced. Raises OSError, with ``EADDRINUSE`` if
    somebody listens there, or something other than a socket stands there.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if _is_left_over(path):
        path.unlink()
    # Born with the right mode: changed afterwards, it would lie open for a moment.
    mask = os.umask(0o177)
    try:
        port = reactor.listenUNIX(str(path), Factory(), backlog, mode=0o600)
    except error.CannotListenError as caught:
        raise caught.socketError from caught
    finally:
        os.umask(mask)
    return Listener(descriptors, port, accept)


def _is_left_over(path: Path) -> bool:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return False
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX) as knocking:
        return knocking.connect_ex(str(path)) == errno.ECONNREFUSED


def _endpoint(reactor: Any, description: str) -> Any:
    try:
        return serverFromString(reactor, description)
    except (LookupError, ValueError) as caught:
        # An index or a name among the sockets that systemd hands over, and it has handed over none.
        raise SystemExit(
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
