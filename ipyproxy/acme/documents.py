"""Parses an authority's JSON documents: its directory, orders, authorizations and problems.

Pure. A missing member, or one of the wrong type, raises :class:`AcmeError`. Knows nothing of how a
document is fetched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, TypeVar

from ipyproxy.acme.renewal import Window

T = TypeVar("T")

_PREFIX = "urn:ietf:params:acme:error:"
_LONGEST_DETAIL = 500
_MOST_ISSUERS = 10
_ISSUER = re.compile(r"[a-z0-9.-]{1,253}")
_ACCOUNT = re.compile(r"[!#-:<-~]{0,500}")


class AcmeError(Exception):
    """No certificate was got; the message, a sentence for the log, says why.

    :ivar kind: the authority's error type (RFC 8555 section 6.7), such as ``badNonce``; or "".
    :ivar retry_after: seconds to wait, as the authority asks for.
    """

    def __init__(self, why: str, kind: str = "", retry_after: float = 0.0) -> None:
        super().__init__(why)
        self.kind = kind
        self.retry_after = retry_after


class Step(Enum):
    """The next step of an order."""

    AUTHORIZE = "our proofs that the names are ours"
    FINALIZE = "our request for the certificate"
    WAIT = "the authority"
    DOWNLOAD = "us to fetch the certificate"
    GIVE_UP = "nothing: it has failed"


STEPS: Mapping[str, Step] = {
    "pending": Step.AUTHORIZE,
    "ready": Step.FINALIZE,
    "processing": Step.WAIT,
    "valid": Step.DOWNLOAD,
    "invalid": Step.GIVE_UP,
}
"""The step for each status of an order (RFC 8555 section 7.1.6)."""


@dataclass(frozen=True, slots=True)
class Directory:
    """An authority's directory: the URLs of its resources (section 7.1.1)."""

    new_nonce: str
    new_account: str
    new_order: str
    renewal_info: str | None
    revoke_certificate: str | None
    key_change: str | None
    profiles: frozenset[str]
    needs_binding: bool


@dataclass(frozen=True, slots=True)
class Order:
    """An order for a certificate (section 7.1.3)."""

    step: Step
    authorizations: tuple[str, ...]
    finalize: str
    certificate: str
    why: str
    """Why it failed, if it did."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to prove that a name is ours (section 8).

    A persistent DNS record has no token: it names one of the ``issuers`` and the account; an empty
    ``account`` stands for the account's URL (draft-ietf-acme-dns-persist-01 section 3.1).
    """

    kind: str
    url: str
    token: str = ""
    issuers: tuple[str, ...] = ()
    account: str = ""


@dataclass(frozen=True, slots=True)
class Authorization:
    """The authority's state of our proof for one name (section 7.1.4)."""

    status: str
    challenges: tuple[Challenge, ...]
    why: str
    """Why it failed, if it did."""


def read_json(body: bytes) -> Mapping[str, Any]:
    """The JSON object in ``body``."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise AcmeError("the authority's answer is no JSON object")
    return document


def read_directory(document: Mapping[str, Any]) -> Directory:
    """See :class:`Directory`."""
    meta = _optional(document, "meta", dict) or {}
    return Directory(
        _required(document, "newNonce", str),
        _required(document, "newAccount", str),
        _required(document, "newOrder", str),
        _optional(document, "renewalInfo", str),
        _optional(document, "revokeCert", str),
        _optional(document, "keyChange", str),
        frozenset(_optional(meta, "profiles", dict) or {}),
        bool(meta.get("externalAccountRequired")),
    )


def read_order(document: Mapping[str, Any]) -> Order:
    """See :class:`Order`."""
    status = _required(document, "status", str)
    step = STEPS.get(status)
    if step is None:
        raise AcmeError(f"the authority tells of an order that is {_shown(status)}")
    authorizations = _required(document, "authorizations", list)
    return Order(
        step,
        tuple(url for url in authorizations if isinstance(url, str)),
        _required(document, "finalize", str),
        _required(document, "certificate", str) if step is Step.DOWNLOAD else "",
        _why(document.get("error")),
    )


def read_authorization(document: Mapping[str, Any]) -> Authorization:
    """See :class:`Authorization`."""
    told = [one for one in _required(document, "challenges", list) if isinstance(one, dict)]
    challenges = tuple(challenge for one in told if (challenge := _challenge(one)) is not None)
    why = "; ".join(filter(None, (_why(one.get("error")) for one in told)))
    return Authorization(_required(document, "status", str), challenges, why)


def _challenge(document: Mapping[str, Any]) -> Challenge | None:
    """A challenge that we can answer: with a token, or with names of issuers."""
    kind, url = _required(document, "type", str), _required(document, "url", str)
    token = _optional(document, "token", str)
    if token is not None:
        return Challenge(kind, url, token)
    issuers = _optional(document, "issuer-domain-names", list) or ()
    account = _optional(document, "accounturi", str) or ""
    # These become parts of a record that people copy.
    if not 1 <= len(issuers) <= _MOST_ISSUERS or not _ACCOUNT.fullmatch(account):
        return None
    if not all(isinstance(name, str) and _ISSUER.fullmatch(name) for name in issuers):
        return None
    return Challenge(kind, url, "", tuple(issuers), account)


def read_window(document: Mapping[str, Any]) -> Window:
    """The time at which the authority suggests a renewal (RFC 9773 section 4.2)."""
    suggested = _required(document, "suggestedWindow", dict)
    try:
        begins, ends = (
            datetime.fromisoformat(_required(suggested, end, str)).timestamp()
            for end in ("start", "end")
        )
    except ValueError:
        raise AcmeError("the authority suggests to renew at what is no time") from None
    if ends < begins:
        raise AcmeError("the authority suggests to renew within a window that ends first")
    return Window(begins, ends)


def read_problem(status: int, body: bytes) -> AcmeError:
    """The error in the answer to a refused request (RFC 7807)."""
    try:
        document = read_json(body)
    except AcmeError:
        return AcmeError(f"the authority answered {status}")
    kind = document.get("type")
    kind = kind.removeprefix(_PREFIX) if isinstance(kind, str) else ""
    return AcmeError(_why(document) or f"the authority answered {status}", kind)


def read_retry_after(value: str | None, now: float) -> float:
    """The seconds in ``Retry-After`` from ``now`` (wall clock); 0 if it is absent."""
    if not value:
        return 0.0
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return 0.0


def _why(problem: Any) -> str:
    """A problem document in one line, with its subproblems (one for each name)."""
    if not isinstance(problem, dict):
        return ""
    told = [problem, *(_optional(problem, "subproblems", list) or ())]
    said = []
    for one in told:
        if isinstance(one, dict):
            kind = str(one.get("type", "")).removeprefix(_PREFIX)
            said.append(": ".join(filter(None, (kind, str(one.get("detail", ""))))))
    return _shown("; ".join(filter(None, said)))


def _shown(text: str) -> str:
    """Foreign text as one line of bounded length."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return line if len(line) <= _LONGEST_DETAIL else line[:_LONGEST_DETAIL] + "..."


def _required(document: Mapping[str, Any], key: str, kind: type[T]) -> T:
    value = document.get(key)
    if not isinstance(value, kind):
        raise AcmeError(f'the authority\'s answer lacks "{key}"')
    return value


def _optional(document: Mapping[str, Any], key: str, kind: type[T]) -> T | None:
    value = document.get(key)
    return value if isinstance(value, kind) else None
