"""A method: a password in the request (Basic), or a session from the proxy's login page.

Knows which of the two a request has. Other modules check passwords and sessions.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, succeed

from ipyproxy.access.basic import NamedPassword, parse_basic
from ipyproxy.access.facts import Failed, Finding, Lack, Passed, RequestFacts
from ipyproxy.access.navigation import OWN_LOGIN
from ipyproxy.access.sessions import COOKIE, Session, set_cookie
from ipyproxy.access.tokens import cookies_named
from ipyproxy.auth.htpasswd import NOTHING, Htpasswd, Users
from ipyproxy.auth.sessions import Sessions


class PasswordLogin:
    """A method: the Basic scheme for programs, and the login page's sessions for people.

    If a request has a Basic password, that decides; otherwise its session does. So a notebook's own
    ``Authorization: token ...`` can be sent beside a session, and reaches the notebook.

    :param seconds: how long a session lasts.
    """

    def __init__(self, passwords: Htpasswd, sessions: Sessions, seconds: int) -> None:
        self._passwords = passwords
        self._sessions = sessions
        self._seconds = seconds

    def examine(self, facts: RequestFacts) -> Finding | Deferred[Finding]:
        """See :class:`~ipyproxy.auth.gate.Method`."""
        if parse_basic(facts.authorization) is None and not cookies_named(COOKIE, facts.cookies):
            return NOTHING._replace(login=OWN_LOGIN)
        return self._passwords.users.content().addCallback(self._judge, facts)

    def _judge(self, users: Users, facts: RequestFacts) -> Finding | Deferred[Finding]:
        shown = parse_basic(facts.authorization)
        if shown is not None:
            client, by_page = facts.client, facts.by_page
            checked = _later(self._passwords.check(users, shown, client, by_page=by_page))
            return checked.addCallback(self._watched, users) if facts.is_upgrade else checked
        session = self._sessions.find(facts.cookies, users.proof)
        if isinstance(session, Lack):
            return Failed(session, 401, NOTHING.lines, OWN_LOGIN)
        passed = Passed(session.user)
        return self._watched(passed, users, session) if facts.is_upgrade else passed

    def log_in(self, shown: NamedPassword, client: str, *, by_page: bool) -> Deferred[Finding]:
        """Check a password from the login page; if it is right, begin a session.

        The finding's cookie gives the session to the browser. Fails with :class:`ProxyError` as
        :meth:`Htpasswd.check` does.

        :param client: the client's address.
        :param by_page: whether a page may have made its visitor's browser send it.
        """

        def check(users: Users) -> Deferred[Finding]:
            checked = _later(self._passwords.check(users, shown, client, by_page=by_page))
            # The password may have changed during the check; a session is only for the one that was
            # checked.
            return checked.addCallback(self._begin, users.proof(shown.name))

        return self._passwords.users.content().addCallback(check)

    def _begin(self, finding: Finding, proof: str | None) -> Finding:
        if isinstance(finding, Failed) or finding.user is None or proof is None:
            return finding
        value = self._sessions.begin(finding.user, proof, self._seconds)
        return finding._replace(cookie=set_cookie(value, self._seconds))

    def log_out(self, cookies: Sequence[bytes]) -> Deferred[str | None]:
        """End the session of a browser. Returns the user, if there was a session.

        Fails with :class:`ProxyError` (``AUTH_UNAVAILABLE``).

        :param cookies: the values of the field Cookie.
        """
        return self._passwords.users.content().addCallback(self._end, cookies)

    def _end(self, users: Users, cookies: Sequence[bytes]) -> str | None:
        session = self._sessions.find(cookies, users.proof)
        if isinstance(session, Lack):
            return None
        self._sessions.end(session)
        return session.user

    def _watched(self, finding: Finding, users: Users, session: Session | None = None) -> Finding:
        """``finding``, valid as long as the password, and the session if there is one."""
        if isinstance(finding, Failed) or finding.user is None:
            return finding
        user, proof = finding.user, users.proof(finding.user)

        def holds() -> bool:
            if session is not None and self._sessions.has_ended(session):
                return False
            latest = self._passwords.users.latest()
            # An unreadable file admits nobody new, but does not end what was admitted before.
            return latest is None or latest.proof(user) == proof

        return finding._replace(holds=holds)


def _later(finding: Finding | Deferred[Finding]) -> Deferred[Finding]:
    return finding if isinstance(finding, Deferred) else succeed(finding)
