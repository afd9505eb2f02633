"""What a gateway changes in the fields of a request that it passes on.

Knows the names of fields, and the public and the upstream's address. Knows nothing of connections,
and decides nothing about access: by now the request is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from urllib.parse import unquote_to_bytes

from ipyproxy.http1.head import RequestHead
from ipyproxy.http1.lines import SpecialFields, block_of, lines_of

# Nearly all clients send these in Connection; no plain field has such a name.
_USUAL_OPTIONS: Final = frozenset((b"close", b"keep-alive", b"upgrade"))
_VIA: Final = b"1.1 ipyproxy"
_PERCENT_SIGN: Final = b"%"[0]


class Manners(Enum):
    """What an upstream learns of the public address: nothing, or everything, never a mixture.

    Servers protect themselves against other sites' pages by comparing fields with each other:
    Origin or Referer with Host, or with X-Forwarded-Host and X-Forwarded-Proto. Each server
    compares different ones, so all fields have to agree. No single set suits all servers: Jupyter
    accepts only a local Host, while others build addresses for the browser from X-Forwarded-Host.

    Neither set contains ``Forwarded`` (RFC 7239). It would repeat X-Forwarded-*, and its grammar
    requires quotation marks around ``host:port``, which code-server, for one, takes as a part of
    the host name.
    """

    NOTEBOOK = "notebook"
    """Host, Origin and Referer name the upstream itself, and no field names the public address.
    Every Jupyter accepts this without configuration, and so do programs that run inside one."""
    APPLICATION = "application"
    """Host, Origin and Referer stay as the browser sent them, and X-Forwarded-Host, -Port and
    -Proto agree with them, as with other gateways."""


_APPLICATION: Final = Manners.APPLICATION


@dataclass(frozen=True, slots=True)
class Redirects:
    """How a redirect of the upstream to its own address is rewritten.

    :param host: whether its host and port are replaced by the public ones.
    :param scheme: the new scheme; empty: it stays.
    """

    host: bool
    scheme: bytes


@dataclass(frozen=True, eq=False, slots=True)
class Rewriting:
    """How requests to one upstream and its answers are rewritten.

    :param authority: ``127.0.0.1:<port>``, the address of the upstream.
    :param prefix: ``/ipython/<port>/``: all paths of this upstream begin with it.
    :param site_cookies: names of the site's cookies, which are never sent upstream.
    :param scheme: the scheme of the upstream.
    :param drop_reserved: returns the field lines of a request without those that only the proxy
        may send.
    :param manners: what the upstream learns of the public address.
    :param confined: whether cookies, service workers and addresses in answers are restricted to the
        prefix. This holds for notebooks, but not for an application that has its own route.
    :param stripped: whether the prefix is removed from requests.
    :param sent: additional field lines for the upstream, see :func:`told_lines`.
    :param prepended: a path to put before each target, without a slash at its end.
    :param tells: whether the upstream gets X-Forwarded-*.
    :param redirects: how Location is rewritten if it names the upstream itself.
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
    """The origins under which an upstream may name itself in an answer."""

    def __post_init__(self) -> None:
        names = (self.authority, b"localhost:%d" % self.port, b"[::1]:%d" % self.port)
        derived = {
            "origin": b"%b://%b" % (self.scheme, self.authority),
            "own_origins": tuple(b"%b://%b" % (self.scheme, name) for name in names),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)


Rewritten = tuple[Collection[bytes], bytes]
"""Names of the plain fields that Connection lists (to be dropped), and the special lines to
send."""


def request_fields(
    head: RequestHead, public: bytes, trusted: frozenset[bytes], rewriting: Rewriting
) -> bytes:
    """The field lines to send upstream, without framing, Connection and what a gateway adds.

    :param public: the public origin that the request was addressed to.
    :param trusted: further origins whose Referer is rewritten like our own.
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
        # To the notebook, every allowed request looks as if it came from one of its own pages.
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
    """The Referer to send: if it names a page of this site, the notebook sees its own address."""
    if rewriting.manners is _APPLICATION:
        return value
    for origin in (public, *trusted):
        size = len(origin)
        # One host name may be the beginning of another.
        if value[:size] == origin and value[size : size + 1] in (b"/", b"?", b""):
            return rewriting.origin + value[size:]
    # A foreign Referer stays: the notebook checks it, and that check must keep working.
    return value


def without_cookies(value: bytes, names: tuple[bytes, ...]) -> bytes:
    """A value of Cookie without the cookies in ``names``."""
    if not any(name in value for name in names):
        return value
    pairs = value.split(b";")
    kept = [pair for pair in pairs if pair.partition(b"=")[0].strip(b" \t") not in names]
    return b";".join(kept).strip(b" \t")


def authority_of(origin: bytes) -> bytes:
    """The host of an origin, and its port if it has one."""
    return origin.partition(b"://")[2]


@dataclass(frozen=True, slots=True)
class Said:
    """What earlier hops wrote into the fields that a gateway appends to."""

    via: tuple[bytes, ...] = ()
    x_forwarded_for: tuple[bytes, ...] = ()


def forwarded_block(client: str, public: bytes, said: Said, manners: Manners) -> bytes:
    """The field lines X-Forwarded-* and Via that the proxy sends.

    :param client: address of the peer, as text.
    :param said: the values to append to; from an untrusted peer only its Via.

    X-Forwarded-Prefix, for a prefix that was stripped, is added by :func:`forwarded`.
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
    """The values that may be appended to; ``trusted`` says whether the peer is a trusted proxy."""
    via = tuple(special.values_of(b"via"))
    return Said(via, tuple(special.values_of(b"x-forwarded-for")) if trusted else ())


def forwarded(
    special: SpecialFields, client: str, public: bytes, trusted: bool, rewriting: Rewriting
) -> bytes:
    """:func:`forwarded_block`, appended to the values in the request."""
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
    """The field lines that a route sends to its application.

    ``{user}`` becomes the user's name; a line with it is left out if there is no user.
    """
    name = None if user is None else user.encode()
    lines = [line for line in sent if name is not None or line.find(b"{user}") < 0]
    return block_of(line if name is None else line.replace(b"{user}", name) for line in lines)


def upstream_target(target: bytes, rewriting: Rewriting) -> bytes:
    """The target to send upstream: unchanged, or with the prefix stripped."""
    if rewriting.stripped:
        rest = _behind(target, rewriting.prefix[:-1])
        target = rest if rest.startswith(b"/") else b"/" + rest
    return rewriting.prepended + target


def _behind(target: bytes, prefix: bytes) -> bytes:
    """``target`` without ``prefix``, even if their common part is spelled differently."""
    if target.startswith(prefix):
        return target[len(prefix) :]
    at = 0
    for _ in unquote_to_bytes(prefix):
        at += 3 if target[at] == _PERCENT_SIGN else 1
    return target[at:]


def nominated(special: SpecialFields) -> Collection[bytes]:
    """The fields that Connection lists: they are for this hop only (RFC 9110 section 7.6.1)."""
    return frozenset(special.tokens(b"connection")) - _USUAL_OPTIONS
