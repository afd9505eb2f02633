"""A method: a password, shown with a request or typed on our page and then stood for by a session.

Knows which of the two a request shows. How a password is checked and what a session is, it leaves
to others.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, succeed

from ipyproxy.access.basic import NamedPassword, parse_basic
from ipyproxy.access.facts import Failed, Finding, Lack, Passed, RequestFacts
from ipyproxy.access.navigation import OWN_LOGIN
from ipyproxy.access.sessions import Session, set_cookie
from ipyproxy.auth.htpasswd import NOTHING, Htpasswd
from ipyproxy.auth.sessions import Sessions
from ipyproxy.errors import ProxyError


class PasswordLogin:
    """A method: the Basic scheme for programs, and the login page's sessions for people.

    A request that shows a password is judged by it; any other by its session. So a notebook's own
    ``Authorization: token ...`` can stand beside a session, and reaches the notebook.

    :param seconds: how long a session lasts.
    """

    def __init__(self, passwords: Htpasswd, sessions: Sessions, seconds: int) -> None:
        self._passwords = passwords
        self._sessions = sessions
        self._seconds = seconds

    def examine(self, facts: RequestFacts) -> Finding | Deferred[Finding]:
        """See :class:`~ipyproxy.auth.gate.Method`."""
        if parse_basic(facts.authorization) is not None:
            found = self._passwords.examine(facts)
            if not facts.is_upgrade:
                return found
            if isinstance(found, Deferred):
                return found.addCallback(self._watched)
            return self._watched(found)
        session = self.session(facts.cookies)
        if isinstance(session, Lack):
            return Failed(session, 401, NOTHING.lines, OWN_LOGIN)
        passed = Passed(session.user)
        return self._watched(passed, session) if facts.is_upgrade else passed

    def session(self, cookies: Sequence[bytes]) -> Session | Lack:
        """The session that a browser shows, if it counts; else why not.

        :param cookies: the values of the field Cookie.
        """
        return self._sessions.find(cookies, self._passwords.proof)

    def log_in(self, shown: NamedPassword, client: str, *, by_page: bool) -> Deferred[Finding]:
        """Check a password that was typed on our page; if it is right, begin a session.

        The cookie of what is found gives the session to the browser. Raises :class:`ProxyError` as
        :meth:`Htpasswd.check` does.

        :param client: the address of whoever has sent it.
        :param by_page: whether a page may have had its visitor's browser send it.
        """
        # Read before the check, so that no session stands on a newer password than the one shown.
        proof = self._passwords.proof(shown.name)
        checked = self._passwords.check(shown, client, by_page=by_page)
        waiting = checked if isinstance(checked, Deferred) else succeed(checked)
        return waiting.addCallback(lambda finding: self._begin(finding, proof))

    def _begin(self, finding: Finding, proof: str | None) -> Finding:
        if isinstance(finding, Failed) or finding.user is None or proof is None:
            return finding
        value = self._sessions.begin(finding.user, proof, self._seconds)
        return finding._replace(cookie=set_cookie(value, self._seconds))

    def log_out(self, cookies: Sequence[bytes]) -> str | None:
        """End the session that a browser shows; whose it was, if it shows one."""
        session = self.session(cookies)
        if isinstance(session, Lack):
            return None
        self._sessions.end(session)
        return session.user

    def _watched(self, finding: Finding, session: Session | None = None) -> Finding:
        """``finding``, which holds as long as the password, and the session if there is one."""
        if isinstance(finding, Failed) or finding.user is None:
            return finding
        user, proof = finding.user, self._passwords.proof(finding.user)

        def holds() -> bool:
            if session is not None and self._sessions.has_ended(session):
                return False
            try:
                return self._passwords.proof(user) == proof
            except ProxyError:
                # Nobody gets in by a file that can't be read, but who is in may be so rightly.
                return True

        return finding._replace(holds=holds)
