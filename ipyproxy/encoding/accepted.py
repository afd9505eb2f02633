"""Which content coding a client wants (RFC 9110 section 12.5.3).

Knows the grammar of Accept-Encoding. Knows nothing of what is asked for. Pure.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ipyproxy.http1.lines import TOKEN

_LONGEST = 256
"""Bytes of a field above which it is not read: browsers send about 25."""
_REMEMBERED = 64
_MEMBER = re.compile(
    rb"(" + TOKEN + rb")(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
)
_ALIASES = {b"x-gzip": b"gzip"}


def choose(values: list[bytes], available: tuple[bytes, ...]) -> bytes | None:
    """The coding to send to whoever sent these ``values`` of Accept-Encoding; None: none.

    The client's highest weight decides; among equals the first of ``available``. One that prefers
    ``identity``, or says nothing at all, gets no coding.
    """
    value = b",".join(values)
    return _choose(value, available) if value and len(value) <= _LONGEST else None


@lru_cache(_REMEMBERED)
def _choose(value: bytes, available: tuple[bytes, ...]) -> bytes | None:
    weights = _weights(value)
    others = weights.get(b"*", 0.0)
    best, highest = None, weights.get(b"identity", 0.0)
    for coding in available:
        weight = weights.get(coding, others)
        # Where both weigh the same, what is smaller is better for whoever accepts it.
        if weight > highest or (best is None and weight == highest > 0):
            best, highest = coding, weight
    return best


def _weights(value: bytes) -> dict[bytes, float]:
    """The weight of each member; one that does not match the grammar is left out."""
    weights: dict[bytes, float] = {}
    for member in value.split(b","):
        match = _MEMBER.fullmatch(member.strip(b" \t"))
        if match is not None:
            name = match[1].lower()
            weights[_ALIASES.get(name, name)] = 1.0 if match[2] is None else float(match[2])
    return weights
