"""Logins: how many of each client's are being checked or have failed, and who has to wait.

Knows the clients, which counts, the time, and the log of refusals. Knows nothing of passwords.
"""

from __future__ import annotations

from ipyproxy.clock import Clock
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.server.clients import Clients
from ipyproxy.server.refusals import Audit


class LoginAttempts:
    """The logins of all clients.

    :param clock: anything with ``seconds()``.
    :param audit: tells the log of failures that no request is refused with any more.
    """

    def __init__(self, clients: Clients, clock: Clock, audit: Audit) -> None:
        self._clients = clients
        self._clock = clock
        self._audit = audit

    def admit(self, client: str) -> None:
        """``client`` wants to try a password that has not been tried lately.

        Raises :class:`ProxyError` (``TOO_MANY_LOGINS``) if it has to wait.
        """
        wait = self._clients.login_wait(client, self._clock.seconds())
        if wait:
            raise ProxyError(Problem.TOO_MANY_LOGINS, retry_after=wait)

    def begin(self, client: str) -> None:
        """A password of ``client`` is about to be checked: it counts as failed until the end.

        Raises :class:`ProxyError` as :meth:`admit` does, and then nothing has begun. Otherwise
        :meth:`end` is to be called once.
        """
        self.admit(client)
        self._clients.login_begun(client, self._clock.seconds())

    def end(self, client: str, *, failed: bool) -> None:
        """The check has come to its end."""
        now = self._clock.seconds()
        self._clients.login_ended(client, now)
        if failed:
            self._clients.login_failed(client, now)

    def unheard(self, client: str, *, by_page: bool) -> None:
        """``client`` has failed, and left before it could be told so.

        :param by_page: whether another site's page may have had its browser try.
        """
        error = ProxyError(Problem.LOGIN_FAILED, "htpasswd: wrong credentials, and it has left")
        self._audit.note(client, error, self._clock.seconds(), by_page=by_page)

    def sweep(self, now: float) -> None:
        """See :meth:`ipyproxy.server.refusals.Audit.sweep`."""
        self._audit.sweep(now)
