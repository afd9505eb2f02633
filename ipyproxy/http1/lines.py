"""The fields of heads: lines that match RFC 9112 section 5 become values; anything else is refused.

Knows how each line is taken apart, and what was met before. Knows nothing of start lines, nor of
what a name means: that is handed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from ipyproxy.errors import Problem, ProxyError

TCHAR = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
VALUE = b"\t " + bytes(range(0x21, 0x7F)) + bytes(range(0x80, 0x100))

# No part of these matches in two ways (++), so that a line is read once.
_NAMED = re.compile(rb"([%b]++):[ \t]*+" % re.escape(TCHAR))
_LINE = re.compile(_NAMED.pattern + rb"([%b]*+)" % re.escape(VALUE))

_LINE_REMEMBERED = 2048
_LINES_REMEMBERED = 1024
_GROUP_REMEMBERED = 4096
_GROUPS_REMEMBERED = 512
_HEAD_REMEMBERED = 8192
# So many lines at the end of a head may change before it is worth finding out where that begins.
_FEW_LINES = 3


@dataclass(frozen=True, eq=False, slots=True)
class Special:
    """A field (RFC 9112 section 5) that a gateway must read, rewrite or drop.

    ``name`` is lower-case and ``value`` trimmed of optional white space; ``line`` is what to pass
    on of a field that is only read, with its CRLF, and empty for all others.
    """

    name: bytes
    value: bytes
    line: bytes


class SpecialFields(dict[bytes, list[bytes]]):
    """The values of a head's special fields in their order, by name (lower-case).

    Heads whose special fields are alike share one, which is never changed and is hashed by its
    identity: so ``lru_cache`` remembers what follows from special fields alone, at the price of a
    look-up. That is all of framing, access, and what is rewritten.
    """

    __slots__ = ("passed",)
    passed: bytes
    """The lines of those that are only read, to be passed on; each with its CRLF."""
    __hash__ = object.__hash__  # type: ignore[assignment]

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


_NONE: list[bytes] = []


class FieldMemory:
    """Field lines seen lately, with what they come to: the line to pass on, or a special field.

    Browsers repeat most of their field lines byte for byte, so looking a line up instead of
    parsing it is what makes a strict grammar cheap. Parsing depends on the line alone, so nothing
    of one request can show in another. Bounded to a few MiB: long lines are never kept, and a
    full memory starts anew.

    :param read: names (lower-case) of fields that are read, and passed on as they came.
    :param is_taken: tells by a name (lower-case) which fields are rewritten or dropped.
    """

    def __init__(self, read: frozenset[bytes], is_taken: Callable[[bytes], bool]) -> None:
        self._read = read
        self._is_taken = is_taken
        self._lines: dict[bytes, bytes | Special] = {}
        self._groups: dict[tuple[Special, ...], SpecialFields] = {}

    def __len__(self) -> int:
        """How many lines are remembered."""
        return len(self._lines)

    def of(self, line: bytes) -> bytes | Special:
        """What ``line`` (without its CRLF) comes to.

        Raises :class:`ProxyError` (``BAD_REQUEST``).
        """
        known = self._lines.get(line)
        return self._parse(line) if known is None else known

    def _parse(self, line: bytes) -> bytes | Special:
        name, value = split_field_line(line)
        lower = name.lower()
        # What is passed on is spelled anew: the name as it came, a colon, one space, the value.
        spelled = b"%b: %b\r\n" % (name, value)
        parsed: bytes | Special = spelled
        if lower in self._read:
            parsed = Special(lower, value, spelled)
        elif self._is_taken(lower):
            parsed = Special(lower, value, b"")
        if len(line) <= _LINE_REMEMBERED:
            if len(self._lines) >= _LINES_REMEMBERED:
                self._lines.clear()
            self._lines[line] = parsed
        return parsed

    def group(self, special: tuple[Special, ...]) -> SpecialFields:
        """The fields of one head together; the same object for the same fields, if seen lately."""
        group = self._groups.get(special)
        if group is None:
            group = SpecialFields()
            group.passed = b"".join([field.line for field in special])
            for field in special:
                group.setdefault(field.name, []).append(field.value)
            if sum(len(field.value) for field in special) <= _GROUP_REMEMBERED:
                if len(self._groups) >= _GROUPS_REMEMBERED:
                    self._groups.clear()
                self._groups[special] = group
        return group


def split_field_line(line: bytes) -> tuple[bytes, bytes]:
    """Take one field line (without its CRLF) apart into name and value.

    Raises :class:`ProxyError` (``BAD_REQUEST``) where it does not match RFC 9112 section 5.
    """
    match = _LINE.fullmatch(line)
    if match is not None:
        return match[1], match[2].rstrip(b" \t")
    if _NAMED.match(line):
        why = "a field value holds a control character, such as a bare CR or LF"
        raise ProxyError(Problem.BAD_REQUEST, why)
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
    ``special`` has what must be looked at. (The order of fields of different names means nothing,
    RFC 9110 section 5.3.)
    """

    __slots__ = ("plain", "special")

    def __init__(self, plain: bytes, special: SpecialFields) -> None:
        self.plain = plain
        self.special = special

    def values(self, name: bytes) -> list[bytes]:
        """See :meth:`SpecialFields.values_of`."""
        return self.special.get(name, _NONE)

    def first(self, name: bytes) -> bytes | None:
        """See :meth:`SpecialFields.first`."""
        return self.special.first(name)

    def tokens(self, name: bytes) -> tuple[bytes, ...]:
        """See :meth:`SpecialFields.tokens`."""
        return self.special.tokens(name)


@lru_cache(maxsize=256)
def split_tokens(value: bytes) -> tuple[bytes, ...]:
    """The members of a comma-separated list, lower-case, empty ones left out."""
    members = value.lower().split(b",")
    return tuple(token for member in members if (token := member.strip(b" \t")))


class FieldReader:
    """Reads the field lines of one connection's heads.

    On one connection they mostly begin with the same lines, and these are taken apart only when
    they change. What a line comes to depends on that line alone, so this changes no result.
    """

    __slots__ = ("_last", "_memory", "_plain", "_prefix", "_prefix_lines", "_special")

    def __init__(self, memory: FieldMemory) -> None:
        self._memory = memory
        self._last = b""
        self._prefix = b""
        self._prefix_lines = 0
        self._plain = b""
        self._special: tuple[Special, ...] = ()

    def read(self, block: bytes, most: int | None = None) -> Fields:
        """The fields that ``block`` spells, whose every line has its CRLF.

        Raises :class:`ProxyError`: ``BAD_REQUEST``, ``HEAD_TOO_LARGE`` if they are more than
        ``most``.
        """
        if not block.startswith(self._prefix):
            self._remember(b"")
        rest = block[len(self._prefix) :]
        # Counting takes as long as everything else, so what is known by heart is not counted.
        lines = rest.count(b"\r\n")
        if most is not None and self._prefix_lines + lines > most:
            raise ProxyError(Problem.HEAD_TOO_LARGE, f"{self._prefix_lines + lines} fields")
        if lines > _FEW_LINES:
            self._remember(_common_lines(block, self._last))
            rest = block[len(self._prefix) :]
        # A long head would cost its connection several times its size for as long as that is open.
        self._last = block if len(block) <= _HEAD_REMEMBERED else b""
        if not rest:
            return Fields(self._plain, self._memory.group(self._special))
        plain, special = self._take(rest)
        return Fields(self._plain + plain, self._memory.group(self._special + special))

    def _remember(self, prefix: bytes) -> None:
        if prefix != self._prefix:
            self._plain, self._special = self._take(prefix)
            self._prefix = prefix
            self._prefix_lines = prefix.count(b"\r\n")

    def _take(self, block: bytes) -> tuple[bytes, tuple[Special, ...]]:
        """The lines of ``block`` that pass as they are, and its special fields."""
        plain: list[bytes] = []
        special: list[Special] = []
        for line in lines_of(block):
            field = self._memory.of(line)
            if isinstance(field, bytes):
                plain.append(field)
            else:
                special.append(field)
        return b"".join(plain), tuple(special)


def _common_lines(block: bytes, other: bytes) -> bytes:
    """The lines with which both begin."""
    size = 0
    for mine, its in zip(block.split(b"\r\n"), other.split(b"\r\n"), strict=False):
        if mine != its:
            break
        size += len(mine) + 2
    return block[:size]
