"""Entity tags of encoded answers: marks them for the client, and removes the marks from requests.

A strong ETag identifies the bytes of one representation (RFC 9110 section 8.8.3), so an encoded one
needs a tag of its own: ``"abc"`` becomes ``"abc~ipy-zstd"``. The tag is marked and not weakened,
because a mark can be removed. The notebook gets its own tag in If-None-Match and If-Match, so 304s
still work, even with servers that compare bytes, and a change is saved only if the file is the one
that was read. If-Range keeps the mark: encoded and unencoded parts must never be combined, and a
notebook does not know the marked tag, so it sends the whole.

Knows these fields' grammar. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from ipyproxy.http1.lines import block_of, lines_of

MARK = b"~ipy-"
"""Precedes the coding's name in a marked tag."""

_STRONG = re.compile(rb'"[\x21\x23-\x7E\x80-\xFF]*"')
_MARKED = re.compile(rb'"([\x21\x23-\x7E\x80-\xFF]*)%b(zstd|br|gzip)"' % MARK)
_ANY: Final = (b"zstd", b"br", b"gzip")


def is_strong(tag: bytes) -> bool:
    """Whether ``tag`` is a well-formed strong entity tag."""
    return _STRONG.fullmatch(tag) is not None


def marked(tag: bytes, coding: bytes) -> bytes:
    """The tag of the encoded representation; a weak tag stays, since it covers that one too."""
    return b'%b%b%b"' % (tag[:-1], MARK, coding) if is_strong(tag) else tag


def unmarked(block: bytes, accepted: Collection[bytes]) -> tuple[bytes, dict[bytes, bytes]]:
    """Remove the marks from a request's conditions.

    In If-None-Match, a tag whose coding this client does not take stays as it is, and matches
    nothing: a cache may ask on behalf of one client for what it keeps for another, and a 304 would
    let it answer with a coding that this one cannot read (RFC 9111 section 4.3.1). If-Match is
    about what the client has read before, in any coding.

    :param block: field lines, each with its CRLF.
    :param accepted: the codings that the client takes.
    :returns: the lines, and the coding of each marked tag.
    """
    marks: dict[bytes, bytes] = {}
    lines = lines_of(block)
    for index, line in enumerate(lines):
        if MARK in line:
            name = line.partition(b":")[0].lower()
            if name == b"if-match":
                lines[index], found = unmarked_tags(line, _ANY)
            elif name == b"if-none-match":
                lines[index], found = unmarked_tags(line, accepted)
            else:
                continue
            marks |= found
    return block_of(lines), marks


def unmarked_tags(tags: bytes, codings: Collection[bytes]) -> tuple[bytes, dict[bytes, bytes]]:
    """Remove the marks of ``codings`` from the entity tags in one field.

    Returns the same as :func:`unmarked`.
    """
    marks: dict[bytes, bytes] = {}

    def take_off(match: re.Match[bytes]) -> bytes:
        if match[2] not in codings:
            return match[0]
        tag = b'"%b"' % match[1]
        marks[tag] = match[2]
        return tag

    return _MARKED.sub(take_off, tags), marks
