"""Parses the field lines of heads. What does not match RFC 9112 section 5 is refused.

Knows how to parse a line, and how to look up a head's fields. Knows nothing of start lines, of what
a name means, or of lines seen before: that is in :mod:`ipyproxy.http1.memory`.
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
"""Maps field names that CGI-like servers treat as the same to one: Remote_User and remote-user
(CVE-2026-30851), with some servers also remote.user."""
TCHAR: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
VALUE: Final = b"\t " + bytes(range(0x21, 0x7F)) + bytes(range(0x80, 0x100))

# Possessive (++): no part of these matches in two ways, so each line is scanned once.
_NAMED: Final = re.compile(rb"([%b]++):[ \t]*+" % re.escape(TCHAR))
_LINE: Final = re.compile(_NAMED.pattern + rb"([%b]*+)" % re.escape(VALUE))

_MOST_FOLLOWING: Final = 16
_SHORT_LIST: Final = 64


@dataclass(frozen=True, eq=False, slots=True)
class Special:
    """A field (RFC 9112 section 5) that a gateway must read, rewrite or drop.

    ``name`` is lower-case, ``value`` has no white space around it. For a field that is only read,
    ``line`` is the line to pass on, with its CRLF; for all others it is empty.
    """

    name: bytes
    value: bytes
    line: bytes


@dataclass(frozen=True, eq=False, slots=True)
class Loose:
    """A field that a gateway rewrites and that changes from one request to the next: Referer.

    It is kept apart from the special fields, so that results that depend on these can be kept.
    """

    value: bytes


Parsed = bytes | Special | Loose
"""A parsed field line; bytes are the line to pass on, with its CRLF."""


class SpecialFields(dict[bytes, list[bytes]]):
    """The values of a head's special fields, in order, by name (lower-case).

    Heads of one connection with the same special fields share one object, which never changes.
    Results that depend on special fields alone (framing, access, rewriting) are kept in it
    (:meth:`keep`), and are gone when it is.
    """

    __slots__ = ("following", "verbatim")
    verbatim: bytes
    """The lines of fields that are only read, to be passed on; each with its CRLF."""
    following: dict[tuple[Any, ...], Any]
    """The results so far, by question: look here first, then :meth:`keep`."""

    def __init__(self) -> None:
        super().__init__()
        self.verbatim = b""
        self.following = {}

    def keep(self, asked: tuple[Any, ...], found: Any) -> None:
        """Remember the result ``found`` for as long as these fields are remembered.

        ``lru_cache`` would keep fields, and the secrets in them, long after their connection.

        :param asked: a unique word for the question, and everything else that the result depends
            on.
        """
        if len(self.following) >= _MOST_FOLLOWING:
            self.following.clear()
        self.following[asked] = found

    def values_of(self, name: bytes) -> list[bytes]:
        """All values of the field ``name`` (lower-case), in their order."""
        return self.get(name, _NONE)

    def one(self, name: bytes) -> bytes | None:
        """The value of a field that may occur only once.

        Raises :class:`ProxyError` (``BAD_REQUEST``) if it occurs twice.
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
    """Keep results of ``find`` with the special fields it is given (:meth:`SpecialFields.keep`).

    ``find`` never returns None, and its other arguments are hashable. Functions that every request
    calls look into ``following`` themselves, since compiled code calls a decorated function slowly.
    """

    def look(special: SpecialFields, *others: Any) -> Any:
        found = special.following.get((find, others))
        if found is None:
            found = find(special, *others)
            special.keep((find, others), found)
        return found

    return cast("F", look)


def split_field_line(line: bytes) -> tuple[bytes, bytes]:
    """Split one field line (without its CRLF) into name and value.

    Raises :class:`ProxyError` (``BAD_REQUEST``) if it does not match RFC 9112 section 5.
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
    """``lines`` joined, each with a CRLF."""
    return b"".join([line + b"\r\n" for line in lines])


def lines_of(block: bytes) -> list[bytes]:
    """The lines of ``block``, without their CRLFs."""
    lines = block.split(b"\r\n")
    del lines[-1]
    return lines


class Fields:
    """The fields of one head.

    ``plain`` has the lines that are passed on unread, in their order, each with its CRLF.
    ``special`` has the fields that must be read, and ``loose`` the values of the :class:`Loose`
    field. (The order of fields with different names has no meaning, RFC 9110 section 5.3.)
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
    """The members of a comma-separated list, in lower case, without empty ones."""
    return _split_short(value) if len(value) <= _SHORT_LIST else _split(value)


def _split(value: bytes) -> tuple[bytes, ...]:
    members = value.lower().split(b",")
    return tuple(token for member in members if (token := member.strip(b" \t")))


_split_short: Final = lru_cache(maxsize=64)(_split)
