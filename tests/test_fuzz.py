"""A short run of the fuzzers without a fuzzer: the corpus, and mutations of it, always the same."""

from __future__ import annotations

import random

import pytest

from fuzz.targets import TARGETS, seeds

_MUTATIONS = 400
_BYTES = b"\0\t\n\x0b\r !\"#%',./0:;=?@A\\_a\x7f\x85\xa0\xff"


def mutated(seed: bytes, other: bytes, dice: random.Random) -> bytes:
    """Change a few bytes of *seed*, or put a piece of *other* into it."""
    for _ in range(dice.randint(1, 3)):
        at = dice.randint(0, len(seed))
        width = dice.randint(0, 2)
        start = dice.randint(0, len(other))
        put = dice.choice([b"", bytes([dice.choice(_BYTES)]), b"\r\n", other[start : start + 20]])
        seed = seed[:at] + put + seed[at + width :]
    return seed


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_upsets_it(name: str) -> None:
    known = seeds(name)
    for seed in known:
        TARGETS[name](seed)
    dice = random.Random(name)
    for _ in range(_MUTATIONS):
        TARGETS[name](mutated(dice.choice(known), dice.choice(known), dice))
