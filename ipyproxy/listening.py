"""Ports and endpoints of the configuration -> listeners.

Knows Twisted's endpoints and what can be wrong with one; what is wrong at the start ends the
process with a sentence. Knows nothing of who is let in.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import error
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, serverFromString
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from ipyproxy.sockets import Accept, Listener


def listen(reactor: Any, where: int | str, backlog: int, accept: Accept) -> Listener:
    """Listen on a port number (of IPv6 and IPv4 both) or on a Twisted endpoint.

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
        return Listener(reactor, outcome[0], accept)
    reason = outcome[0].value if outcome else "the endpoint did not bind at once"
    if isinstance(reason, error.CannotListenError):
        reason = getattr(reason.socketError, "strerror", None) or reason.socketError
    raise SystemExit(f"ipyproxy: cannot listen on {where}: {reason}")


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
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    return str(address) if port is None else f"{host} port {port}"
