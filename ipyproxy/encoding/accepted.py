"""Finds out which content codings a client accepts (RFC 9110 section 12.5.3).

Knows the grammar of Accept-Encoding. Knows nothing of what is requested. Pure.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ipyproxy.http1.lines import TOKEN

_LONGEST = 256
"""A longer field, in bytes, is ignored; browsers send about 25."""
_REMEMBERED = 64
_MEMBER = re.compile(
    rb"(" + TOKEN + rb")(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
)
_ALIASES = {b"x-gzip": b"gzip"}


def accepted(values: list[bytes], available: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Those of ``available`` that a client accepts, the most wanted first.

    :param values: the client's Accept-Encoding fields. A client without the field accepts none.
    :param available: codings; those with equal weights keep this order.
    """
    value = _one_of(values)
    return _accepted(value, available) if value else ()


def choose(values: list[bytes], available: tuple[bytes, ...]) -> bytes | None:
    """The coding of ``available`` to send to a client; None: send the body unchanged.

    The parameters are those of :func:`accepted`. A client that prefers ``identity`` gets no coding.
    """
    value = _one_of(values)
    return _choose(value, available) if value else None


def _one_of(values: list[bytes]) -> bytes:
    """All fields joined; empty if they are too long."""
    value = b",".join(values)
    return value if len(value) <= _LONGEST else b""


@lru_cache(_REMEMBERED)
def _choose(value: bytes, available: tuple[bytes, ...]) -> bytes | None:
    weights = _weights(value, available)
    for coding in _accepted(value, available):
        # If both weights are equal, the smaller body is better.
        return coding if weights[coding] >= weights[b"identity"] else None
    return None


@lru_cache(_REMEMBERED)
def _accepted(value: bytes, available: tuple[bytes, ...]) -> tuple[bytes, ...]:
    weights = _weights(value, available)
    taken = [coding for coding in available if weights[coding]]
    return tuple(sorted(taken, key=lambda coding: -weights[coding]))


def _weights(value: bytes, available: tuple[bytes, ...]) -> dict[bytes, float]:
    """The weight of ``identity`` and each of ``available``.

    Members that do not match the grammar are ignored.
    """
    said = {b"identity": 0.0}
    for member in value.split(b","):
        match = _MEMBER.fullmatch(member.strip(b" \t"))
        if match is not None:
            name = match[1].lower()
            said[_ALIASES.get(name, name)] = 1.0 if match[2] is None else float(match[2])
    others = said.get(b"*", 0.0)
    return {coding: said.get(coding, others) for coding in (b"identity", *available)}
