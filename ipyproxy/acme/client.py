"""Asks an authority for a certificate (RFC 8555), and when to renew one (RFC 9773).

Knows the order in which things are asked. Is handed how a request is sent, how time passes, and how
the proofs for a name are shown; knows nothing of files, or of when a certificate is wanted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography import x509
from twisted.internet.defer import Deferred

from ipyproxy.acme.documents import (
    AcmeError,
    Authorization,
    Challenge,
    Directory,
    Order,
    Step,
    read_authorization,
    read_directory,
    read_json,
    read_order,
    read_problem,
    read_retry_after,
    read_window,
)
from ipyproxy.acme.jose import AccountKey, base64url
from ipyproxy.acme.renewal import Window
from ipyproxy.net.hosts import parse_address

SHORT_LIVED = "shortlived"
"""The profile under which Let's Encrypt gives certificates for addresses."""

_MOST_BAD_NONCES = 20
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An authority's answer; the names of its fields are in lower case."""

    status: int
    fields: Mapping[str, str]
    body: bytes


class Send(Protocol):
    """Sends one request, and gives the whole answer."""

    def __call__(self, method: str, url: str, body: bytes | None = None) -> Deferred[Answer]:
        """Send it. The Deferred fails with AcmeError if no answer comes."""


class Proof(Protocol):
    """A way to prove that a name is ours."""

    kind: str
    """What the authority calls it, such as ``tls-alpn-01``."""

    async def show(self, name: str, token: str, key_authorization: str) -> None:
        """Let the authority see the proof for ``name`` from now on. Raises AcmeError."""

    async def withdraw(self, name: str, token: str, key_authorization: str) -> None:
        """Show it no more. Raises nothing."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Whom to ask, and as whom.

    ``binding`` is the key identifier and the secret that the authority's web site has told, where
    it does not give an account to just anybody.
    """

    url: str
    email: str = ""
    binding: tuple[str, bytes] | None = None
    profile: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A certificate that is wanted: for ``name``, of the key that ``request`` (DER) is signed with.

    ``replaces`` is the :func:`~ipyproxy.acme.material.certificate_id` of the one before it.
    """

    name: str
    request: bytes
    replaces: str | None = None


class Client:
    """An account with an authority. The account is made when it is needed first.

    :param sleep: gives a Deferred that fires after so many seconds.
    :param wall_clock: seconds since the epoch.
    """

    def __init__(
        self,
        authority: Authority,
        key: AccountKey,
        send: Send,
        sleep: Callable[[float], Deferred[None]],
        wall_clock: Callable[[], float],
    ) -> None:
        self.authority = authority
        self._key = key
        self._send = send
        self._sleep = sleep
        self._wall_clock = wall_clock
        self._nonce: str | None = None
        self._account: str | None = None
        self._known: Directory | None = None

    async def obtain(self, wanted: Wanted, proofs: Sequence[Proof]) -> bytes:
        """The certificate and its chain, PEM. Raises AcmeError.

        :param proofs: ways to prove that the name is ours, the best one first.
        """
        self._known = None  # it may have changed since the last time
        try:
            return await self._obtain(wanted, proofs)
        except AcmeError:
            # Whatever was remembered may be what was wrong.
            self._known = self._account = self._nonce = None
            raise

    async def renewal_window(self, identifier: str) -> tuple[Window, float] | None:
        """When the authority would like a certificate to be renewed; None: it does not say.

        The second is after how many seconds to ask again, 0 if it has no wish.
        """
        self._known = None
        directory = await self._directory()
        if directory.renewal_info is None:
            return None
        answer = await self._send("GET", f"{directory.renewal_info}/{identifier}")
        document = self._document(answer)
        return read_window(document), self._retry_after(answer)

    # An order, from its beginning to its end.

    async def _obtain(self, wanted: Wanted, proofs: Sequence[Proof]) -> bytes:
        url, order = await self._order(wanted)
        pause, finalized = _FIRST_PAUSE, False
        while True:
            if order.step is Step.DOWNLOAD:
                return _checked((await self._post(order.certificate)).body, wanted)
            if order.step is Step.GIVE_UP:
                raise AcmeError(order.why or "the authority has given the order up")
            if order.step is Step.AUTHORIZE:
                for authorization in order.authorizations:
                    await self._authorize(authorization, wanted.name, proofs)
            elif order.step is Step.FINALIZE and not finalized:
                finalized = True
                await self._post(order.finalize, {"csr": base64url(wanted.request)})
            before = order.step
            answer = await self._post(url)
            order = read_order(self._document(answer))
            if order.step is before:
                pause = await self._pause(answer, pause)

    async def _order(self, wanted: Wanted) -> tuple[str, Order]:
        directory = await self._directory()
        await self._log_in(directory)
        kind = "dns" if parse_address(wanted.name) is None else "ip"
        order: dict[str, Any] = {"identifiers": [{"type": kind, "value": wanted.name}]}
        profile = self.authority.profile
        if kind == "ip" and not profile and SHORT_LIVED in directory.profiles:
            profile = SHORT_LIVED
        if profile:
            order["profile"] = profile
        if wanted.replaces is not None and directory.renewal_info is not None:
            order["replaces"] = wanted.replaces
        try:
            answer = await self._post(directory.new_order, order)
        except AcmeError as error:
            # It is merely a hint: the one before may be another authority's, or another node has
            # replaced it already.
            if "replaces" not in order or error.kind not in ("alreadyReplaced", "malformed"):
                raise
            del order["replaces"]
            answer = await self._post(directory.new_order, order)
        return _location(answer), read_order(self._document(answer))

    async def _authorize(self, url: str, name: str, proofs: Sequence[Proof]) -> None:
        """Prove that ``name`` is ours, unless the authority remembers that it is."""
        authorization = read_authorization(self._document(await self._post(url)))
        if authorization.status == "valid":
            return
        if authorization.status != "pending":
            raise _failed(authorization)
        challenge, proof = _choose(authorization, proofs)
        key_authorization = f"{challenge.token}.{self._key.thumbprint}"
        try:
            await proof.show(name, challenge.token, key_authorization)
            await self._post(challenge.url, {})
            pause = _FIRST_PAUSE
            while authorization.status == "pending":
                answer = await self._post(url)
                authorization = read_authorization(self._document(answer))
                if authorization.status == "pending":
                    pause = await self._pause(answer, pause)
        finally:
            await proof.withdraw(name, challenge.token, key_authorization)
        if authorization.status != "valid":
            raise _failed(authorization, challenge.kind)

    # Requests.

    async def _directory(self) -> Directory:
        if self._known is None:
            answer = await self._send("GET", self.authority.url)
            self._known = read_directory(self._document(answer))
        return self._known

    async def _log_in(self, directory: Directory) -> None:
        """Find the account that belongs to our key, or open one."""
        if self._account is not None:
            return
        try:
            answer = await self._post(directory.new_account, {"onlyReturnExisting": True})
        except AcmeError as error:
            if error.kind != "accountDoesNotExist":
                raise
            answer = await self._open_account(directory)
        self._account = _location(answer)

    async def _open_account(self, directory: Directory) -> Answer:
        account: dict[str, Any] = {"termsOfServiceAgreed": True}
        if self.authority.email:
            account["contact"] = [f"mailto:{self.authority.email}"]
        if self.authority.binding is not None:
            kid, secret = self.authority.binding
            account["externalAccountBinding"] = self._key.binding(
                kid, secret, directory.new_account
            )
        elif directory.needs_binding:
            raise AcmeError(
                "the authority gives accounts only to those that have one on its web site; set "
                "tls.eab_kid and tls.eab_hmac as that tells"
            )
        return await self._post(directory.new_account, account)

    async def _post(self, url: str, content: Mapping[str, Any] | None = None) -> Answer:
        """Send a signed request: with ``content``, or to read what is at ``url`` (POST-as-GET).

        A nonce that the authority does not take is no failure: its answer brings another one.
        """
        payload = b"" if content is None else json.dumps(content).encode()
        for _ in range(_MOST_BAD_NONCES):
            nonce = await self._fresh_nonce()
            who = {"jwk": self._key.jwk} if self._account is None else {"kid": self._account}
            protected = {"nonce": nonce, "url": url, **who}
            answer = await self._send("POST", url, self._key.signed(protected, payload))
            self._nonce = answer.fields.get("replay-nonce")
            if answer.status < 400:
                return answer
            refusal = read_problem(answer.status, answer.body)
            if refusal.kind != "badNonce":
                raise AcmeError(str(refusal), refusal.kind, self._retry_after(answer))
        raise AcmeError("the authority takes none of the nonces that it gives")

    async def _fresh_nonce(self) -> str:
        nonce, self._nonce = self._nonce, None
        if nonce is None:
            directory = await self._directory()
            answer = await self._send("HEAD", directory.new_nonce)
            nonce = answer.fields.get("replay-nonce")
        if nonce is None:
            raise AcmeError("the authority gives no nonce")
        return nonce

    def _document(self, answer: Answer) -> Mapping[str, Any]:
        if answer.status >= 400:
            refusal = read_problem(answer.status, answer.body)
            raise AcmeError(str(refusal), refusal.kind, self._retry_after(answer))
        return read_json(answer.body)

    def _retry_after(self, answer: Answer) -> float:
        return read_retry_after(answer.fields.get("retry-after"), self._wall_clock())

    async def _pause(self, answer: Answer, pause: float) -> float:
        """Wait as long as the authority wants; gives how long to wait before the look after."""
        await self._sleep(min(max(pause, self._retry_after(answer)), _LONGEST_PAUSE))
        return min(2 * pause, _LONGEST_PAUSE)


def _choose(authorization: Authorization, proofs: Sequence[Proof]) -> tuple[Challenge, Proof]:
    offered = {challenge.kind: challenge for challenge in authorization.challenges}
    for proof in proofs:
        if proof.kind in offered:
            return offered[proof.kind], proof
    raise AcmeError(
        f"the authority offers {_listed(offered)}, and here is {_listed(p.kind for p in proofs)}"
    )


def _listed(kinds: Collection[str] | Any) -> str:
    return ", ".join(sorted(kinds)) or "no way"


def _failed(authorization: Authorization, kind: str = "") -> AcmeError:
    way = f" by {kind}" if kind else ""
    return AcmeError(f"the proof{way} did not convince the authority: {authorization.why}")


def _location(answer: Answer) -> str:
    if "location" not in answer.fields:
        raise AcmeError('the authority\'s answer lacks "Location"')
    return answer.fields["location"]


def _checked(chain: bytes, wanted: Wanted) -> bytes:
    """``chain``, if it is for our key. Whether it can be served is found out when it is loaded."""
    try:
        certificate = x509.load_pem_x509_certificates(chain)[0]
        key = x509.load_der_x509_csr(wanted.request).public_key()
        is_ours = certificate.public_key() == key
    except ValueError:
        raise AcmeError("the authority's certificate is malformed") from None
    if not is_ours:
        raise AcmeError("the authority's certificate is for another key than ours")
    return chain
