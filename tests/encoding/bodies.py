"""Bodies as a browser reads them, in each of the codings whose library is there."""

from __future__ import annotations

import gzip
import random
from importlib import import_module
from typing import Any

import pytest

from ipyproxy.encoding import codecs

CODINGS = [
    pytest.param(
        coding,
        id=coding.decode(),
        marks=pytest.mark.skipif(not codecs.usable((coding,)), reason="no library for it"),
    )
    for coding in codecs.CODINGS
]


def script(size: int) -> bytes:
    """Something that looks like a script, and compresses like one."""
    source = random.Random(1)
    words = [b"function", b"return", b"this.", b"const ", b"=>{", b"});", b"e.exports", b"null"]
    pieces = [b"%b%x" % (source.choice(words), source.getrandbits(12)) for _ in range(size // 5)]
    return b"".join(pieces)[:size]


def decoder(coding: bytes) -> Any:
    """What takes a body apart as it comes, by ``decode``."""
    if coding == b"gzip":
        import zlib

        return zlib.decompressobj(31).decompress
    if coding == b"br":
        process = import_module("brotli").Decompressor().process

        def whole(data: bytes) -> bytes:
            # It gives a part at a time.
            parts = [process(data)]
            while parts[-1]:
                parts.append(process(b""))
            return b"".join(parts)

        return whole
    return codecs._zstd().ZstdDecompressor().decompress


def decoded(coding: bytes, body: bytes) -> bytes:
    """The whole of a body that is whole."""
    if coding == b"gzip":
        return gzip.decompress(body)
    if coding == b"br":
        return bytes(import_module("brotli").decompress(body))
    return bytes(codecs._zstd().decompress(body))
