"""What people ask for besides certificates: to revoke old ones, or to change the account's key.

Knows the files in the store that stand for such wishes. Knows nothing of when certificates are due.
A failure is logged, and the errand is tried again later.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar

from cryptography import x509
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ipyproxy.acme.client import Client
from ipyproxy.acme.documents import AcmeError
from ipyproxy.acme.material import Reason
from ipyproxy.acme.store import Store
from ipyproxy.threads import Run

T = TypeVar("T")

RETRY = 3600.0
"""Seconds after a failure until the next attempt, unless the authority asks for more."""

_ACCOUNT = "the account's key"


class InTime(Protocol):
    """Awaits something for so long as an authority may take."""

    async def __call__(self, work: Coroutine[Deferred[Any], Any, T], /) -> T:
        """What it gives. Raises AcmeError where it takes longer."""


class Errands:
    """The errands in the ``store``.

    :param run: runs work in a thread.
    :param seconds: the reactor's clock.
    """

    log = Logger(namespace="ipyproxy.acme")

    def __init__(self, store: Store, run: Run, seconds: Callable[[], float]) -> None:
        self._store = store
        self._run = run
        self._seconds = seconds
        self._changes_key = False
        self._to_revoke: Mapping[x509.Certificate, Reason] = {}
        self._not_before: dict[str, float] = {}
        self._troubles: dict[str, str] = {}

    def look(self) -> bool:
        """Read the errands, in a thread. Returns whether any is due now."""
        self._changes_key = self._store.wants_account_key()
        self._to_revoke = self._store.revocations()
        left = {_ACCOUNT} if self._changes_key else set()
        left |= {_told(certificate) for certificate in self._to_revoke}
        for done in set(self._not_before) - left:  # done by us, or by another node
            self._not_before.pop(done)
            self._troubles.pop(done, None)
        return any(self._not_before.get(what, 0.0) <= self._seconds() for what in left)

    async def run(self, client: Client, in_time: InTime) -> None:
        """Do the errands that are due.

        :param in_time: see :class:`InTime`.
        """
        if self._changes_key:
            await self._do(_ACCOUNT, "changed", in_time, partial(self._change_key, client))
        for certificate, reason in self._to_revoke.items():
            revoke = partial(self._revoke, client, certificate, reason)
            await self._do(_told(certificate), "revoked", in_time, revoke)

    async def _do(
        self,
        what: str,
        done: str,
        in_time: InTime,
        work: Callable[[], Coroutine[Deferred[Any], Any, None]],
    ) -> None:
        if self._not_before.get(what, 0.0) > self._seconds():
            return
        try:
            await in_time(work())
        except AcmeError as error:
            self._not_before[what] = self._seconds() + max(RETRY, error.retry_after)
            self._troubles[what] = f"{what} is not {done}: {error}"
            self.log.warn("{why}; it is tried again in an hour", why=self._troubles[what])
        else:
            self._troubles.pop(what, None)
            self.log.info("{what} is {done}", what=what, done=done)

    async def _change_key(self, client: Client) -> None:
        key = await self._run(self._store.next_account_key)
        await client.account.change_key(key)
        await self._run(self._store.take_next_account_key)

    async def _revoke(self, client: Client, certificate: x509.Certificate, reason: Reason) -> None:
        await client.revoke(certificate, reason)
        await self._run(lambda: self._store.note_revoked(certificate))

    def concerns(self) -> Iterator[str]:
        """Sentences for the administrator."""
        yield from self._troubles.values()


def _told(certificate: x509.Certificate) -> str:
    return f"the certificate with the serial number {certificate.serial_number:x}"
