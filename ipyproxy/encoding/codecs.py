"""The codings: compress a body piece by piece, and a cached one as well as possible.

Knows the libraries, and loads each one at its first use. Knows nothing of answers.

| coding | while it is sent | what is kept |
|---|---|---|
| ``zstd`` (RFC 8878) | level 6, window of 256 KiB: 78 MB/s, 1.3 MB of memory | level 19: 3 MB/s |
| ``br`` (RFC 7932) | quality 4, window of 256 KiB: 65 MB/s, 1.1 MB | quality 11: 0.6 MB/s |
| ``gzip`` (RFC 1952) | level 4: 63 MB/s, 0.3 MB | level 9: 22 MB/s |
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

PIECE = 128 * 1024
"""Bytes that are compressed between two checks whether to go on."""
LARGEST = 8 * 1024 * 1024
"""Largest body, in bytes, that is compressed a second time; that takes about 40 MiB meanwhile."""

_WINDOW = 18  # 256 KiB
_GZIP = 31  # zlib's window of 32 KiB, with gzip's header


class Encoder(Protocol):
    """The encoder of one body; used by one thread at a time."""

    def encode(self, data: bytes) -> bytes:
        """Encode bytes. Returns the output that is ready."""

    def flush(self) -> bytes:
        """Return the output for all bytes so far, so that the client can read them."""

    def finish(self) -> bytes:
        """End the body. Returns the rest of the output."""


class _Zstd:
    __slots__ = ("_compressor",)

    def __init__(self, size: int | None, **parameters: int) -> None:
        zstd = _zstd()
        options = {getattr(zstd.CompressionParameter, name): n for name, n in parameters.items()}
        self._compressor: Any = zstd.ZstdCompressor(options=options)
        if size is not None:
            # With the size known, small bodies need less memory.
            self._compressor.set_pledged_input_size(size)

    def encode(self, data: bytes) -> bytes:
        return self._compressor.compress(data)  # type: ignore[no-any-return]

    def flush(self) -> bytes:
        return self._compressor.flush(self._compressor.FLUSH_BLOCK)  # type: ignore[no-any-return]

    def finish(self) -> bytes:
        return self._compressor.flush()  # type: ignore[no-any-return]


class _Brotli:
    __slots__ = ("_compressor",)

    def __init__(self, quality: int, window: int) -> None:
        self._compressor: Any = _brotli().Compressor(quality=quality, lgwin=window)

    def encode(self, data: bytes) -> bytes:
        return self._compressor.process(data)  # type: ignore[no-any-return]

    def flush(self) -> bytes:
        return self._compressor.flush()  # type: ignore[no-any-return]

    def finish(self) -> bytes:
        return self._compressor.finish()  # type: ignore[no-any-return]


class _Gzip:
    __slots__ = ("_compressor",)

    def __init__(self, level: int) -> None:
        self._compressor = zlib.compressobj(level, zlib.DEFLATED, _GZIP)

    def encode(self, data: bytes) -> bytes:
        return self._compressor.compress(data)

    def flush(self) -> bytes:
        return self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._compressor.flush()


# Python's own module, from 3.14 on; else the same code under another name.
_MODULES = {b"zstd": ("compression.zstd", "backports.zstd"), b"br": ("brotli",)}


@cache
def _zstd() -> Any:
    return import_module(next(name for name in _MODULES[b"zstd"] if _is_there(name)))


@cache
def _brotli() -> Any:
    return import_module("brotli")


_QUICK: dict[bytes, Callable[[int | None], Encoder]] = {
    # Smaller tables than the level's default: 1.3 MiB instead of 3.1; the output is 0.5 % larger.
    b"zstd": lambda size: _Zstd(
        size, compression_level=6, window_log=_WINDOW, chain_log=17, hash_log=17
    ),
    b"br": lambda _: _Brotli(4, _WINDOW),
    b"gzip": lambda _: _Gzip(4),
}
_BEST: dict[bytes, Callable[[int], Encoder]] = {
    # Smaller tables than the level's default: 16 MiB instead of 50, with the same result.
    b"zstd": lambda size: _Zstd(
        size, compression_level=19, window_log=21, chain_log=21, hash_log=20
    ),
    b"br": lambda _: _Brotli(11, 20),
    b"gzip": lambda _: _Gzip(9),
}

CODINGS = tuple(_QUICK)
"""All codings, the best one for clients first."""


def usable(codings: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Those of ``codings`` whose library is installed, in the order of :data:`CODINGS`."""
    return tuple(coding for coding in CODINGS if coding in codings and _is_installed(coding))


def _is_installed(coding: bytes) -> bool:
    names = _MODULES.get(coding)
    return names is None or any(_is_there(name) for name in names)


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the package that contains it is missing
        return False


@cache
def is_loaded(coding: bytes) -> bool:
    """Load the library for ``coding``. Returns False if that fails.

    Since its start the process may have become another user that can't read every directory.
    """
    try:
        encoder(coding, None)
    except (ImportError, OSError):
        return False
    return True


def encoder(coding: bytes, size: int | None) -> Encoder:
    """Make an encoder for a body that is being sent; it takes its memory at once.

    :param size: bytes of the whole body, if known; then it must get exactly so many.
    """
    return _QUICK[coding](size)


def compressed_anew(coding: bytes, body: bytes, goes_on: Callable[[], bool]) -> bytes | None:
    """Compress ``body`` again, as well as possible; takes seconds.

    :param goes_on: called from time to time; False stops the work.
    :returns: None if the work was stopped, or if the result is not smaller.
    """
    raw = bytearray()
    for piece in _decoded(coding, body):
        raw += piece
        if len(raw) > LARGEST or not goes_on():
            return None
    best = _BEST[coding](len(raw))
    encoded = bytearray()
    for at in range(0, len(raw), PIECE):
        encoded += best.encode(bytes(raw[at : at + PIECE]))
        if not goes_on():
            return None
    encoded += best.finish()
    return bytes(encoded) if len(encoded) < len(body) else None


def _decoded(coding: bytes, body: bytes) -> Iterator[bytes]:
    """Decode ``body``, piece by piece."""
    if coding == b"gzip":
        inflater = zlib.decompressobj(_GZIP)
        while body:
            yield inflater.decompress(body, PIECE)
            body = inflater.unconsumed_tail
        yield inflater.flush()
    elif coding == b"zstd":
        decompressor = _zstd().ZstdDecompressor()
        yield decompressor.decompress(body, PIECE)
        while not decompressor.eof and not decompressor.needs_input:
            yield decompressor.decompress(b"", PIECE)
    else:
        decoder = _brotli().Decompressor()
        for at in range(0, len(body), PIECE):
            piece = decoder.process(body[at : at + PIECE])
            while piece:
                yield piece
                # The decoder returns highly compressed data in parts.
                piece = decoder.process(b"")
