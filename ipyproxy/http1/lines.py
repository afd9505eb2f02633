"""The fields of heads: lines that match RFC 9112 section 5 become values; anything else is refused.

Knows how a line is taken apart, and what a head's fields are asked. Knows nothing of start lines,
of what a name means, nor of what was met before: that is in :mod:`ipyproxy.http1.memory`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar, cast

from ipyproxy.errors import Problem, ProxyError

F = TypeVar("F", bound=Callable[..., Any])

TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
"""A token (RFC 9110 section 5.6.2), for regular expressions."""
ALIKE: Final = bytes.maketrans(b"!#$%&'*+.^_`|~", b"-" * 14)
"""Makes names of fields alike that CGI-like servers hold for one: Remote_User and remote-user
(CVE-2026-30851); some take remote.user for it too."""
TCHAR: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
VALUE: Final = b"\t " + bytes(range(0x21, 0x7F)) + bytes(range(0x80, 0x100))

# No part of these matches in two ways (++), so that a line is read once.
_NAMED: Final = re.compile(rb"([%b]++):[ \t]*+" % re.escape(TCHAR))
_LINE: Final = re.compile(_NAMED.pattern + rb"([%b]*+)" % re.escape(VALUE))

_MOST_FOLLOWING: Final = 16
_SHORT_LIST: Final = 64


@dataclass(frozen=True, eq=False, slots=True)
class Special:
    """A field (RFC 9112 section 5) that a gateway must read, rewrite or drop.

    ``name`` is lower-case and ``value`` trimmed of optional white space; ``line`` is what to pass
    on of a field that is only read, with its CRLF, and empty for all others.
    """

    name: bytes
    value: bytes
    line: bytes


@dataclass(frozen=True, eq=False, slots=True)
class Loose:
    """A field that a gateway rewrites, but that changes from one request to the next: Referer.

    It stands apart from the special fields, so that what follows from these is still known.
    """

    value: bytes


Parsed = bytes | Special | Loose
"""What a field line comes to; bytes are the line to pass on, with its CRLF."""


class SpecialFields(dict[bytes, list[bytes]]):
    """The values of a head's special fields in their order, by name (lower-case).

    Heads of one connection whose special fields are alike share one, which is never changed. What
    follows from special fields alone (framing, access, what is rewritten) is kept with them
    (:meth:`keep`), and so is gone when they are.
    """

    __slots__ = ("following", "verbatim")
    verbatim: bytes
    """The lines of those that are only read, to be passed on; each with its CRLF."""
    following: dict[tuple[Any, ...], Any]
    """What followed from these so far, by what was asked: look here first, then :meth:`keep`."""

    def __init__(self) -> None:
        super().__init__()
        self.verbatim = b""
        self.following = {}

    def keep(self, asked: tuple[Any, ...], found: Any) -> None:
        """Let what was ``found`` be known for as long as these fields are.

        This is ``lru_cache`` without its price: that one would keep fields, and the secrets in
        them, long after their connection.

        :param asked: a word of its own for what is found out, and all that it depends on besides.
        """
        if len(self.following) >= _MOST_FOLLOWING:
            self.following.clear()
        self.following[asked] = found

    def values_of(self, name: bytes) -> list[bytes]:
        """All values of the field ``name`` (lower-case), in order."""
        return self.get(name, _NONE)

    def one(self, name: bytes) -> bytes | None:
        """The value of a field that may come at most once.

        Raises :class:`ProxyError` (``BAD_REQUEST``) if it comes twice.
        """
        values = self.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise ProxyError(Problem.BAD_REQUEST, f"more than one {name.decode()} field")
        return values[0]

    def first(self, name: bytes) -> bytes | None:
        """The first value of a field; for logs and pages, not for decisions."""
        values = self.get(name)
        return values[0] if values else None

    def tokens(self, name: bytes) -> tuple[bytes, ...]:
        """The members of a comma-separated field, lower-case (RFC 9110 section 5.6.1)."""
        values = self.get(name)
        return split_tokens(b",".join(values)) if values else ()


_NONE: Final[list[bytes]] = []


def remembered(find: F) -> F:
    """Let what ``find`` makes of special fields be kept with these (:meth:`SpecialFields.keep`).

    ``find`` gives anything but None; its other arguments are hashable. What every request asks for
    looks by itself instead, since compiled code calls a decorated function slowly.
    """

    def look(special: SpecialFields, *others: Any) -> Any:
        found = special.following.get((find, others))
        if found is None:
            found = find(special, *others)
            special.keep((find, others), found)
        return found

    return cast("F", look)


def split_field_line(line: bytes) -> tuple[bytes, bytes]:
    """Take one field line (without its CRLF) apart into name and value.

    Raises :class:`ProxyError` (``BAD_REQUEST``) where it does not match RFC 9112 section 5.
    """
    match = _LINE.fullmatch(line)
    if match is not None:
        return match[1], match[2].rstrip(b" \t")
    if _NAMED.match(line):
        # fetch() sends them.
        why = "a field value holds a control character, such as a bare CR or LF"
        raise ProxyError(Problem.BAD_REQUEST, why, by_page=True)
    raise ProxyError(Problem.BAD_REQUEST, "a field line is not 'name: value'")


def block_of(lines: Iterable[bytes]) -> bytes:
    """``lines``, each with its CRLF, in one."""
    return b"".join([line + b"\r\n" for line in lines])


def lines_of(block: bytes) -> list[bytes]:
    """The lines of ``block`` without the CRLF that each of them has."""
    lines = block.split(b"\r\n")
    del lines[-1]
    return lines


class Fields:
    """The fields of one head.

    ``plain`` has the lines to pass on that nobody looks at, in their order and each with its CRLF;
    ``special`` has what must be looked at, but for ``loose``, the values of the :class:`Loose`
    field. (The order of fields of different names means nothing, RFC 9110 section 5.3.)
    """

    __slots__ = ("loose", "plain", "special")

    def __init__(self, plain: bytes, special: SpecialFields, loose: tuple[bytes, ...] = ()) -> None:
        self.plain = plain
        self.special = special
        self.loose = loose

    def values(self, name: bytes) -> list[bytes]:
        """See :meth:`SpecialFields.values_of`."""
        return self.special.get(name, _NONE)

    def first(self, name: bytes) -> bytes | None:
        """See :meth:`SpecialFields.first`."""
        return self.special.first(name)

    def tokens(self, name: bytes) -> tuple[bytes, ...]:
        """See :meth:`SpecialFields.tokens`."""
        return self.special.tokens(name)


def split_tokens(value: bytes) -> tuple[bytes, ...]:
    """The members of a comma-separated list, lower-case, empty ones left out."""
    return _split_short(value) if len(value) <= _SHORT_LIST else _split(value)


def _split(value: bytes) -> tuple[bytes, ...]:
    members = value.lower().split(b",")
    return tuple(token for member in members if (token := member.strip(b" \t")))


_split_short: Final = lru_cache(maxsize=64)(_split)
