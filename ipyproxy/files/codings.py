"""Compressed copies that lie beside a file: which of them a client takes (RFC 9110 section 12.5.3).

Knows the field Accept-Encoding and how such copies are named. Compresses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

COPIES: Mapping[bytes, bytes] = {b"br": b".br", b"zstd": b".zst", b"gzip": b".gz"}
"""Content codings, the best first, and how the name of a copy ends that has it."""

_QVALUE = re.compile(rb"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_MOST_MEMBERS = 32
_REMEMBERED_BYTES = 256
"""Browsers send 25; what is longer is read each time."""


def accepted(field: bytes) -> tuple[bytes, ...]:
    """Those of :data:`COPIES` that an Accept-Encoding field takes, the most wanted first."""
    return _accepted(field) if len(field) <= _REMEMBERED_BYTES else _accepted.__wrapped__(field)


@lru_cache(64)
def _accepted(field: bytes) -> tuple[bytes, ...]:
    weights: dict[bytes, float] = {}
    for member in field.lower().split(b",", _MOST_MEMBERS)[:_MOST_MEMBERS]:
        coding, *parameters = (part.strip(b" \t") for part in member.split(b";"))
        match = _QVALUE.fullmatch(parameters[0]) if parameters else None
        weights[coding] = float(match[1]) if match else float(not parameters)
    weights[b"gzip"] = weights.get(b"gzip", weights.get(b"x-gzip", weights.get(b"*", 0.0)))
    wanted = {coding: weights.get(coding, weights.get(b"*", 0.0)) for coding in COPIES}
    return tuple(sorted((c for c in COPIES if wanted[c]), key=lambda c: -wanted[c]))
