"""The answer to a request for a file: status, fields, and which bytes in which order.

Knows the metadata of the file and the request's fields. Does not read the file.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import NamedTuple

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.files.conditions import Outcome, Validators, outcome, wants_ranges
from ipyproxy.files.ranges import Span, content_range, spans


class Content(NamedTuple):
    """A file to send: its size, validators and type."""

    size: int
    validators: Validators
    content_type: bytes


class Answer(NamedTuple):
    """The head of an answer, and the ``pieces`` of its body in order.

    ``lines`` are field lines without framing; ``length`` is None if there is no body at all.
    """

    status: int
    reason: bytes
    lines: list[bytes]
    length: int | None
    pieces: tuple[bytes | Span, ...]


def answer(asked: Mapping[bytes, bytes], content: Content, now: float) -> Answer:
    """Answer a GET or HEAD with a file.

    :param asked: what :func:`ipyproxy.files.conditions.read_fields` found.
    :param now: seconds since the epoch.
    :raises ProxyError: ``PRECONDITION_FAILED``, ``RANGE_NOT_SATISFIABLE``.
    """
    size, validators, content_type = content
    lines = [
        b"ETag: " + validators.etag,
        _last_modified(validators.modified),
    ]
    met = outcome(asked, validators)
    if met is Outcome.FAILED:
        raise ProxyError(Problem.PRECONDITION_FAILED)
    if met is Outcome.UNCHANGED:
        return Answer(304, b"Not Modified", lines, None, ())
    lines.append(b"Accept-Ranges: bytes")
    wanted = None
    if b"range" in asked and wants_ranges(asked, validators, now):
        wanted = spans(asked[b"range"], size)
    if wanted is None:
        lines.append(b"Content-Type: " + content_type)
        return Answer(200, b"OK", lines, size, (Span(0, size),) if size else ())
    if not wanted:
        line = b"Content-Range: " + content_range(None, size)
        raise ProxyError(Problem.RANGE_NOT_SATISFIABLE, lines=(line,))
    if len(wanted) == 1:
        (span,) = wanted
        lines.append(b"Content-Type: " + content_type)
        lines.append(b"Content-Range: " + content_range(span, size))
        return Answer(206, b"Partial Content", lines, span.end - span.start, wanted)
    return _in_parts(lines, wanted, content)


@lru_cache(256)
def _last_modified(seconds: int) -> bytes:
    return b"Last-Modified: " + formatdate(seconds, usegmt=True).encode("ascii")


def _in_parts(lines: list[bytes], wanted: tuple[Span, ...], content: Content) -> Answer:
    """Several ranges, as multipart/byteranges (RFC 9110 section 14.6)."""
    # Random, so that the author of the file cannot know it.
    boundary = secrets.token_hex(16).encode("ascii")
    pieces: list[bytes | Span] = []
    length = 0
    for span in wanted:
        head = b"\r\n--%b\r\nContent-Type: %b\r\nContent-Range: %b\r\n\r\n" % (
            boundary, content.content_type, content_range(span, content.size),
        )  # fmt: skip
        pieces += (head, span)
        length += len(head) + span.end - span.start
    end = b"\r\n--%b--\r\n" % boundary
    lines.append(b"Content-Type: multipart/byteranges; boundary=" + boundary)
    return Answer(206, b"Partial Content", lines, length + len(end), (*pieces, end))
