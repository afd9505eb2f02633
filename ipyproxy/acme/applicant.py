"""Requests certificates from an authority, and asks it when to renew one.

Knows the authority, the account, the kind of certificates to request, and the time limit. Knows
nothing of when a certificate is due, or of what follows from a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import CancelledError, Deferred

from ipyproxy.acme.client import Client, Proof, Wanted
from ipyproxy.acme.documents import AcmeError
from ipyproxy.acme.jose import AccountKey
from ipyproxy.acme.material import (
    Key,
    KeyKind,
    certificate_id,
    key_pem,
    kind_of,
    new_key,
    signing_request,
)
from ipyproxy.acme.proofs import usable
from ipyproxy.acme.renewal import Window
from ipyproxy.acme.standing import Kept
from ipyproxy.acme.store import Store
from ipyproxy.clock import Clock
from ipyproxy.threads import Run

T = TypeVar("T")

LONGEST_ATTEMPT = 600.0
"""Longest attempt, in seconds."""
_GIVEN_UP = f"gave up after {LONGEST_ATTEMPT / 60:g} minutes"


class Policy(NamedTuple):
    """The kind of certificates to request. A pinned key is kept at a renewal."""

    key: KeyKind = "ecdsa"
    pinned: bool = False


class Applicant:
    """Makes requests with the account whose key is in ``store``.

    :param connect: makes the client for an account's key.
    :param proofs: the ways to answer challenges, the simplest first.
    :param run: runs work in a thread.
    """

    def __init__(
        self,
        reactor: Clock,
        store: Store,
        connect: Callable[[AccountKey], Client],
        proofs: Sequence[Proof],
        run: Run,
        policy: Policy,
    ) -> None:
        self._reactor = reactor
        self._store = store
        self._connect = connect
        self._client: Client | None = None
        self._proofs = proofs
        self._run = run
        self._policy = policy

    def would_get(self, kept: Kept) -> bool:
        """Whether a new certificate would be of the same kind as ``kept``."""
        if self._client is not None and not _is_from(self._client, kept):
            return False
        return kind_of(kept.certificate.private_key) == self._policy.key

    async def client(self) -> Client:
        """The client for the present account."""
        key = await self._run(self._store.account_key)
        if self._client is None or self._client.account.key.thumbprint != key.thumbprint:
            # The key is new, or another node has changed it.
            self._client = self._connect(key)
        return self._client

    async def renewal_window(self, kept: Kept) -> tuple[Window, float] | None:
        """When the authority suggests to renew ``kept``, and when to ask it again.

        None if it suggests nothing. Raises AcmeError.
        """
        client = await self.client()
        identifier = certificate_id(kept.certificate.chain[0])
        if identifier is None or not _is_from(client, kept):
            return None
        return await self.in_time(client.renewal_window(identifier))

    async def obtain(self, name: str, kept: Kept | None, failures: int, *, new_key: bool) -> None:
        """Get a certificate for ``name`` into the store.

        Raises AcmeError, CertificateError or OSError if that fails.

        :param kept: the certificate that it replaces.
        :param failures: how many attempts have failed since the last success.
        :param new_key: whether to make a new key, even if the key is pinned.
        """
        await self.in_time(self._obtain(name, kept, failures, new_key=new_key))

    async def _obtain(self, name: str, kept: Kept | None, failures: int, *, new_key: bool) -> None:
        client = await self.client()
        proofs = usable(name, self._proofs)
        if not proofs:
            raise AcmeError("a name with a * takes tls.dns_hook or tls.dns_persist")
        turn = failures % len(proofs)  # after a failure, another way may work
        key = await self._run(lambda: self._key_for(None if new_key else kept))
        replaces = None
        if kept is not None and _is_from(client, kept):
            replaces = certificate_id(kept.certificate.chain[0])
        wanted = Wanted(name, signing_request(key, name), replaces)
        chain = await client.obtain(wanted, [*proofs[turn:], *proofs[:turn]])
        url = client.account.authority.url
        await self._run(lambda: self._store.save(name, url, key_pem(key), chain))

    def _key_for(self, kept: Kept | None) -> Key:
        if kept is not None and self._policy.pinned:
            key = kept.certificate.private_key
            if kind_of(key) == self._policy.key:
                return key
        return new_key(self._policy.key)

    async def in_time(self, work: Coroutine[Deferred[Any], Any, T]) -> T:
        """The result of ``work`` within :data:`LONGEST_ATTEMPT`. Raises AcmeError."""
        working = Deferred.fromCoroutine(work)
        late: list[bool] = []

        def give_up() -> None:
            late.append(True)
            working.cancel()

        deadline = self._reactor.callLater(LONGEST_ATTEMPT, give_up)
        try:
            return await working
        except CancelledError:
            if late:
                raise AcmeError(_GIVEN_UP) from None
            raise
        finally:
            if deadline.active():
                deadline.cancel()


def _is_from(client: Client, kept: Kept) -> bool:
    """Whether a certificate is from the present authority."""
    return kept.authority == client.account.authority.url
