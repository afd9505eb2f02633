"""What a gateway changes in the fields that it passes on, both ways.

Knows the names of fields and what the two sides are called. Knows nothing of connections, and
decides nothing: by now the request is allowed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import unquote_to_bytes

from ipyproxy.http1.head import RequestHead, ResponseHead
from ipyproxy.http1.lines import SpecialFields, block_of, lines_of, remembered

# Named in Connection by nearly everybody; they name no field that plain fields could hold.
_USUAL_OPTIONS = frozenset((b"close", b"keep-alive", b"upgrade"))
_OWN_URL = re.compile(
    rb"(?:https?:)?//(?:127\.0\.0\.1|localhost|\[::1\]):([0-9]+)((?:[/?#].*)?)",
    re.IGNORECASE | re.DOTALL,
)
_PUBLIC_URL = re.compile(rb"(https?://[^/?#]+)([/?#].*)?", re.IGNORECASE | re.DOTALL)
_COOKIE_PATH = 1024
"""Bytes of a cookie's Path above which browsers ignore it, and take a path of their own."""
# No dot steps, however encoded, and nothing that a URL parser reads as a step or as an end.
_PLAIN_PATH = re.compile(rb"(?:/(?!(?:\.|%2[Ee]){1,2}(?:/|\Z))[A-Za-z0-9._~%!$&'()*+,;=:@-]*)+")
_VIA = b"1.1 ipyproxy"
_PERCENT_SIGN = b"%"[0]


class Manners(Enum):
    """What an upstream hears of the public side: nothing, or all of it, and never a mixture.

    Servers guard themselves against other sites' pages by comparing fields with each other: Origin
    or Referer with Host, with X-Forwarded-Host, with what X-Forwarded-Proto makes of these. Which
    ones they compare is theirs to choose, so all that name the public side have to agree. No one
    set suits everybody: Jupyter takes no Host but a local one, while others build addresses for
    the browser from X-Forwarded-Host.

    RFC 7239's ``Forwarded`` is in neither set. It would say what X-Forwarded-* says, and its
    grammar asks for quotation marks around ``host:port``, which code-server for one takes for a
    part of the host's name.
    """

    NOTEBOOK = "notebook"
    """Host, Origin and Referer name the upstream itself, and nothing speaks of another side: what
    every Jupyter takes as it comes, and so does what runs inside one."""
    APPLICATION = "application"
    """Host, Origin and Referer stay as the browser sent them, and X-Forwarded-Host, -Port and
    -Proto say the same: as of any other gateway."""


@dataclass(frozen=True, slots=True)
class Redirects:
    """What becomes of an address of the upstream's own when it redirects to it.

    :param host: whether it is that of the public side then, with the port.
    :param scheme: which scheme it has then; empty: the same.
    """

    host: bool
    scheme: bytes


@dataclass(frozen=True, eq=False, slots=True)
class Rewriting:
    """The names of both sides of one upstream.

    :param authority: ``127.0.0.1:<port>``, the address of the upstream.
    :param prefix: ``/ipython/<port>/``, below which everything of this upstream lies.
    :param site_cookies: names of cookies that belong to the site and never go upstream.
    :param scheme: how the upstream is spoken to.
    :param withheld: gives the field lines of a request without those that only we may send.
    :param manners: what the upstream hears of the public side.
    :param confined: whether answers are kept below the prefix: cookies, workers, addresses. What
        stands beside other notebooks is; an application that an administrator gives a route is not.
    :param stripped: whether the prefix is taken off before a request goes upstream.
    :param sent: field lines that upstream gets besides, see :func:`told_lines`.
    :param prepended: what a target is put behind, without a slash at its end.
    :param tells: whether upstream gets X-Forwarded-*.
    :param redirects: what becomes of an address of the upstream's own in Location.
    """

    authority: bytes
    prefix: bytes
    port: int
    site_cookies: tuple[bytes, ...] = ()
    withheld: Callable[[list[bytes]], list[bytes]] | None = None
    scheme: bytes = b"http"
    manners: Manners = Manners.NOTEBOOK
    confined: bool = True
    stripped: bool = False
    sent: tuple[bytes, ...] = ()
    prepended: bytes = b""
    tells: bool = True
    redirects: Redirects | None = None
    origin: bytes = field(init=False)
    """``http://127.0.0.1:<port>``, or ``https:``."""
    own_origins: tuple[bytes, ...] = field(init=False)
    """The origins that an upstream may call its own in an answer."""

    def __post_init__(self) -> None:
        names = (self.authority, b"localhost:%d" % self.port, b"[::1]:%d" % self.port)
        derived = {
            "origin": b"%b://%b" % (self.scheme, self.authority),
            "own_origins": tuple(b"%b://%b" % (self.scheme, name) for name in names),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)


def request_fields(
    head: RequestHead, public: bytes, trusted: frozenset[bytes], rewriting: Rewriting
) -> bytes:
    """The field lines to send upstream, but for framing, Connection and what a gateway adds.

    :param public: the public origin that the request was addressed to.
    :param trusted: further origins whose Referer is aligned like our own.
    """
    fields = head.fields
    dropped, rewritten = _rewritten_request(fields.special, public, rewriting)
    if fields.loose and b"referer" not in dropped:
        for value in fields.loose:
            rewritten += b"Referer: %b\r\n" % _referer(value, public, trusted, rewriting)
    return rewritten + _kept(fields.plain, dropped, rewriting)


@remembered
def _rewritten_request(
    special: SpecialFields, public: bytes, rewriting: Rewriting
) -> tuple[Collection[bytes], bytes]:
    """Names of the plain fields that Connection drops, and the special lines to send."""
    dropped = _nominated(special)
    origins = special.values_of(b"origin")
    if rewriting.manners is Manners.APPLICATION:
        host = _authority_of(public)
    else:
        host = rewriting.authority
        # Whoever is allowed to ask is one of the notebook's own pages to it.
        origins = [rewriting.origin] if origins else []
    lines = [b"Host: " + host]
    lines += [b"Origin: " + value for value in origins]
    if b"cookie" not in dropped:
        for value in special.values_of(b"cookie"):
            kept = without_cookies(value, rewriting.site_cookies)
            if kept:
                lines.append(b"Cookie: " + kept)
    return dropped, block_of(lines) + _kept(special.verbatim, dropped, rewriting)


def _kept(block: bytes, dropped: Collection[bytes], rewriting: Rewriting) -> bytes:
    """``block`` without what is withheld and what Connection drops."""
    if rewriting.withheld is not None:
        block = block_of(rewriting.withheld(lines_of(block)))
    return _without(block, dropped) if dropped else block


def _without(block: bytes, dropped: Collection[bytes]) -> bytes:
    lines = lines_of(block)
    return block_of(line for line in lines if line.partition(b":")[0].lower() not in dropped)


def _referer(value: bytes, public: bytes, trusted: frozenset[bytes], rewriting: Rewriting) -> bytes:
    """The Referer to send: a notebook sees its own address where the browser names our page."""
    if rewriting.manners is Manners.APPLICATION:
        return value
    # A foreign Referer stays what it is: the notebook checks it, and that check must keep working.
    if _is_of(value, public):
        return rewriting.origin + value[len(public) :]
    for origin in trusted:
        if _is_of(value, origin):
            return rewriting.origin + value[len(origin) :]
    return value


def _is_of(url: bytes, origin: bytes) -> bool:
    """Whether ``url`` is one of ``origin``, and not of a host whose name begins alike."""
    return url.startswith(origin) and url[len(origin) : len(origin) + 1] in (b"/", b"?", b"")


def without_cookies(value: bytes, names: tuple[bytes, ...]) -> bytes:
    """A value of the field Cookie without those of these ``names``."""
    if not any(name in value for name in names):
        return value
    pairs = value.split(b";")
    kept = [pair for pair in pairs if pair.partition(b"=")[0].strip(b" \t") not in names]
    return b";".join(kept).strip(b" \t")


def _authority_of(origin: bytes) -> bytes:
    return origin.partition(b"://")[2]


@dataclass(frozen=True, slots=True)
class Said:
    """What earlier hops said in the fields that a gateway appends to."""

    via: tuple[bytes, ...] = ()
    x_forwarded_for: tuple[bytes, ...] = ()


def forwarded_block(client: str, public: bytes, said: Said, manners: Manners) -> bytes:
    """X-Forwarded-* and Via in our words, as field lines.

    :param client: address of the peer, as text.
    :param said: what to append to; of an untrusted peer only its Via.

    X-Forwarded-Prefix names a prefix that was taken off, so :func:`forwarded` adds it.
    """
    lines = [b"X-Forwarded-For: " + b", ".join([*said.x_forwarded_for, client.encode("ascii")])]
    if manners is Manners.APPLICATION:
        host = _authority_of(public)
        named, _, port = host.rpartition(b":")
        scheme = public.partition(b":")[0]
        usual = b"443" if scheme == b"https" else b"80"
        lines += [
            b"X-Forwarded-Proto: " + scheme,
            b"X-Forwarded-Host: " + host,
            b"X-Forwarded-Port: " + (port if named and port.isdigit() else usual),
        ]
    return block_of([*lines, b"Via: " + b", ".join([*said.via, _VIA])])


NOTHING_SAID = Said()


def said_before(special: SpecialFields, *, trusted: bool) -> Said:
    """What may be appended to; ``trusted`` says whether the peer is a trusted proxy."""
    via = tuple(special.values_of(b"via"))
    return Said(via, tuple(special.values_of(b"x-forwarded-for")) if trusted else ())


@remembered
def forwarded(
    special: SpecialFields, client: str, public: bytes, trusted: bool, rewriting: Rewriting
) -> bytes:
    """:func:`forwarded_block` behind what the request says."""
    said = said_before(special, trusted=trusted)
    if not rewriting.tells:
        return block_of([b"Via: " + b", ".join([*said.via, _VIA])])
    block = forwarded_block(client, public, said, rewriting.manners)
    if rewriting.stripped:
        block += b"X-Forwarded-Prefix: %b\r\n" % rewriting.prefix.rstrip(b"/")
    return block


def told_lines(sent: tuple[bytes, ...], user: str | None) -> bytes:
    """The lines of a route for its application.

    ``{user}`` becomes the user's name; a line with it is left out if there is no user.
    """
    name = None if user is None else user.encode()
    lines = [line for line in sent if name is not None or line.find(b"{user}") < 0]
    return block_of(line if name is None else line.replace(b"{user}", name) for line in lines)


def upstream_target(target: bytes, rewriting: Rewriting) -> bytes:
    """The target that goes upstream: as it is, or without the prefix that is taken off."""
    if rewriting.stripped:
        rest = _behind(target, rewriting.prefix[:-1])
        target = rest if rest.startswith(b"/") else b"/" + rest
    return rewriting.prepended + target


def _behind(target: bytes, prefix: bytes) -> bytes:
    """``target`` without ``prefix``, however the two spell what they have in common."""
    if target.startswith(prefix):
        return target[len(prefix) :]
    at = 0
    for _ in unquote_to_bytes(prefix):
        at += 3 if target[at] == _PERCENT_SIGN else 1
    return target[at:]


def response_fields(head: ResponseHead, public: bytes, rewriting: Rewriting) -> bytes:
    """The field lines to send to the client, but for framing and Connection."""
    plain = head.fields.plain
    dropped, rewritten = _rewritten_response(head.fields.special, public, rewriting)
    return (_without(plain, dropped) if dropped else plain) + rewritten


@remembered
def _rewritten_response(
    special: SpecialFields, public: bytes, rewriting: Rewriting
) -> tuple[Collection[bytes], bytes]:
    """Names of the plain fields that Connection drops, and the special lines to send."""
    dropped = _nominated(special)
    lines: list[bytes] = []
    rewrites = _rewrites(rewriting)
    for name, label, rewrite in rewrites:
        if name in special and name not in dropped:
            lines += [label + rewrite(value, public, rewriting) for value in special[name]]
    read = _without(special.verbatim, dropped) if dropped else special.verbatim
    return dropped, read + block_of(lines)


def _rewrites(rewriting: Rewriting) -> Rewrites:
    if rewriting.confined:
        return _CONFINED
    if rewriting.redirects is not None:
        return _MOVED
    return _STRIPPED if rewriting.stripped else _FREE


def _moved(value: bytes, public: bytes, rewriting: Rewriting) -> bytes:
    """An address of the upstream's own, as clients can ask for it; others as they are."""
    own, redirects = _PUBLIC_URL.fullmatch(value), rewriting.redirects
    if own is None or redirects is None:
        return value
    scheme, _, authority = own[1].partition(b"://")
    if authority.lower() != rewriting.authority:
        return value
    if redirects.host:
        authority = _authority_of(public)
    return b"%b://%b%b" % (redirects.scheme or scheme, authority, own[2] or b"")


def _location(value: bytes, public: bytes, rewriting: Rewriting) -> bytes:
    # Frameworks make the scheme from X-Forwarded-Proto and the rest from Host, or leave it out.
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
    """The widest scope that a worker may ask for, at most all that is the upstream's own.

    Only a plain path below the prefix stays: whatever climbs or names a host could lead out of it
    (Service Workers, Update algorithm, step on ``Service-Worker-Allowed``).
    """
    below = value.startswith(rewriting.prefix) and _PLAIN_PATH.fullmatch(value)
    return value if below else rewriting.prefix


def _restored(value: bytes, public: bytes, rewriting: Rewriting) -> bytes:
    """The address as clients have to ask for it, with the prefix that was taken off.

    An application that has heard of the prefix (X-Forwarded-Prefix, SCRIPT_NAME) says it itself.
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


Rewrites = tuple[tuple[bytes, bytes, Callable[[bytes, bytes, Rewriting], bytes]], ...]

_CONFINED: Rewrites = (
    (b"location", b"Location: ", _location),
    (b"content-location", b"Content-Location: ", _location),
    (b"access-control-allow-origin", b"Access-Control-Allow-Origin: ", _allow_origin),
    (b"set-cookie", b"Set-Cookie: ", _set_cookie),
    (b"service-worker-allowed", b"Service-Worker-Allowed: ", _service_worker_allowed),
)

_FREE: Rewrites = (
    (b"location", b"Location: ", _as_said),
    (b"content-location", b"Content-Location: ", _as_said),
    (b"access-control-allow-origin", b"Access-Control-Allow-Origin: ", _as_said),
    (b"set-cookie", b"Set-Cookie: ", _as_said),
    (b"service-worker-allowed", b"Service-Worker-Allowed: ", _as_said),
    # An application has its host to itself, or shares it with what the administrator trusts.
    (b"clear-site-data", b"Clear-Site-Data: ", _as_said),
    (b"strict-transport-security", b"Strict-Transport-Security: ", _as_said),
    (b"reporting-endpoints", b"Reporting-Endpoints: ", _as_said),
    (b"report-to", b"Report-To: ", _as_said),
    (b"nel", b"NEL: ", _as_said),
    (b"origin-agent-cluster", b"Origin-Agent-Cluster: ", _as_said),
)
_MOVED: Rewrites = ((b"location", b"Location: ", _moved), *_FREE[1:])
_STRIPPED: Rewrites = (
    (b"location", b"Location: ", _restored),
    (b"content-location", b"Content-Location: ", _restored),
    *_FREE[2:],
)


def _nominated(special: SpecialFields) -> Collection[bytes]:
    """Names that Connection lists: they concern this hop alone (RFC 9110 section 7.6.1)."""
    return frozenset(special.tokens(b"connection")) - _USUAL_OPTIONS


_KEEP_ALIVE_TIMEOUT = re.compile(rb"timeout=([0-9]{1,9})")


def keep_alive_timeout(head: ResponseHead) -> float:
    """Seconds for which a server keeps an idle connection open; infinite if it does not say.

    ``Keep-Alive: timeout=5, max=100`` (RFC 2068 section 19.7.1), as Apache and Node.js say it.
    """
    for option in head.fields.tokens(b"keep-alive"):
        if said := _KEEP_ALIVE_TIMEOUT.fullmatch(option):
            return float(said[1])
    return math.inf
