"""A method: client certificates, by their subjects.

The TLS handshake has verified the certificate before.
"""

from __future__ import annotations

from ipyproxy.access.facts import Failed, Finding, Lack, Passed, RequestFacts
from ipyproxy.access.subjects import Subjects


class Certificates:
    """A method: the subject of the client certificate names the user."""

    def __init__(self, subjects: Subjects) -> None:
        self._subjects = subjects

    def examine(self, facts: RequestFacts) -> Finding:
        """See :class:`~ipyproxy.auth.gate.Method`."""
        if facts.subject is None:
            return Failed(Lack.NOTHING)
        user = self._subjects.user(facts.subject)
        return Failed(Lack.FOREIGN) if user is None else Passed(user)
