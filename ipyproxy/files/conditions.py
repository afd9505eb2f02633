"""Conditional requests (RFC 9110 section 13): decides between 200, 304 and 412 for a file.

Knows fields of a request and the two validators of a file. Knows nothing of ranges or of files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import NamedTuple

from ipyproxy.http1.lines import Fields, lines_of

READ = frozenset(
    b"accept-encoding if-match if-modified-since if-none-match if-range if-unmodified-since "
    b"range".split()
)
"""The request's fields on which an answer with a file depends."""

_TAG = rb'(?:W/)?"[\x21\x23-\x7E\x80-\xFF]*"'
_TAGS = re.compile(rb"[ \t,]*%b(?:[ \t]*,[ \t,]*%b)*[ \t,]*" % (_TAG, _TAG))
_EACH_TAG = re.compile(_TAG)
# RFC 9110 section 5.6.7: the format to send, and two obsolete ones that recipients must accept.
_DATES = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y")
_DATE_BYTES = 40


class Outcome(Enum):
    """The result of a request's conditions."""

    SEND = "the file is sent"
    UNCHANGED = "the client has it: 304"
    FAILED = "the client would not want it: 412"


class Validators(NamedTuple):
    """The validators of a file, which identify one state of it.

    ``etag`` is a strong entity tag (RFC 9110 section 8.8.3), ``modified`` is in whole seconds.
    """

    etag: bytes
    modified: int


def read_fields(fields: Fields) -> dict[bytes, bytes]:
    """The fields of :data:`READ` in a request, by name; several of one name are joined."""
    found: dict[bytes, bytes] = {}
    for line in lines_of(fields.plain):
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in READ:
            _add(found, name, value.strip(b" \t"))
    for name in READ & fields.special.keys():
        for value in fields.special[name]:
            _add(found, name, value)
    return found


def _add(found: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    found[name] = b"%b, %b" % (found[name], value) if name in found else value


def outcome(asked: Mapping[bytes, bytes], file: Validators) -> Outcome:
    """Evaluate the conditions of a GET or HEAD in the order of RFC 9110 section 13.2.2."""
    if (tags := asked.get(b"if-match")) is not None:
        if not _names(tags, file.etag, weakly=False):
            return Outcome.FAILED
    elif (limit := _date(asked.get(b"if-unmodified-since"))) is not None and file.modified > limit:
        return Outcome.FAILED
    if (tags := asked.get(b"if-none-match")) is not None:
        known = _names(tags, file.etag, weakly=True)
    else:
        since = _date(asked.get(b"if-modified-since"))
        known = since is not None and file.modified <= since
    return Outcome.UNCHANGED if known else Outcome.SEND


def wants_ranges(asked: Mapping[bytes, bytes], file: Validators, now: float) -> bool:
    """Whether a Range field is used: there is no If-Range, or its validator matches.

    A date is a strong validator only once the second that it names has passed (RFC 9110 section
    8.8.2.2); until then the file may change once more without another date.
    """
    condition = asked.get(b"if-range")
    if condition is None:
        return True
    if condition.startswith((b'"', b"W/")):
        return condition == file.etag
    return _date(condition) == file.modified and now - file.modified >= 1


def _names(tags: bytes, etag: bytes, *, weakly: bool) -> bool:
    """Whether ``tags`` contains ``etag``; with weak comparison, weak tags match too."""
    if tags == b"*":
        return True
    if not _TAGS.fullmatch(tags):
        return False
    found = _EACH_TAG.findall(tags)
    return etag in found or (weakly and b"W/" + etag in found)


def _date(value: bytes | None) -> int | None:
    """The time of an HTTP-date in seconds since the epoch; None if it is no HTTP-date."""
    if value is None or len(value) > _DATE_BYTES:
        return None
    text = value.decode("latin-1")
    for form in _DATES:
        try:
            return int(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp())
        except ValueError:
            continue
    return None
