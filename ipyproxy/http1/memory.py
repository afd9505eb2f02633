"""Reads the fields of heads: lines seen before are looked up instead of parsed.

Knows what is remembered, where, and how much of it. :mod:`ipyproxy.http1.lines` parses a line; what
a name means is handed in.

There are two memories, both bounded in bytes. Lines that many clients send and that are no secret
are shared by all connections (:class:`FieldMemory`). Everything else, above all cookies,
credentials, and tokens in a Referer, is kept by the connection it came on (:class:`FieldReader`),
and is gone with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.lines import (
    Fields,
    Loose,
    Parsed,
    Special,
    SpecialFields,
    split_field_line,
)

SHARED_BYTES: Final = 512 * 1024
"""Most bytes of the lines in one :class:`FieldMemory`."""
OWN_LINES_BYTES: Final = 4 * 1024
OWN_GROUPS_BYTES: Final = 12 * 1024
"""Most bytes of a connection's own lines, and of its groups of special fields."""
HEAD_BYTES: Final = 4096
"""A head with more bytes of field lines is not compared with the one before."""
_SHARED_LINE: Final = 512
# Overhead in bytes. A line has two objects and a slot in a table; a group has these for each of its
# fields, and the results that are kept with it.
_LINE_COST: Final = 300
_FIELD_COST: Final = 120
_GROUP_COST: Final = 1024
# If more lines at the end of a head change, it is worth finding out where the changes begin.
_FEW_LINES: Final = 3


class FieldMemory:
    """Field lines that many clients send, parsed: the line to pass on, or a special field.

    Browsers repeat most of their field lines byte for byte; looking a line up instead of parsing it
    makes a strict grammar cheap. The result depends on the line alone, so one request can reveal
    nothing of another. The memory has at most :data:`SHARED_BYTES`: long lines are never kept, and
    a full memory is emptied.

    :param shared: names (lower-case) of fields that are never secret.
    :param read: names (lower-case) of fields that are read and passed on unchanged.
    :param is_taken: tells whether the field with a name (lower-case) is rewritten or dropped.
    :param loose: the name (lower-case) of the :class:`Loose` field, if there is one.
    """

    def __init__(
        self,
        shared: frozenset[bytes],
        read: frozenset[bytes],
        is_taken: Callable[[bytes], bool],
        loose: bytes = b"",
    ) -> None:
        self._shared = shared
        self._read = read
        self._is_taken = is_taken
        self._loose = loose
        self.lines: dict[bytes, Parsed] = {}
        """The remembered lines."""
        self._held = 0

    @property
    def held(self) -> int:
        """Roughly how many bytes the memory takes."""
        return self._held

    def parse(self, line: bytes) -> tuple[Parsed, bool]:
        """Parse ``line`` (without its CRLF). Returns the result, and whether it is now remembered.

        Raises :class:`ProxyError` (``BAD_REQUEST``).
        """
        name, value = split_field_line(line)
        lower = name.lower()
        # The line to pass on is normalized: the name as it came, a colon, one space, the value.
        spelled = b"%b: %b\r\n" % (name, value)
        parsed: Parsed = spelled
        if lower in self._read:
            parsed = Special(lower, value, spelled)
        elif lower == self._loose:
            parsed = Loose(value)
        elif self._is_taken(lower):
            parsed = Special(lower, value, b"")
        is_shared = lower in self._shared and len(line) <= _SHARED_LINE
        if is_shared:
            self._keep(line, parsed)
        return parsed, is_shared

    def _keep(self, line: bytes, parsed: Parsed) -> None:
        cost = _line_cost(line)
        if self._held + cost > SHARED_BYTES:
            self.lines.clear()
            self._held = 0
        self.lines[line] = parsed
        self._held += cost


def _line_cost(line: bytes) -> int:
    """Bytes that a remembered line takes: the line as it came, as passed on, and its value."""
    return 3 * len(line) + _LINE_COST


def _group(special: tuple[Special, ...]) -> SpecialFields:
    group = SpecialFields()
    group.verbatim = b"".join([field.line for field in special])
    for field in special:
        group.setdefault(field.name, []).append(field.value)
    return group


class FieldReader:
    """Reads the field lines of one connection's heads.

    Heads on one connection mostly begin with the same lines, which are parsed only if they change.
    The result of parsing depends on the line alone, so this changes no result. The reader keeps
    four copies of a head of up to :data:`HEAD_BYTES`, and in addition :data:`OWN_LINES_BYTES` of
    lines and :data:`OWN_GROUPS_BYTES` of special fields.
    """

    __slots__ = (
        "_groups", "_held_groups", "_held_lines", "_last", "_last_count", "_last_fields", "_lines",
        "_loose", "_memory", "_plain", "_prefix", "_prefix_count", "_special",
    )  # fmt: skip

    def __init__(self, memory: FieldMemory) -> None:
        self._memory = memory
        self._last = b""
        self._last_fields: Fields | None = None
        self._last_count = 0
        self._prefix = b""
        self._prefix_count = 0
        self._plain = b""
        self._special: tuple[Special, ...] = ()
        self._loose: tuple[bytes, ...] = ()
        self._lines: dict[bytes, Special | Loose] = {}
        self._groups: dict[tuple[Special, ...], SpecialFields] = {}
        self._held_lines = self._held_groups = 0

    def read(self, block: bytes, most: int) -> Fields:
        """Parse the fields in ``block``, whose lines all end with CRLF.

        Raises :class:`ProxyError`: ``BAD_REQUEST``, or ``HEAD_TOO_LARGE`` if there are more than
        ``most``.
        """
        last = self._last_fields
        if last is not None and block == self._last and self._last_count <= most:
            return last
        prefix = self._prefix
        if not block.startswith(prefix):
            prefix = b""
            self._remember(prefix)
        rest = block[len(prefix) :]
        # Counting takes as long as everything else, so lines that are unchanged are not counted.
        lines = rest.count(b"\r\n")
        count = self._prefix_count + lines
        if count > most:
            raise ProxyError(Problem.HEAD_TOO_LARGE, f"{count} fields")
        is_long = len(block) > HEAD_BYTES
        if lines > _FEW_LINES and not is_long:
            self._remember(_common_lines(block, self._last))
            rest = block[len(self._prefix) :]
        plain, special, loose = self._take(rest)
        fields = Fields(
            self._plain + plain, self._group(self._special + special), self._loose + loose
        )
        self._last = b"" if is_long else block
        self._last_fields = None if is_long else fields
        self._last_count = count
        return fields

    def _remember(self, prefix: bytes) -> None:
        if prefix != self._prefix:
            self._plain, self._special, self._loose = self._take(prefix)
            self._prefix = prefix
            self._prefix_count = prefix.count(b"\r\n")

    def _take(self, block: bytes) -> tuple[bytes, tuple[Special, ...], tuple[bytes, ...]]:
        """The lines of ``block`` that pass unchanged, its special fields, and the loose one."""
        plain: list[bytes] = []
        special: list[Special] = []
        loose: tuple[bytes, ...] = ()
        shared, own = self._memory.lines, self._lines
        for line in block.split(b"\r\n")[:-1]:
            field = shared.get(line) or own.get(line) or self._meet(line)
            if isinstance(field, bytes):
                plain.append(field)
            elif isinstance(field, Special):
                special.append(field)
            else:
                loose += (field.value,)
        return b"".join(plain), tuple(special), loose

    def _meet(self, line: bytes) -> Parsed:
        """Parse an unknown line, and remember it unless it is too long.

        (Lines that pass unchanged are not remembered here: they change often, and nothing depends
        on them.)
        """
        field, is_shared = self._memory.parse(line)
        if is_shared or isinstance(field, bytes):
            return field
        cost = _line_cost(line)
        if cost <= OWN_LINES_BYTES:
            self._held_lines += cost
            if self._held_lines > OWN_LINES_BYTES:
                self._lines.clear()
                self._held_lines = cost
            self._lines[line] = field
        return field

    def _group(self, special: tuple[Special, ...]) -> SpecialFields:
        """The special fields of one head; the same object for the same fields, if seen recently."""
        group = self._groups.get(special)
        if group is None:
            group = _group(special)
            values = sum([len(field.value) for field in special])
            cost = 2 * values + _FIELD_COST * len(special) + _GROUP_COST
            if cost <= OWN_GROUPS_BYTES:
                self._held_groups += cost
                if self._held_groups > OWN_GROUPS_BYTES:
                    self._groups.clear()
                    self._held_groups = cost
                self._groups[special] = group
        return group


def _common_lines(block: bytes, other: bytes) -> bytes:
    """The common lines at the beginning of both."""
    size = 0
    for mine, its in zip(block.split(b"\r\n"), other.split(b"\r\n"), strict=False):
        if mine != its:
            break
        size += len(mine) + 2
    return block[:size]
