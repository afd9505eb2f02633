"""Who listens on a notebook's port: whether that user may, and when the process changes.

Only notebooks have tenants; an application's address is in its route. Knows listeners and their
users. Knows nothing of requests, or of what ends with a tenant: it calls the functions in
``leaving``.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.net.address import LOOPBACK
from ipyproxy.net.sockdiag import ANSWER_BYTES, AnswerError, Listener, question, read_answer
from ipyproxy.upstream.owners import Listed, Owners, OwnersError
from ipyproxy.upstream.upstream import Upstream

SEEN_FOR: Final = 1.0
"""Seconds for which a check of a port is valid, if there is a connection to it already."""
_LOOKS_EACH_SWEEP: Final = 128
_NETLINK_SOCK_DIAG: Final = 4
# The user namespace of a single service has one or two users; that of a container has thousands.
_FEW_USERS: Final = 1000

_log: Final = Logger(namespace="ipyproxy.tenants")

LookUp = Callable[[int], Listener | None]
"""Returns the listener on a port; None: nobody listens."""


class Kernel:
    """Asks the kernel who listens on a port.

    :raises OSError: if it can't be asked: not Linux, or forbidden to this process.
    """

    def __init__(self) -> None:
        family: int | None = getattr(socket, "AF_NETLINK", None)
        if family is None:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        self._socket = socket.socket(family, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG)
        self._socket.setblocking(False)
        self._sequence = 0
        # Without tcp_diag the kernel answers "nobody", so ask about a socket that we know.
        with socket.create_server((LOOPBACK, 0)) as known:
            listener = self.listener(known.getsockname()[1])
            if listener is None or listener.inode != os.fstat(known.fileno()).st_ino:
                raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    def listener(self, port: int) -> Listener | None:
        """The listener that a connection to 127.0.0.1 on ``port`` would reach; None: nobody."""
        self._sequence = sequence = (self._sequence + 1) & 0xFFFFFFFF
        try:
            self._socket.send(question(port, sequence))
            # The kernel has answered before this call returns.
            return read_answer(self._socket.recv(ANSWER_BYTES), sequence, errno.ENOENT)
        except AnswerError as caught:
            raise OSError(errno.EPROTO, str(caught)) from caught


@dataclass(slots=True)
class _Tenancy:
    """What is known of one port.

    ``tenant`` is the last listener; it was last seen at the time ``met``. The last check was at the
    time ``at``, and has ``seen`` that listener or nobody. ``count`` is the number of tenants so
    far, and ``since`` is when the last one was found.
    """

    tenant: Listener
    met: float
    seen: Listener | None
    at: float
    since: float
    count: int = 1


class Tenants:
    """The listeners on all ports that were connected to.

    A request goes to the tenant that it was allowed for, or is not sent: see :meth:`admit` and
    :meth:`confirm`. If the listener is the same before and after we connect, it has listened all
    the time. Nobody else could listen meanwhile, so the connection leads to it.

    :param look_up: finds the listener on a port.
    :ivar owners: the users whose notebooks are served; None: all. May be replaced at any time.
    :ivar strict: whether a request is allowed for one tenant only, as with links.
    :ivar leaving: functions that are called with the name of a notebook whose port has a new
        tenant, and how many seconds ago the former one was last seen.
    """

    def __init__(self, look_up: LookUp, owners: Listed | None = None) -> None:
        self.owners = owners
        self.strict = False
        self.leaving: list[Callable[[str, float], None]] = []
        self._look_up = look_up
        self._tenancies: dict[int, _Tenancy] = {}
        self._to_look_at: list[int] = []
        self._in_vain = False

    @property
    def are_checked(self) -> bool:
        """Whether requests have to be admitted and confirmed."""
        return self.owners is not None or self.strict

    def find_owner(self, upstream: Upstream, now: float) -> Deferred[None] | None:
        """Find out if the listener at ``upstream`` is an owner; None: :meth:`admit` knows already.

        Wait for the result before :meth:`admit`; another machine may have to be asked. Fails with
        :class:`ProxyError` (``OWNER_UNKNOWN``).
        """
        port = upstream.port
        if self.owners is None or port is None:
            return None
        tenancy = self._tenancies.get(port)
        fresh = tenancy is not None and now - tenancy.at <= SEEN_FOR
        listener = tenancy.seen if tenancy is not None and fresh else self._look(port, now)
        return None if listener is None else self.owners.find(listener.uid)

    def admit(self, upstream: Upstream, started: float, *, connected: bool) -> int:
        """Decide whether a request may go to ``upstream``, before anything is dialled.

        :param started: when the request began, and with it the decisions about it.
        :param connected: whether there is a connection already; then a recent check is valid.
        :returns: a mark for :meth:`confirm`.
        :raises ProxyError: ``FOREIGN_PORT`` if the listener is no owner, ``CHANGED_HANDS`` if the
            port has got a new tenant since the request began.
        """
        port = upstream.port
        if port is None:
            return 0
        tenancy = self._tenancies.get(port)
        fresh = tenancy is not None and connected and started - tenancy.at <= SEEN_FOR
        if tenancy is None or (self.owners is not None and not fresh):
            self._look(port, started)
            tenancy = self._tenancies.get(port)
        if tenancy is None:
            return 0
        self._check_owner(tenancy.seen)
        if self.strict and tenancy.count > 1 and tenancy.since >= started:
            raise ProxyError(Problem.CHANGED_HANDS, f"port {port}, since the request began")
        return tenancy.count

    def confirm(self, upstream: Upstream, now: float, mark: int | None) -> None:
        """Decide whether anything may be sent on a new connection to ``upstream``.

        :param mark: the result of :meth:`admit`; None if it was not called.
        :raises ProxyError: ``FOREIGN_PORT``, ``CHANGED_HANDS``.
        """
        port = upstream.port
        if port is None:
            return
        listener = self._look(port, now)
        if mark is None:
            return
        self._check_owner(listener)
        tenancy = self._tenancies.get(port)
        if tenancy is None and self.owners is None:
            # We are connected, although nobody listens: the kernel forwards this port to a
            # container, or does not show the listener.
            return
        if listener is None or tenancy is None or tenancy.count != mark:
            raise ProxyError(Problem.CHANGED_HANDS, f"port {port}, while connecting")

    def may_probe(self, upstream: Upstream, now: float) -> bool:
        """Whether a probe may connect to ``upstream``: only if its listener is a known owner."""
        if self.owners is None or upstream.port is None:
            return True
        listener = self._look(upstream.port, now)
        if listener is None:
            return True
        asking = self.owners.find(listener.uid)
        if asking is not None:
            # The next probe will know the answer.
            asking.addErrback(lambda failure: None)
        return listener.uid in self.owners

    def sweep(self, now: float) -> None:
        """Check some ports again; to be called about once a second."""
        if not self._to_look_at:
            self._to_look_at = list(self._tenancies)
        for _ in range(min(_LOOKS_EACH_SWEEP, len(self._to_look_at))):
            self._look(self._to_look_at.pop(), now)

    def _check_owner(self, listener: Listener | None) -> None:
        if listener is not None and self.owners is not None and listener.uid not in self.owners:
            raise ProxyError(Problem.FOREIGN_PORT, f"user {listener.uid} listens there")

    def _ask(self, port: int) -> Listener | None:
        try:
            listener = self._look_up(port)
        except OSError as caught:
            # With owners, nothing is served then, because the listener's user is unknown.
            if not self._in_vain:
                _log.error("who listens cannot be found out: {reason}", reason=str(caught))
            self._in_vain = True
            return None
        self._in_vain = False
        return listener

    def _look(self, port: int, now: float) -> Listener | None:
        listener = self._ask(port)
        tenancy = self._tenancies.get(port)
        if tenancy is None:
            if listener is not None:
                self._tenancies[port] = _Tenancy(listener, now, listener, now, now)
            return listener
        tenancy.seen, tenancy.at = listener, now
        if listener is not None:
            former, met = tenancy.tenant, tenancy.met
            tenancy.tenant, tenancy.met = listener, now
            if listener != former:
                tenancy.since, tenancy.count = now, tenancy.count + 1
                _log.info("port {port} has changed hands", port=port, uid=listener.uid)
                for leave in self.leaving:
                    leave(str(port), now - met)
        return listener


def _count_users() -> int:
    """How many users this process can distinguish (user_namespaces(7))."""
    try:
        lines = Path("/proc/self/uid_map").read_text("ascii").splitlines()
    except OSError:
        return _FEW_USERS  # a kernel without user namespaces
    return sum(int(line.split()[2]) for line in lines)


def nobody(port: int) -> Listener | None:
    """Replaces the look-up if the kernel can't be asked."""
    return None


def find_kernel(owners: Owners | None) -> LookUp:
    """Choose the function that finds out who listens.

    :raises OwnersError: if the kernel can't be asked, but ``owners`` has to be checked.
    """
    if owners is not None and _count_users() < _FEW_USERS:
        raise OwnersError(
            "all users look alike to this process; set PrivateUsers=no where systemd starts it"
        )
    try:
        return Kernel().listener
    except OSError as caught:
        if owners is not None:
            raise OwnersError(
                f"the kernel does not tell this process who listens ({caught.strerror}); it needs "
                "Linux with tcp_diag, and AF_NETLINK where systemd restricts address families"
            ) from None
        _log.warn(
            "a port that changes hands is not noticed: the kernel does not tell who listens "
            "({reason})",
            reason=caught.strerror,
        )
        return nobody
