"""An account with an authority, and the signed requests that are made for it (RFC 8555 section 6).

Knows nonces, signatures, the directory and the account's own life: how it is found, opened and
given another key. Is handed how a request is sent. Knows nothing of what certificates are asked
for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from ipyproxy.acme.documents import (
    AcmeError,
    Directory,
    read_directory,
    read_json,
    read_problem,
    read_retry_after,
)
from ipyproxy.acme.jose import AccountKey

_MOST_BAD_NONCES = 20


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


class Account:
    """An account with an authority. It is made when it is needed first.

    :param wall_clock: seconds since the epoch.
    """

    def __init__(
        self, authority: Authority, key: AccountKey, send: Send, wall_clock: Callable[[], float]
    ) -> None:
        self.authority = authority
        self.key = key
        self._send = send
        self._wall_clock = wall_clock
        self._nonce: str | None = None
        self._url: str | None = None
        self._known: Directory | None = None

    def look_again(self) -> None:
        """Ask for the directory anew, for it may have changed since the last time."""
        self._known = None

    def forget(self) -> None:
        """Remember nothing of what the authority has said: it may be what was wrong."""
        self._known = self._url = self._nonce = None

    async def directory(self) -> Directory:
        """Where the authority is asked for what."""
        if self._known is None:
            self._known = read_directory(self.document(await self.get(self.authority.url)))
        return self._known

    async def log_in(self) -> str:
        """Find the account that belongs to our key, or open one; the account's URL."""
        if self._url is None:
            try:
                self._url = await self._find(self.key)
            except AcmeError as error:
                if error.kind != "accountDoesNotExist":
                    raise
                self._url = await self._open()
        return self._url

    async def change_key(self, key: AccountKey) -> None:
        """Let the account, if there is one, be known by ``key`` from now on (section 7.3.5).

        Once that has been done, it is done: asking again changes nothing. Raises AcmeError.
        """
        url = (await self.directory()).key_change
        if url is None:
            raise AcmeError("the authority does not change the keys of accounts")
        try:
            account = await self._find(self.key)
        except AcmeError as error:
            if error.kind != "accountDoesNotExist":
                raise
            # Either it was done, and that was not noted, or there is no account yet.
        else:
            self._url = account
            inner = {"account": account, "oldKey": self.key.jwk}
            signed = key.signed({"jwk": key.jwk, "url": url}, json.dumps(inner).encode())
            await self.post(url, json.loads(signed))
        self.key, self._url = key, None

    # Requests.

    async def get(self, url: str) -> Answer:
        """What is at ``url`` for everybody."""
        return await self._send("GET", url)

    async def post(self, url: str, content: Mapping[str, Any] | None = None) -> Answer:
        """Send a signed request: with ``content``, or to read what is at ``url`` (POST-as-GET)."""
        return await self._post(url, content, self.key, self._url)

    async def _post(
        self, url: str, content: Mapping[str, Any] | None, key: AccountKey, account: str | None
    ) -> Answer:
        """A nonce that the authority does not take is no failure: its answer brings another one."""
        payload = b"" if content is None else json.dumps(content).encode()
        for _ in range(_MOST_BAD_NONCES):
            nonce = await self._fresh_nonce()
            who = {"jwk": key.jwk} if account is None else {"kid": account}
            answer = await self._send(
                "POST", url, key.signed({"nonce": nonce, "url": url, **who}, payload)
            )
            self._nonce = answer.fields.get("replay-nonce")
            if answer.status < 400:
                return answer
            refusal = read_problem(answer.status, answer.body)
            if refusal.kind != "badNonce":
                raise AcmeError(str(refusal), refusal.kind, self.retry_after(answer))
        raise AcmeError("the authority takes none of the nonces that it gives")

    async def _fresh_nonce(self) -> str:
        nonce, self._nonce = self._nonce, None
        if nonce is None:
            answer = await self._send("HEAD", (await self.directory()).new_nonce)
            nonce = answer.fields.get("replay-nonce")
        if nonce is None:
            raise AcmeError("the authority gives no nonce")
        return nonce

    def document(self, answer: Answer) -> Mapping[str, Any]:
        """The object in ``answer``. Raises AcmeError, also if it is a refusal."""
        if answer.status >= 400:
            refusal = read_problem(answer.status, answer.body)
            raise AcmeError(str(refusal), refusal.kind, self.retry_after(answer))
        return read_json(answer.body)

    def retry_after(self, answer: Answer) -> float:
        """The seconds that the authority wants to be left alone."""
        return read_retry_after(answer.fields.get("retry-after"), self._wall_clock())

    # The account.

    async def _find(self, key: AccountKey) -> str:
        new_account = (await self.directory()).new_account
        answer = await self._post(new_account, {"onlyReturnExisting": True}, key, None)
        return location(answer)

    async def _open(self) -> str:
        directory = await self.directory()
        account: dict[str, Any] = {"termsOfServiceAgreed": True}
        if self.authority.email:
            account["contact"] = [f"mailto:{self.authority.email}"]
        if self.authority.binding is not None:
            kid, secret = self.authority.binding
            account["externalAccountBinding"] = self.key.binding(kid, secret, directory.new_account)
        elif directory.needs_binding:
            raise AcmeError(
                "the authority gives accounts only to those that have one on its web site; set "
                "tls.eab_kid and tls.eab_hmac as that tells"
            )
        return location(await self._post(directory.new_account, account, self.key, None))


def location(answer: Answer) -> str:
    """Where the authority keeps what was made. Raises AcmeError."""
    if "location" not in answer.fields:
        raise AcmeError('the authority\'s answer lacks "Location"')
    return answer.fields["location"]
