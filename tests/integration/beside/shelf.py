"""A directory with files whose facts are the same for whoever sends them."""

from __future__ import annotations

import os
from email.utils import formatdate
from pathlib import Path

from .requests import Shelf

MODIFIED = 1_700_000_000
_FILES = {
    "index.html": b"<!doctype html><title>home</title>" + b"<p>home" * 300,
    "style.css": b"body { color: red }\n" * 100,
    "app.js": b"let a = 1;\n" * 200,
    "data.json": b'{"a": 1}' * 50,
    "notes.txt": b"notes\n" * 100,
    "page.xml": b"<a/>",
    "image.png": b"\x89PNG\r\n\x1a\n" + bytes(500),
    "picture.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "font.woff2": b"wOF2" + bytes(50),
    "reads.bam": b"BAM\x01" + bytes(3000),
    "favicon.ico": bytes(200),
    "robots.txt": b"User-agent: *\n",
    "noending": b"no ending",
    "archive.tar.gz": b"\x1f\x8b" + bytes(100),
    "a b.txt": b"a space",
    "empty.txt": b"",
    "big.bin": bytes(range(256)) * 1000,
    "docs/index.html": b"docs",
    "inner/a.txt": b"inner",
    ".hidden": b"hidden",
}


def fill(directory: Path, at: str) -> Shelf:
    """Make the files below ``directory``, and a secret beside it; ``at`` is where it is served."""
    for name, content in _FILES.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, (MODIFIED, MODIFIED))
    (directory.parent / "secret").write_text("secret")
    (directory / "out").symlink_to("../secret")
    asked = {name: len(content) for name, content in _FILES.items()}
    for name in "a b.txt", ".hidden", "inner/a.txt":
        del asked[name]
    return Shelf(at, formatdate(MODIFIED, usegmt=True), asked)
