"""A method: client certificates, by their subjects.

That a certificate is genuine, the handshake has found out.
"""

from __future__ import annotations

from ipyproxy.access.facts import Failed, Finding, Inquiry, Lack, Passed
from ipyproxy.access.subjects import Subjects


class Certificates:
    """A method: the subject of the connection's certificate stands for a user."""

    def __init__(self, subjects: Subjects) -> None:
        self._subjects = subjects

    def examine(self, inquiry: Inquiry) -> Finding:
        """See :class:`~ipyproxy.auth.gate.Method`."""
        if inquiry.subject is None:
            return Failed(Lack.NOTHING)
        user = self._subjects.user(inquiry.subject)
        return Failed(Lack.FOREIGN) if user is None else Passed(user)
