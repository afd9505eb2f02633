"""The owners: users and groups in the configuration whose notebooks are served.

Knows the system's directory of users (getpwuid(3), getgrouplist(3)). It may be on another machine
and answer slowly or never, so it is asked in threads, and its answers are cached. Knows nothing of
ports and requests.
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
"""Seconds after which the directory is asked again. Until it answers, the last answer counts."""
PATIENCE: Final = 5.0
"""Seconds that a request waits for the directory's first answer about a user."""
MOST_ASKED: Final = 64
"""Most users that the directory is asked about at once; requests for others are refused."""
MOST_KNOWN: Final = 1024
"""Most users whose groups are cached."""


class OwnersError(Exception):
    """No such user or group."""


class Owners:
    """The ids of the configured users and groups. Making this object may take long.

    :param names: users, and groups with an ``@`` before their names.
    :raises OwnersError: if a name is unknown.
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
    """All groups of a user; empty if there is no such user. May take long."""
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return frozenset()
    return frozenset(os.getgrouplist(user.pw_name, user.pw_gid))


class Listed(Protocol):
    """The users whose notebooks are served."""

    def __contains__(self, uid: object) -> bool:
        """Whether the user ``uid`` is known to be an owner."""

    def find(self, uid: int) -> Deferred[None] | None:
        """Find out whether ``uid`` is an owner; None: that is known already.

        Fails with :class:`ProxyError` (``OWNER_UNKNOWN``) if the directory does not answer in time.
        """


class KnownOwners:
    """The users in ``owners``: named ones, and members of groups as ``directory`` knows them."""

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
    """A cache of the system's directory: the groups of users.

    :param reactor: for its clock.
    :param run: runs work in a thread.
    :param ask: returns the groups of a user; may take long.
    """

    def __init__(self, reactor: Clock, run: Run, ask: Callable[[int], frozenset[int]]) -> None:
        self._reactor = reactor
        self._run = run
        self._ask = ask
        self._known: dict[int, tuple[frozenset[int], float]] = {}
        self._waiting: dict[int, list[Deferred[None]]] = {}

    def groups(self, uid: object) -> frozenset[int]:
        """The groups of ``uid``; empty if the directory was never asked about it."""
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
            # It was answered at once, or too many questions are open.
            return None if uid in self._known else _failed(f"{len(self._waiting)} users are")
        result: Deferred[None] = Deferred(waiting.remove)
        waiting.append(result)
        timer = self._reactor.callLater(PATIENCE, self._give_up, waiting, result)
        return result.addBoth(_stop, timer)

    def refresh(self) -> None:
        """Mark all answers as outdated, so that each user is asked about again when needed."""
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
        # A callback may make another request give up.
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
