"""An account with an authority, and its signed requests (RFC 8555 section 6).

Knows nonces, signatures, the directory, and how an account is found, created and given another key.
A callable sends its requests. Knows nothing of the certificates that are asked for.
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
    """An authority's answer; the field names are in lower case."""

    status: int
    fields: Mapping[str, str]
    body: bytes


class Send(Protocol):
    """Sends one request and returns the whole answer."""

    def __call__(self, method: str, url: str, body: bytes | None = None) -> Deferred[Answer]:
        """Send a request. The Deferred fails with AcmeError if no answer comes."""


@dataclass(frozen=True, slots=True)
class Authority:
    """The authority to ask, and how to register with it.

    ``binding`` is the key identifier and the secret from the authority's web site, if it gives
    accounts only there (external account binding).
    """

    url: str
    email: str = ""
    binding: tuple[str, bytes] | None = None
    profile: str = ""


class Account:
    """An account with an authority, created at its first use.

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
        """Forget the directory, since it may have changed."""
        self._known = None

    def forget(self) -> None:
        """Forget everything that the authority has sent, since it may be wrong."""
        self._known = self._url = self._nonce = None

    async def directory(self) -> Directory:
        """The authority's directory."""
        if self._known is None:
            self._known = read_directory(self.document(await self.get(self.authority.url)))
        return self._known

    async def log_in(self) -> str:
        """Find the account of our key, or create one. Returns the account's URL."""
        if self._url is None:
            try:
                self._url = await self._find(self.key)
            except AcmeError as error:
                if error.kind != "accountDoesNotExist":
                    raise
                self._url = await self._open()
        return self._url

    async def change_key(self, key: AccountKey) -> None:
        """Change the key of the account, if there is one, to ``key`` (section 7.3.5).

        Calling it again with the same key changes nothing. Raises AcmeError.
        """
        url = (await self.directory()).key_change
        if url is None:
            raise AcmeError("the authority does not change the keys of accounts")
        try:
            account = await self._find(self.key)
        except AcmeError as error:
            if error.kind != "accountDoesNotExist":
                raise
            # Either the key was changed already, but that was not saved, or there is no account
            # yet.
        else:
            self._url = account
            inner = {"account": account, "oldKey": self.key.jwk}
            signed = key.signed({"jwk": key.jwk, "url": url}, json.dumps(inner).encode())
            await self.post(url, json.loads(signed))
        self.key, self._url = key, None

    # Requests.

    async def get(self, url: str) -> Answer:
        """Fetch ``url`` without a signature."""
        return await self._send("GET", url)

    async def post(self, url: str, content: Mapping[str, Any] | None = None) -> Answer:
        """Send a signed request: with ``content``, or to read ``url`` (POST-as-GET)."""
        return await self._post(url, content, self.key, self._url)

    async def _post(
        self, url: str, content: Mapping[str, Any] | None, key: AccountKey, account: str | None
    ) -> Answer:
        """Post, and repeat if the authority refuses the nonce: its answer has a new one."""
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
        """The JSON object in ``answer``. Raises AcmeError, also if the answer is an error."""
        if answer.status >= 400:
            refusal = read_problem(answer.status, answer.body)
            raise AcmeError(str(refusal), refusal.kind, self.retry_after(answer))
        return read_json(answer.body)

    def retry_after(self, answer: Answer) -> float:
        """The seconds to wait, as the authority asks for in Retry-After."""
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
    """The URL of the created resource, from Location. Raises AcmeError."""
    if "location" not in answer.fields:
        raise AcmeError('the authority\'s answer lacks "Location"')
    return answer.fields["location"]
