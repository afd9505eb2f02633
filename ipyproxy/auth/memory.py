"""A method that keeps its users in memory, for tests.

A test can hold back its answers, and see what it was asked.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred

from ipyproxy.access.basic import CHALLENGE, parse_basic
from ipyproxy.access.facts import Failed, Finding, Lack, Passed, RequestFacts


class InMemory:
    """Users and passwords of the Basic scheme.

    :ivar asked: what was asked, in order.
    :ivar held: set to True, answers wait until :meth:`release`.
    """

    def __init__(self, users: Mapping[str, str]) -> None:
        self.users = dict(users)
        self.asked: list[RequestFacts] = []
        self.held = False
        self.waiting: list[tuple[Deferred[Finding], Finding]] = []

    def examine(self, facts: RequestFacts) -> Finding | Deferred[Finding]:
        """See :class:`~ipyproxy.auth.gate.Method`."""
        self.asked.append(facts)
        finding = self._find(facts)
        if not self.held:
            return finding
        waiting: Deferred[Finding] = Deferred(self._forget)
        self.waiting.append((waiting, finding))
        return waiting

    def _find(self, facts: RequestFacts) -> Finding:
        shown = parse_basic(facts.authorization)
        if shown is None:
            return Failed(Lack.NOTHING, 401, (CHALLENGE,))
        if self.users.get(shown.name) != shown.password:
            return Failed(Lack.WRONG, 401, (CHALLENGE,))
        return Passed(shown.name)

    def _forget(self, given_up: Deferred[Finding]) -> None:
        self.waiting = [pair for pair in self.waiting if pair[0] is not given_up]

    def release(self) -> None:
        """Send all answers that wait."""
        waiting, self.waiting = self.waiting, []
        for deferred, finding in waiting:
            deferred.callback(finding)
