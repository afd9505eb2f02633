"""Whose notebooks are served: the users and groups that the configuration names.

Knows the system's directory of users (getpwuid(3), getgrouplist(3)), which may be on another
machine and so may take its time, or never answer: it is asked in threads, and what it says is
remembered. Knows nothing of ports and requests.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ipyproxy.clock import Call, Clock
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.threads import Run

T = TypeVar("T")

FRESH_FOR: Final = 300.0
"""Seconds after which the directory is asked again. Until it answers, its last answer counts."""
PATIENCE: Final = 5.0
"""Seconds that a request waits for the directory, where it has never answered for that user."""
MOST_ASKED: Final = 64
"""Users that the directory may be asked for at once; requests for others are refused."""
MOST_KNOWN: Final = 1024
"""Users whose groups are remembered."""


class OwnersError(Exception):
    """There is no such user or group."""


class Owners:
    """The ids of the users and groups that are named. Making this may take as long as it likes.

    :param names: users, and groups with an ``@`` before their names.
    :raises OwnersError: if there is none of that name.
    """

    def __init__(self, names: Iterable[str]) -> None:
        users, groups = set(), set()
        for name in names:
            kind = "group" if name.startswith("@") else "user"
            try:
                if kind == "group":
                    groups.add(grp.getgrnam(name[1:]).gr_gid)
                else:
                    users.add(pwd.getpwnam(name).pw_uid)
            except KeyError:
                raise OwnersError(f"there is no {kind} {name.removeprefix('@')}") from None
        self.users = frozenset(users)
        self.groups = frozenset(groups)


def groups_of(uid: int) -> frozenset[int]:
    """All groups of a user; none if there is no such user. May take as long as it likes."""
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return frozenset()
    return frozenset(os.getgrouplist(user.pw_name, user.pw_gid))


class Listed(Protocol):
    """Whose notebooks are served."""

    def __contains__(self, uid: object) -> bool:
        """Whether the user ``uid`` is known to be one of them."""

    def find(self, uid: int) -> Deferred[None] | None:
        """Find out about ``uid``; None: nothing has to be waited for.

        Fails with :class:`ProxyError` (``OWNER_UNKNOWN``) if that can't be found out in time.
        """


class KnownOwners:
    """Those of ``owners``, as far as ``directory`` has told; who is named needs no asking."""

    def __init__(self, owners: Owners, directory: Directory) -> None:
        self._owners = owners
        self._directory = directory

    def __contains__(self, uid: object) -> bool:
        """See :class:`Listed`."""
        if uid in self._owners.users:
            return True
        return not self._owners.groups.isdisjoint(self._directory.groups(uid))

    def find(self, uid: int) -> Deferred[None] | None:
        """See :class:`Listed`."""
        if uid in self._owners.users or not self._owners.groups:
            return None
        return self._directory.find(uid)


class Directory:
    """The groups of users, as the system's directory last told them.

    :param reactor: for its time.
    :param run: does work in a thread.
    :param ask: gives the groups of a user; may take as long as it likes.
    """

    def __init__(self, reactor: Clock, run: Run, ask: Callable[[int], frozenset[int]]) -> None:
        self._reactor = reactor
        self._run = run
        self._ask = ask
        self._known: dict[int, tuple[frozenset[int], float]] = {}
        self._waiting: dict[int, list[Deferred[None]]] = {}

    def groups(self, uid: object) -> frozenset[int]:
        """The groups of ``uid``; none if it was never asked for."""
        return self._known.get(uid, _NOTHING)[0]  # type: ignore[call-overload, no-any-return]

    def find(self, uid: int) -> Deferred[None] | None:
        """See :meth:`Listed.find`."""
        known = self._known.get(uid)
        if known is None or self._reactor.seconds() >= known[1]:
            self._ask_for(uid)
        if known is not None:
            return None
        waiting = self._waiting.get(uid)
        if waiting is None:
            # Answered at once, or too many are asked for.
            return None if uid in self._known else _failed(f"{len(self._waiting)} users are")
        result: Deferred[None] = Deferred(waiting.remove)
        waiting.append(result)
        timer = self._reactor.callLater(PATIENCE, self._give_up, waiting, result)
        return result.addBoth(_stop, timer)

    def refresh(self) -> None:
        """Ask again for all that are known, one after the other as they are wanted."""
        now = self._reactor.seconds()
        self._known = {uid: (groups, now) for uid, (groups, _) in self._known.items()}

    def _ask_for(self, uid: int) -> None:
        if uid not in self._waiting and len(self._waiting) < MOST_ASKED:
            self._waiting[uid] = []
            self._run(lambda: self._ask(uid)).addBoth(self._told, uid)

    def _told(self, groups: frozenset[int] | Failure, uid: int) -> None:
        waiting = self._waiting.pop(uid)
        if isinstance(groups, frozenset):
            self._known.pop(uid, None)
            if len(self._known) >= MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[uid] = groups, self._reactor.seconds() + FRESH_FOR
        # Whoever is told may make another one give up.
        while waiting:
            if isinstance(groups, frozenset):
                waiting.pop().callback(None)
            else:
                self._give_up(waiting, waiting[-1])

    def _give_up(self, waiting: list[Deferred[None]], result: Deferred[None]) -> None:
        waiting.remove(result)
        result.errback(_error("it does not answer"))


_NOTHING: tuple[frozenset[int], float] = (frozenset(), 0.0)


def _error(detail: str) -> ProxyError:
    return ProxyError(Problem.OWNER_UNKNOWN, f"the directory of users: {detail}")


def _failed(detail: str) -> Deferred[None]:
    result: Deferred[None] = Deferred()
    result.errback(_error(f"{detail} asked for already"))
    return result


def _stop(result: T, timer: Call) -> T:
    if timer.active():
        timer.cancel()
    return result
