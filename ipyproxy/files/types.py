"""Finds the media type of a file by its name, and whether such files are worth compressing.

The types come from Python's table (``mimetypes``), which follows IANA's, and not from the system's
``/etc/mime.types``, so that a file has the same type on every host. The table here adds types that
browsers insist on, that modern pages need, or that differ between versions of Python.
"""

from __future__ import annotations

from functools import lru_cache
from mimetypes import MimeTypes

UNKNOWN = b"application/octet-stream"

_table = MimeTypes(filenames=())
_OWN = {
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".br": "application/octet-stream",
    ".bz2": "application/x-bzip2",
    ".gz": "application/gzip",
    ".ico": "image/x-icon",
    ".ipynb": "application/x-ipynb+json",
    ".js": "text/javascript",  # RFC 9239
    ".jsonld": "application/ld+json",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".otf": "font/otf",
    ".rss": "application/rss+xml",
    ".rtf": "application/rtf",
    ".svgz": "application/gzip",
    ".toml": "application/toml",
    ".ttf": "font/ttf",
    ".vcf": "text/plain",  # on these hosts it contains variants of a genome, not visiting cards
    ".wasm": "application/wasm",
    ".wav": "audio/wav",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xz": "application/x-xz",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zst": "application/zstd",
}
_TEXTS = frozenset(
    (
        "application/json", "application/ld+json", "application/manifest+json",
        "application/rss+xml", "application/wasm", "application/x-ipynb+json", "application/xml",
        "application/yaml", "font/otf", "font/ttf", "image/bmp", "image/svg+xml", "image/x-icon",
    )
)  # fmt: skip


@lru_cache(maxsize=256)
def _by_ending(ending: str) -> str:
    return _OWN.get(ending) or _table.types_map[True].get(ending, "")


def _media_type(name: bytes) -> str:
    dot = name.rfind(b".")
    if dot < 0 or len(name) - dot > 16:
        return ""
    return _by_ending(name[dot:].decode("latin-1").lower())


def content_type(name: bytes) -> bytes:
    """The Content-Type of a file named ``name``; text counts as UTF-8."""
    media_type = _media_type(name)
    if not media_type:
        return UNKNOWN
    charset = "; charset=utf-8" if media_type.startswith("text/") else ""
    return (media_type + charset).encode("ascii")


def is_compressible(name: bytes) -> bool:
    """Whether a file of this name may have a compressed copy beside it."""
    media_type = _media_type(name)
    return media_type.startswith("text/") or media_type in _TEXTS
