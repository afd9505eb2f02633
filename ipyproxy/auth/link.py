"""A method: links that somebody has signed, and the cookies that they are exchanged for.

Knows the file of keys and the time. What a token says is :mod:`ipyproxy.access.tokens`'.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred

from ipyproxy.access.facts import Failed, Finding, Lack, Passed, RequestFacts
from ipyproxy.access.tokens import Keyring, Ticket, parse_keys, set_cookie
from ipyproxy.auth.lookout import Lookout
from ipyproxy.auth.watchedfile import WatchedFile
from ipyproxy.routes.notebooks import STATE_PATH


def key_file(path: Path) -> WatchedFile[Keyring]:
    """The keys in a file.

    :raises UnusableFileError: if there are none to be had.
    """
    return WatchedFile(path, lambda text: Keyring(parse_keys(text)), secret=True)


class Links:
    """A method: a token in the address, or the cookie of its route.

    :param keys: looks at the file of keys.
    :param wall_clock: seconds since the epoch, as by :func:`time.time`.
    """

    def __init__(self, keys: Lookout[Keyring], wall_clock: Callable[[], float]) -> None:
        self._keys = keys
        self._wall_clock = wall_clock

    def examine(self, facts: RequestFacts) -> Finding | Deferred[Finding]:
        """See :class:`~ipyproxy.auth.gate.Method`."""
        route = facts.route
        if route is None:
            return Failed(Lack.NOTHING)
        return self._keys.content().addCallback(self._check, facts, route)

    def _check(self, keys: Keyring, facts: RequestFacts, route: bytes) -> Finding:
        now, revoked = self._wall_clock(), facts.revoked
        shown = keys.check_cookies(facts.cookies, route, now, revoked)
        if facts.token is not None:
            told = keys.check(facts.token, route, now, revoked)
            if isinstance(told, Ticket):
                seconds = max(1, int(told.expires - now))
                value = keys.bake(route, told)
                # The second is for the page that waits for the notebook, and asks for its state.
                paths = route, STATE_PATH.encode("ascii") + route[route.rindex(b"/") :]
                cookie = b"\r\n".join(set_cookie(path, value, seconds) for path in paths)
                return Passed(told.user, cookie=cookie)
            if isinstance(shown, Lack):
                # Of a bad link and a bad cookie, the link is what somebody has just tried.
                return Failed(told)
        return Passed(shown.user) if isinstance(shown, Ticket) else Failed(shown)
