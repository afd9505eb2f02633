"""A method: signed links, and the cookies that they are exchanged for.

Knows the file of keys and the time. :mod:`ipyproxy.access.tokens` parses tokens.
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
"""Seconds for which a browser is remembered that opens no further link."""


def key_file(path: Path) -> WatchedFile[Keyring]:
    """The keys in a file.

    :raises UnusableFileError: if the file cannot be used.
    """
    return WatchedFile(path, lambda text: Keyring(parse_keys(text)), secret=True)


class Links:
    """A method: a token in the request's query, or the cookie of its route.

    A cookie encloses the browser's identifier, a colon, and the notebook's own token if the link
    has one.

    :param keys: reads the file of keys.
    :param wall_clock: seconds since the epoch, as by :func:`time.time`.
    :param sessions: knows the browsers, and which ones were logged out.
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
                # The second cookie is for the page that waits for the notebook and asks for its
                # state.
                paths = route, STATE_PATH.encode("ascii") + route[route.rindex(b"/") :]
                lines = [set_cookie(path, value, seconds) for path in paths]
                lines.insert(0, set_host_cookie(known, _KNOWN_FOR, BROWSER_COOKIE))
                return Passed(told.user, cookie=b"\r\n".join(lines))
            if isinstance(shown, Lack):
                # If both the link and the cookie are bad, report the link, which was just opened.
                return Failed(told)
        if isinstance(shown, Lack):
            return Failed(shown)
        if self._has_left(shown):
            return Failed(Lack.EXPIRED)
        holds = self._watch(keys, shown, facts) if facts.is_upgrade else None
        return Passed(shown.user, _login(shown, facts), holds=holds)

    def _has_left(self, ticket: Ticket) -> bool:
        """Whether the browser of a cookie was logged out."""
        return self._sessions.has_left(ticket.enclosed.partition(b":")[0].decode("ascii"))

    def _watch(self, keys: Keyring, ticket: Ticket, facts: RequestFacts) -> Holds:
        """Whether a cookie is still valid: the browser is not logged out, and its time is not over.

        Its key must still be in the file, too.
        """
        cookies, route, revoked = facts.cookies, facts.route or b"", facts.revoked

        def holds() -> bool:
            now = self._wall_clock()
            if now >= ticket.expires or self._has_left(ticket):
                return False
            current = self._keys.latest()
            # An unreadable file admits nobody new, but does not end what was admitted before.
            if current is None or current is keys:
                return True
            return isinstance(current.check_cookies(cookies, route, now, revoked), Ticket)

        return holds


def _login(ticket: Ticket, facts: RequestFacts) -> tuple[bytes, ...]:
    """The field line that logs in to the notebook itself, with the token in the link.

    Jupyter answers a page request that has the token with its own cookie, and from then on the
    cookie counts. So the token is not sent with requests that change something: for these, Jupyter
    checks its cookie and the request's origin.
    """
    token = ticket.enclosed.partition(b":")[2]
    opens = facts.method in READING and not facts.is_upgrade
    if not token or not opens or facts.authorization:
        return ()
    return (b"Authorization: token " + token,)
