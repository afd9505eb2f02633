"""A method: links that somebody has signed, and the cookies that they are exchanged for.

Knows the file of keys and the time. What a token says is :mod:`ipyproxy.access.tokens`'.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred

from ipyproxy.access.facts import Failed, Finding, Holds, Lack, Passed, RequestFacts
from ipyproxy.access.sessions import BROWSER_COOKIE
from ipyproxy.access.sessions import set_cookie as set_host_cookie
from ipyproxy.access.tokens import Keyring, Ticket, parse_keys, set_cookie
from ipyproxy.auth.lookout import Lookout
from ipyproxy.auth.sessions import Sessions
from ipyproxy.auth.watchedfile import WatchedFile
from ipyproxy.http1.head import READING
from ipyproxy.routes.notebooks import STATE_PATH

_KNOWN_FOR = 30 * 86400
"""Seconds for which a browser is known that opens no further link."""


def key_file(path: Path) -> WatchedFile[Keyring]:
    """The keys in a file.

    :raises UnusableFileError: if there are none to be had.
    """
    return WatchedFile(path, lambda text: Keyring(parse_keys(text)), secret=True)


class Links:
    """A method: a token in the address, or the cookie of its route.

    What a cookie encloses is what its browser is known as, a colon, and the notebook's own token if
    the link came with one.

    :param keys: looks at the file of keys.
    :param wall_clock: seconds since the epoch, as by :func:`time.time`.
    :param sessions: knows the browsers, and which of them were logged out.
    """

    def __init__(
        self,
        keys: Lookout[Keyring],
        wall_clock: Callable[[], float],
        sessions: Sessions,
    ) -> None:
        self._keys = keys
        self._wall_clock = wall_clock
        self._sessions = sessions

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
                browser, known = self._sessions.meet(facts.cookies)
                enclosed = browser.encode() + b":" + told.enclosed
                value = keys.bake(route, told._replace(enclosed=enclosed))
                # The second is for the page that waits for the notebook, and asks for its state.
                paths = route, STATE_PATH.encode("ascii") + route[route.rindex(b"/") :]
                lines = [set_cookie(path, value, seconds) for path in paths]
                lines.insert(0, set_host_cookie(known, _KNOWN_FOR, BROWSER_COOKIE))
                return Passed(told.user, cookie=b"\r\n".join(lines))
            if isinstance(shown, Lack):
                # Of a bad link and a bad cookie, the link is what somebody has just tried.
                return Failed(told)
        if isinstance(shown, Lack):
            return Failed(shown)
        if self._has_left(shown):
            return Failed(Lack.EXPIRED)
        holds = self._watch(keys, shown, facts) if facts.is_upgrade else None
        return Passed(shown.user, _login(shown, facts), holds=holds)

    def _has_left(self, ticket: Ticket) -> bool:
        """Whether the browser that a cookie was given to was logged out."""
        return self._sessions.has_left(ticket.enclosed.partition(b":")[0].decode("ascii"))

    def _watch(self, keys: Keyring, ticket: Ticket, facts: RequestFacts) -> Holds:
        """Whether a cookie is still good: nobody has logged out, and its time is not over.

        Nor was its key taken out.
        """
        cookies, route, revoked = facts.cookies, facts.route or b"", facts.revoked

        def holds() -> bool:
            now = self._wall_clock()
            if now >= ticket.expires or self._has_left(ticket):
                return False
            current = self._keys.latest()
            # Nobody gets in by a file that can't be read, but who is in may be so rightly.
            if current is None or current is keys:
                return True
            return isinstance(current.check_cookies(cookies, route, now, revoked), Ticket)

        return holds


def _login(ticket: Ticket, facts: RequestFacts) -> tuple[bytes, ...]:
    """The line that logs in to the notebook itself, with a token that came with the link.

    Jupyter gives its own cookie to whoever opens a page with it; from then on that is what counts.
    So nothing that changes something is sent with it: for that, Jupyter checks its cookie and where
    the request comes from.
    """
    token = ticket.enclosed.partition(b":")[2]
    opens = facts.method in READING and not facts.is_upgrade
    if not token or not opens or facts.authorization:
        return ()
    return (b"Authorization: token " + token,)
