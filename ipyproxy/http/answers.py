"""What a gateway changes in the fields of an answer that it passes on.

Knows the names of fields, and which of them could reach beyond the upstream's own paths. Knows
nothing of connections, and decides nothing about access.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Final

from ipyproxy.http.rewriting import Rewriting, Rewritten, authority_of, nominated, without
from ipyproxy.http1.head import ResponseHead
from ipyproxy.http1.lines import SpecialFields, block_of

_OWN_URL: Final = re.compile(
    rb"(?:https?:)?//(?:127\.0\.0\.1|localhost|\[::1\]):([0-9]+)((?:[/?#].*)?)",
    re.IGNORECASE | re.DOTALL,
)
_PUBLIC_URL: Final = re.compile(rb"(https?://[^/?#]+)([/?#].*)?", re.IGNORECASE | re.DOTALL)
_COOKIE_PATH: Final = 1024
"""Longest Path of a cookie, in bytes. Browsers ignore a longer one and choose a path themselves."""
# No dot segments in any encoding, and nothing that a URL parser reads as one or as an end.
_PLAIN_PATH: Final = re.compile(
    rb"(?:/(?!(?:\.|%2[Ee]){1,2}(?:/|\Z))[A-Za-z0-9._~%!$&'()*+,;=:@-]*)+"
)


def response_fields(head: ResponseHead, public: bytes, rewriting: Rewriting) -> bytes:
    """The field lines to send to the client, without framing and Connection."""
    plain = head.fields.plain
    special = head.fields.special
    known: Rewritten | None = special.following.get(("response", public, rewriting))
    if known is None:
        known = _rewritten_response(special, public, rewriting)
        special.keep(("response", public, rewriting), known)
    dropped, rewritten = known
    return (without(plain, dropped) if dropped else plain) + rewritten


def _rewritten_response(special: SpecialFields, public: bytes, rewriting: Rewriting) -> Rewritten:
    dropped = nominated(special)
    lines: list[bytes] = []
    rewrites = _rewrites(rewriting)
    for name, label, rewrite in rewrites:
        if name in special and name not in dropped:
            lines += [label + rewrite(value, public, rewriting) for value in special[name]]
    read = without(special.verbatim, dropped) if dropped else special.verbatim
    return dropped, read + block_of(lines)


_Rewrite = Callable[[bytes, bytes, Rewriting], bytes]
_Rewrites = tuple[tuple[bytes, bytes, _Rewrite], ...]


def _rewrites(rewriting: Rewriting) -> _Rewrites:
    if rewriting.confined:
        return _STRIPPED_CONFINED if rewriting.stripped else _CONFINED
    if rewriting.redirects is not None:
        return _MOVED
    return _STRIPPED if rewriting.stripped else _FREE


def _moved(value: bytes, public: bytes, rewriting: Rewriting) -> bytes:
    """An address on the upstream becomes one that clients can use; others stay unchanged."""
    own, redirects = _PUBLIC_URL.fullmatch(value), rewriting.redirects
    if own is None or redirects is None:
        return value
    scheme, _, authority = own[1].partition(b"://")
    if authority.lower() != rewriting.authority:
        return value
    if redirects.host:
        authority = authority_of(public)
    return b"%b://%b%b" % (redirects.scheme or scheme, authority, own[2] or b"")


def _location(value: bytes, public: bytes, rewriting: Rewriting) -> bytes:
    # Frameworks take the scheme from X-Forwarded-Proto and the rest from Host, or omit both.
    own = _OWN_URL.fullmatch(value)
    return public + own[2] if own and own[1] == b"%d" % rewriting.port else value


def _allow_origin(value: bytes, public: bytes, rewriting: Rewriting) -> bytes:
    return public if value in rewriting.own_origins else value


def _set_cookie(value: bytes, public: bytes, rewriting: Rewriting) -> bytes:
    """Keep a notebook's cookie below its own prefix, on this host, on HTTPS only."""
    pair, *attributes = value.split(b";")
    kept: list[bytes] = []
    path = rewriting.prefix
    for attribute in attributes:
        name, _, asked = attribute.partition(b"=")
        name = name.strip(b" \t").lower()
        if name == b"path":
            asked = asked.strip(b" \t")
            below = asked.startswith(rewriting.prefix) and len(asked) <= _COOKIE_PATH
            path = asked if below else rewriting.prefix
        elif name not in (b"domain", b"secure"):
            kept.append(attribute)
    return b";".join([pair + b"; Path=" + path + b"; Secure", *kept])


def _service_worker_allowed(value: bytes, public: bytes, rewriting: Rewriting) -> bytes:
    """The widest scope that a service worker may have, limited to the upstream's own paths.

    Only a plain path below the prefix is kept: one with dot segments or a host could lead out of it
    (Service Workers, Update algorithm, step on ``Service-Worker-Allowed``).
    """
    below = value.startswith(rewriting.prefix) and _PLAIN_PATH.fullmatch(value)
    return value if below else rewriting.prefix


def _restored(value: bytes, public: bytes, rewriting: Rewriting) -> bytes:
    """The address for clients, with the prefix that was stripped from the request.

    An application that knows the prefix (X-Forwarded-Prefix, SCRIPT_NAME) adds it itself.
    """
    own = _PUBLIC_URL.fullmatch(value)
    origin, path = (own[1], own[2] or b"/") if own else (b"", value)
    if origin and origin not in (public, rewriting.origin):
        return value
    if not path.startswith(b"/") or path.startswith(b"//") or _is_below(path, rewriting.prefix):
        return value
    return (public if origin else b"") + rewriting.prefix + path[1:]


def _is_below(path: bytes, prefix: bytes) -> bool:
    stem = prefix[:-1]
    return path.startswith(stem) and path[len(stem) : len(stem) + 1] in (b"/", b"?", b"#", b"")


def _as_said(value: bytes, public: bytes, rewriting: Rewriting) -> bytes:
    return value


def _each(rewrite: _Rewrite, *names: bytes) -> _Rewrites:
    return tuple((name.lower(), name + b": ", rewrite) for name in names)


_CONFINED: Final = (
    *_each(_location, b"Location", b"Content-Location"),
    *_each(_allow_origin, b"Access-Control-Allow-Origin"),
    *_each(_set_cookie, b"Set-Cookie"),
    *_each(_service_worker_allowed, b"Service-Worker-Allowed"),
)
# An application has a host of its own, or shares it with others that the administrator trusts.
_OWN_HOST: Final = _each(
    _as_said, b"Access-Control-Allow-Origin", b"Set-Cookie", b"Service-Worker-Allowed",
    b"Clear-Site-Data", b"Strict-Transport-Security", b"Reporting-Endpoints", b"Report-To",
    b"NEL", b"Origin-Agent-Cluster",
)  # fmt: skip
_FREE: Final = (*_each(_as_said, b"Location", b"Content-Location"), *_OWN_HOST)
_MOVED: Final = (
    *_each(_moved, b"Location"), *_each(_as_said, b"Content-Location"), *_OWN_HOST
)  # fmt: skip
_RESTORED: Final = _each(_restored, b"Location", b"Content-Location")
_STRIPPED: Final = (*_RESTORED, *_OWN_HOST)
_STRIPPED_CONFINED: Final = (*_RESTORED, *_CONFINED[2:])


_KEEP_ALIVE_TIMEOUT: Final = re.compile(rb"timeout=([0-9]{1,9})")


def keep_alive_timeout(head: ResponseHead) -> float:
    """Seconds for which a server keeps an idle connection open; infinite if it doesn't say.

    ``Keep-Alive: timeout=5, max=100`` (RFC 2068 section 19.7.1), as sent by Apache and Node.js.
    """
    for option in head.fields.tokens(b"keep-alive"):
        if said := _KEEP_ALIVE_TIMEOUT.fullmatch(option):
            return float(said[1])
    return math.inf
