"""Failed logins: who has had too many waits before the next password is tried.

Knows the crowd, which counts, and the time. Knows nothing of passwords.
"""

from __future__ import annotations

from typing import Any

from ipyproxy.crowd import Crowd
from ipyproxy.errors import Problem, ProxyError


class LoginAttempts:
    """The logins of all clients.

    :param clock: anything with ``seconds()``.
    """

    def __init__(self, crowd: Crowd, clock: Any) -> None:
        self._crowd = crowd
        self._clock = clock

    def admit(self, client: str) -> None:
        """``client`` is about to try a password that has not been tried lately.

        Raises :class:`ProxyError` (``TOO_MANY_LOGINS``) if it has to wait.
        """
        wait = self._crowd.login_wait(client, self._clock.seconds())
        if wait:
            raise ProxyError(Problem.TOO_MANY_LOGINS, retry_after=wait)

    def failed(self, client: str) -> None:
        """``client`` has shown a wrong name or password."""
        self._crowd.login_failed(client, self._clock.seconds())
