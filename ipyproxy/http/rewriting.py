"""What a gateway changes in the fields of a request that it passes on.

Knows the names of fields and what the two sides are called. Knows nothing of connections, and
decides nothing: by now the request is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from urllib.parse import unquote_to_bytes

from ipyproxy.http1.head import RequestHead
from ipyproxy.http1.lines import SpecialFields, block_of, lines_of

# Named in Connection by nearly everybody; they name no field that plain fields could hold.
_USUAL_OPTIONS: Final = frozenset((b"close", b"keep-alive", b"upgrade"))
_VIA: Final = b"1.1 ipyproxy"
_PERCENT_SIGN: Final = b"%"[0]


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


_APPLICATION: Final = Manners.APPLICATION


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
    :param drop_reserved: returns the field lines of a request without those that only the proxy
        may send.
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
    drop_reserved: Callable[[list[bytes]], list[bytes]] | None = None
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


Rewritten = tuple[Collection[bytes], bytes]
"""Names of the plain fields that Connection drops, and the special lines to send."""


def request_fields(
    head: RequestHead, public: bytes, trusted: frozenset[bytes], rewriting: Rewriting
) -> bytes:
    """The field lines to send upstream, but for framing, Connection and what a gateway adds.

    :param public: the public origin that the request was addressed to.
    :param trusted: further origins whose Referer is aligned like our own.
    """
    fields = head.fields
    known: Rewritten | None = fields.special.following.get(("request", public, rewriting))
    if known is None:
        known = _rewritten_request(fields.special, public, rewriting)
        fields.special.keep(("request", public, rewriting), known)
    dropped, rewritten = known
    if fields.loose and b"referer" not in dropped:
        for value in fields.loose:
            rewritten += b"Referer: %b\r\n" % _referer(value, public, trusted, rewriting)
    return rewritten + _kept(fields.plain, dropped, rewriting)


def _rewritten_request(special: SpecialFields, public: bytes, rewriting: Rewriting) -> Rewritten:
    dropped = nominated(special)
    origins = special.values_of(b"origin")
    if rewriting.manners is _APPLICATION:
        host = authority_of(public)
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
    """``block`` without reserved fields and without those that Connection names."""
    if rewriting.drop_reserved is not None:
        block = block_of(rewriting.drop_reserved(lines_of(block)))
    return without(block, dropped) if dropped else block


def without(block: bytes, dropped: Collection[bytes]) -> bytes:
    """``block`` without the fields that ``dropped`` names in lower case."""
    lines = lines_of(block)
    return block_of(line for line in lines if line.partition(b":")[0].lower() not in dropped)


def _referer(value: bytes, public: bytes, trusted: frozenset[bytes], rewriting: Rewriting) -> bytes:
    """The Referer to send: a notebook sees its own address where the browser names our page."""
    if rewriting.manners is _APPLICATION:
        return value
    for origin in (public, *trusted):
        size = len(origin)
        # A host's name may begin as another's does.
        if value[:size] == origin and value[size : size + 1] in (b"/", b"?", b""):
            return rewriting.origin + value[size:]
    # A foreign Referer stays what it is: the notebook checks it, and that check must keep working.
    return value


def without_cookies(value: bytes, names: tuple[bytes, ...]) -> bytes:
    """A value of the field Cookie without those of these ``names``."""
    if not any(name in value for name in names):
        return value
    pairs = value.split(b";")
    kept = [pair for pair in pairs if pair.partition(b"=")[0].strip(b" \t") not in names]
    return b";".join(kept).strip(b" \t")


def authority_of(origin: bytes) -> bytes:
    """The host of an origin, with its port if it has one."""
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
    if manners is _APPLICATION:
        host = authority_of(public)
        named, _, port = host.rpartition(b":")
        scheme = public.partition(b":")[0]
        usual = b"443" if scheme == b"https" else b"80"
        lines += [
            b"X-Forwarded-Proto: " + scheme,
            b"X-Forwarded-Host: " + host,
            b"X-Forwarded-Port: " + (port if named and port.isdigit() else usual),
        ]
    return block_of([*lines, b"Via: " + b", ".join([*said.via, _VIA])])


def said_before(special: SpecialFields, *, trusted: bool) -> Said:
    """What may be appended to; ``trusted`` says whether the peer is a trusted proxy."""
    via = tuple(special.values_of(b"via"))
    return Said(via, tuple(special.values_of(b"x-forwarded-for")) if trusted else ())


def forwarded(
    special: SpecialFields, client: str, public: bytes, trusted: bool, rewriting: Rewriting
) -> bytes:
    """:func:`forwarded_block` behind what the request says."""
    asked = ("forwarded", client, public, trusted, rewriting)
    known: bytes | None = special.following.get(asked)
    if known is None:
        known = _forwarded(special, client, public, trusted, rewriting)
        special.keep(asked, known)
    return known


def _forwarded(
    special: SpecialFields, client: str, public: bytes, trusted: bool, rewriting: Rewriting
) -> bytes:
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


def nominated(special: SpecialFields) -> Collection[bytes]:
    """Names that Connection lists: they concern this hop alone (RFC 9110 section 7.6.1)."""
    return frozenset(special.tokens(b"connection")) - _USUAL_OPTIONS
