"""The Basic scheme (RFC 7617): what an Authorization field says, and how it is asked for.

Knows the grammar only; whether a password is right is for others to find out.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import NamedTuple

CHALLENGE = b'WWW-Authenticate: Basic realm="notebooks", charset="UTF-8"'
"""The line that asks for a name and a password."""

_BASIC = re.compile(rb"basic +([A-Za-z0-9+/]+={0,2})", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST = 1024


class NamedPassword(NamedTuple):
    """What a person types."""

    name: str
    password: str


def is_basic(authorization: bytes) -> bool:
    """Whether a value of Authorization is of this scheme, be it well-formed or not."""
    return authorization[:5].lower() == b"basic" and authorization[5:6] in (b" ", b"\t", b"")


def parse_basic(authorization: Sequence[bytes]) -> NamedPassword | None:
    """The name and password of an Authorization field; None if there is no such one.

    A notebook's own ``token ...`` is none. Longer ones than 1024 bytes are not taken: some hashes
    cost as much as a password is long.
    """
    if len(authorization) != 1:
        return None
    match = _BASIC.fullmatch(authorization[0])
    if match is None or len(match[1]) > _LONGEST:
        return None
    try:
        name, colon, password = base64.b64decode(match[1], validate=True).partition(b":")
    except binascii.Error:
        return None
    return named_password(name, password) if colon else None


def named_password(name: bytes, password: bytes) -> NamedPassword | None:
    """What a person has typed, as UTF-8; None if nobody can have such a name or password.

    These are: other than UTF-8, more than 768 bytes together, with control characters, or a name
    with a colon in it.
    """
    if len(name) + len(password) >= _LONGEST * 3 // 4:
        return None
    try:
        shown = NamedPassword(name.decode(), password.decode())
    except UnicodeDecodeError:
        return None
    return None if ":" in shown.name or _CONTROL.search("".join(shown)) else shown
