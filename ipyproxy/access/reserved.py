"""Reserved fields: fields that only the proxy may set, so a client's own are dropped.

Knows names of fields and the one scheme of Authorization that may be ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from ipyproxy.access.basic import is_basic
from ipyproxy.http1.lines import ALIKE

# Names only, and no long ones: a value may be a secret, and as long as a head.
_NAMES_REMEMBERED = 256
_SHORT_NAME = 64


class ReservedFields:
    """Fields that a client may not send to an upstream.

    :param names: names of fields that only the proxy may set, in any spelling.
    :param basic: whether Basic credentials in Authorization are reserved too. If the proxy asks for
        passwords, they are reserved on every path: a browser sends them to any notebook that asks
        for the same realm.
    """

    def __init__(self, names: Iterable[str], *, basic: bool) -> None:
        self._names = frozenset(alike(name.encode("ascii")) for name in names)
        self._basic = basic
        self._is_named = lru_cache(_NAMES_REMEMBERED)(self._look)

    def kept(self, lines: Iterable[bytes]) -> list[bytes]:
        """``lines`` (as a head has them) without the reserved fields."""
        return [line for line in lines if self._passes(line)]

    def _passes(self, line: bytes) -> bool:
        name, _, value = line.partition(b":")
        if self._basic and name.lower() == b"authorization" and is_basic(value.strip(b" \t")):
            return False
        return not (self._is_named(name) if len(name) <= _SHORT_NAME else self._look(name))

    def _look(self, name: bytes) -> bool:
        return alike(name) in self._names


def dropping_reserved(
    usual: ReservedFields | None, names: Sequence[str] = ()
) -> Callable[[list[bytes]], list[bytes]] | None:
    """A function that drops reserved fields: the usual ones, and those in ``names``."""
    if not names:
        return None if usual is None else usual.kept
    own = ReservedFields(names, basic=False)
    return own.kept if usual is None else lambda lines: own.kept(usual.kept(lines))


def alike(name: bytes) -> bytes:
    """``name`` in lower case with hyphens, which all its spellings have in common."""
    return name.lower().translate(ALIKE)
