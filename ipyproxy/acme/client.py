"""Asks an authority for a certificate (RFC 8555), and for the time to renew one (RFC 9773).

Knows the order of the requests. The account, the clock and the ways to answer challenges are handed
in. Knows nothing of files, or of when a certificate is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred

from ipyproxy.acme.account import Account, Answer, location
from ipyproxy.acme.documents import (
    AcmeError,
    Authorization,
    Challenge,
    Order,
    Step,
    read_authorization,
    read_order,
    read_window,
)
from ipyproxy.acme.jose import base64url
from ipyproxy.acme.material import Reason
from ipyproxy.acme.renewal import Window
from ipyproxy.net.hosts import parse_address

SHORT_LIVED = "shortlived"
"""The profile with which Let's Encrypt issues certificates for addresses."""

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0


class Task(NamedTuple):
    """A challenge to answer: it proves that ``name`` is ours.

    ``account`` is the URL of our account, ``key_authorization`` proves possession of its key.
    """

    name: str
    challenge: Challenge
    key_authorization: str
    account: str


class Proof(Protocol):
    """A way to prove that a name is ours."""

    kind: str
    """The type of the challenge, such as ``tls-alpn-01``."""

    async def show(self, task: Task) -> None:
        """Publish the proof, so that the authority can see it. Raises AcmeError."""

    async def withdraw(self, task: Task) -> None:
        """Remove the proof. Raises nothing."""

    def advice(self, task: Task) -> str:
        """What a person can do if the authority does not accept the proof; "" if unknown."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A certificate to order: for ``name`` and the key that signed ``request`` (DER).

    ``replaces`` is the :func:`~ipyproxy.acme.material.certificate_id` of the former certificate.
    """

    name: str
    request: bytes
    replaces: str | None = None


class Client:
    """Makes the requests of one ``account``.

    :param sleep: returns a Deferred that fires after so many seconds.
    """

    def __init__(self, account: Account, sleep: Callable[[float], Deferred[None]]) -> None:
        self.account = account
        self._sleep = sleep

    async def obtain(self, wanted: Wanted, proofs: Sequence[Proof]) -> bytes:
        """Get the certificate and its chain, in PEM. Raises AcmeError.

        :param proofs: ways to prove that the name is ours, the best one first.
        """
        self.account.look_again()
        try:
            return await self._obtain(wanted, proofs)
        except AcmeError:
            self.account.forget()
            raise

    async def renewal_window(self, identifier: str) -> tuple[Window, float] | None:
        """The time at which the authority suggests a renewal; None: it suggests none.

        The second value is after how many seconds to ask again; 0 if it doesn't say.
        """
        self.account.look_again()
        directory = await self.account.directory()
        if directory.renewal_info is None:
            return None
        answer = await self.account.get(f"{directory.renewal_info}/{identifier}")
        return read_window(self.account.document(answer)), self.account.retry_after(answer)

    async def revoke(self, certificate: x509.Certificate, reason: Reason) -> None:
        """Revoke ``certificate`` (RFC 8555 section 7.6); it may be revoked already.

        Raises AcmeError.
        """
        self.account.look_again()
        directory = await self.account.directory()
        if directory.revoke_certificate is None:
            raise AcmeError("the authority revokes no certificates")
        await self.account.log_in()
        whole = base64url(certificate.public_bytes(Encoding.DER))
        content = {"certificate": whole, "reason": reason.value}
        try:
            await self.account.post(directory.revoke_certificate, content)
        except AcmeError as error:
            if error.kind != "alreadyRevoked":
                raise

    # An order, from start to end.

    async def _obtain(self, wanted: Wanted, proofs: Sequence[Proof]) -> bytes:
        url, order = await self._order(wanted)
        pause, finalized = _FIRST_PAUSE, False
        while True:
            if order.step is Step.DOWNLOAD:
                return _checked((await self.account.post(order.certificate)).body, wanted)
            if order.step is Step.GIVE_UP:
                raise AcmeError(order.why or "the authority has given the order up")
            if order.step is Step.AUTHORIZE:
                for authorization in order.authorizations:
                    await self._authorize(authorization, wanted.name, proofs)
            elif order.step is Step.FINALIZE and not finalized:
                finalized = True
                await self.account.post(order.finalize, {"csr": base64url(wanted.request)})
            before = order.step
            answer = await self.account.post(url)
            order = read_order(self.account.document(answer))
            if order.step is before:
                pause = await self._pause(answer, pause)

    async def _order(self, wanted: Wanted) -> tuple[str, Order]:
        directory = await self.account.directory()
        await self.account.log_in()
        kind = "dns" if parse_address(wanted.name) is None else "ip"
        order: dict[str, Any] = {"identifiers": [{"type": kind, "value": wanted.name}]}
        profile = self.account.authority.profile
        if kind == "ip" and not profile and SHORT_LIVED in directory.profiles:
            profile = SHORT_LIVED
        if profile:
            order["profile"] = profile
        if wanted.replaces is not None and directory.renewal_info is not None:
            order["replaces"] = wanted.replaces
        try:
            answer = await self.account.post(directory.new_order, order)
        except AcmeError as error:
            # "replaces" is only a hint: the former certificate may be from another authority, or
            # another node has replaced it already.
            if "replaces" not in order or error.kind not in ("alreadyReplaced", "malformed"):
                raise
            del order["replaces"]
            answer = await self.account.post(directory.new_order, order)
        return location(answer), read_order(self.account.document(answer))

    async def _authorize(self, url: str, name: str, proofs: Sequence[Proof]) -> None:
        """Prove that ``name`` is ours, unless an earlier proof is still valid."""
        post, document = self.account.post, self.account.document
        authorization = read_authorization(document(await post(url)))
        if authorization.status == "valid":
            return
        if authorization.status != "pending":
            raise AcmeError(_unconvinced(authorization))
        challenge, proof = _choose(authorization, proofs)
        key_authorization = f"{challenge.token}.{self.account.key.thumbprint}"
        task = Task(name, challenge, key_authorization, await self.account.log_in())
        try:
            await proof.show(task)
            await post(challenge.url, {})
            pause = _FIRST_PAUSE
            while authorization.status == "pending":
                answer = await post(url)
                authorization = read_authorization(document(answer))
                if authorization.status == "pending":
                    pause = await self._pause(answer, pause)
        finally:
            await proof.withdraw(task)
        if authorization.status != "valid":
            why = _unconvinced(authorization, challenge.kind)
            raise AcmeError("; ".join(filter(None, (why, proof.advice(task)))))

    async def _pause(self, answer: Answer, pause: float) -> float:
        """Wait as long as the authority asks for. Returns how long to wait the next time."""
        wish = self.account.retry_after(answer)
        await self._sleep(min(max(pause, wish), _LONGEST_PAUSE))
        return min(2 * pause, _LONGEST_PAUSE)


def _choose(authorization: Authorization, proofs: Sequence[Proof]) -> tuple[Challenge, Proof]:
    offered = {challenge.kind: challenge for challenge in authorization.challenges}
    for proof in proofs:
        if proof.kind in offered:
            return offered[proof.kind], proof
    raise AcmeError(
        f"the authority offers {_listed(offered)}, and here is {_listed(p.kind for p in proofs)}"
    )


def _listed(kinds: Iterable[str]) -> str:
    return ", ".join(sorted(kinds)) or "no way"


def _unconvinced(authorization: Authorization, kind: str = "") -> str:
    way = f" by {kind}" if kind else ""
    return f"the proof{way} did not convince the authority: {authorization.why}"


def _checked(chain: bytes, wanted: Wanted) -> bytes:
    """``chain``, if it is for our key. Everything else is checked when it is loaded."""
    try:
        certificate = x509.load_pem_x509_certificates(chain)[0]
        key = x509.load_der_x509_csr(wanted.request).public_key()
        is_ours = certificate.public_key() == key
    except ValueError:
        raise AcmeError("the authority's certificate is malformed") from None
    if not is_ours:
        raise AcmeError("the authority's certificate is for another key than ours")
    return chain
