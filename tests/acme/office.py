"""A keeper with its authority, whose time the test plays; nothing of it leaves memory but files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock, deferLater

from ipyproxy.acme.account import Account, Authority
from ipyproxy.acme.applicant import Applicant, Policy
from ipyproxy.acme.client import Client, Proof
from ipyproxy.acme.jose import AccountKey
from ipyproxy.acme.keeper import Keeper
from ipyproxy.acme.proofs import Http, TlsAlpn
from ipyproxy.acme.store import Store
from ipyproxy.tls import Certificate
from tests.acme.authority import URL, FakeAuthority

START = 1_800_000_000.0
HUB, LAB = "hub.example.org", "lab.example.org"
HOUR, DAY = 3600.0, 86400.0


def at_once(work: Callable[[], Any]) -> Deferred[Any]:
    """Do the work of a thread here and now."""
    return execute(work)


def no_challenge(asked_for: str) -> Certificate | None:
    """What a store answers that has no proof for an authority."""
    return None


class Office:
    """One node.

    :ivar served: what was put in place, the latest last.
    """

    def __init__(
        self,
        directory: Path,
        *names: str,
        clock: Clock | None = None,
        authority: FakeAuthority | None = None,
        proofs: Callable[[Store], Sequence[Proof]] | None = None,
        policy: Policy | None = None,
        asks: Authority | None = None,
        lifetime: float = 90 * DAY,
        store: type[Store] = Store,
        serve: Callable[[Certificate], None] | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.offset = START
        self.store = store(directory, names or (HUB,))
        self.authority = authority or FakeAuthority(self.now, self.store, lifetime=lifetime)
        self.served: list[Certificate] = []
        self.asks = asks or Authority(URL, "admin@example.org")
        made = proofs or (lambda store: [TlsAlpn(store, at_once), Http(store, at_once)])
        applicant = Applicant(
            self.clock, self.store, self._connect, made(self.store), at_once, policy or Policy()
        )
        self.keeper = Keeper(
            self.clock, self.now, self.store, applicant, at_once, serve or self.served.append
        )

    def now(self) -> float:
        return self.offset + self.clock.seconds()

    def _connect(self, key: AccountKey) -> Client:
        def sleep(seconds: float) -> Deferred[None]:
            return deferLater(self.clock, seconds)

        return Client(Account(self.asks, key, self.authority.send, self.now), sleep)

    def start(self) -> Office:
        self.keeper.start()
        return self

    def wait(self, seconds: float, step: float = 5.0) -> None:
        """Let time pass, at a pace at which everything is called that is due."""
        until = self.clock.seconds() + seconds
        while self.clock.seconds() < until:
            self.clock.advance(min(step, until - self.clock.seconds()))

    def attempts(self) -> int:
        return len(self.authority.orders)
