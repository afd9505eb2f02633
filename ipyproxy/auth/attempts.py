"""Counts each client's logins that are being checked or have failed, and makes clients wait.

Knows the clients' records, the time, and the log of refusals. Knows nothing of passwords.
"""

from __future__ import annotations

from ipyproxy.clock import Clock
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.server.clients import Clients
from ipyproxy.server.refusals import Audit


class LoginAttempts:
    """The logins of all clients.

    :param clock: anything with ``seconds()``.
    :param audit: logs failures of clients that left before the answer.
    """

    def __init__(self, clients: Clients, clock: Clock, audit: Audit) -> None:
        self._clients = clients
        self._clock = clock
        self._audit = audit

    def admit(self, client: str) -> None:
        """Check whether ``client`` may try a password that was not tried recently.

        Raises :class:`ProxyError` (``TOO_MANY_LOGINS``) if it has to wait.
        """
        wait = self._clients.login_wait(client, self._clock.seconds())
        if wait:
            raise ProxyError(Problem.TOO_MANY_LOGINS, retry_after=wait)

    def begin(self, client: str) -> None:
        """A check of ``client``'s password begins; it counts as failed until it ends.

        Raises :class:`ProxyError` as :meth:`admit` does; then nothing has begun. Otherwise call
        :meth:`end` once.
        """
        self.admit(client)
        self._clients.login_begun(client, self._clock.seconds())

    def end(self, client: str, *, failed: bool) -> None:
        """The check has ended."""
        now = self._clock.seconds()
        self._clients.login_ended(client, now)
        if failed:
            self._clients.login_failed(client, now)

    def unheard(self, client: str, *, by_page: bool) -> None:
        """A login has failed, but ``client`` left before the answer.

        :param by_page: whether another site's page may have made its browser try.
        """
        error = ProxyError(Problem.LOGIN_FAILED, "htpasswd: wrong credentials, and it has left")
        self._audit.note(client, error, self._clock.seconds(), by_page=by_page)

    def sweep(self, now: float) -> None:
        """See :meth:`ipyproxy.server.refusals.Audit.sweep`."""
        self._audit.sweep(now)
