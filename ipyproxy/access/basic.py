"""The Basic scheme (RFC 7617): parses Authorization, and has the challenge.

Knows the grammar only; other modules check passwords.
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
    """Whether a value of Authorization has this scheme, well-formed or not."""
    return authorization[:5].lower() == b"basic" and authorization[5:6] in (b" ", b"\t", b"")


def parse_basic(authorization: Sequence[bytes]) -> NamedPassword | None:
    """The name and password in Authorization; None if there are none.

    A notebook's own ``token ...`` is ignored. Values longer than 1024 bytes are not accepted,
    because the cost of some hashes grows with the password.
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
    """A typed name and password, decoded from UTF-8; None if they are not allowed.

    Not allowed are: other encodings, more than 768 bytes together, control characters, and a colon
    in the name.
    """
    if len(name) + len(password) >= _LONGEST * 3 // 4:
        return None
    try:
        shown = NamedPassword(name.decode(), password.decode())
    except UnicodeDecodeError:
        return None
    return None if ":" in shown.name or _CONTROL.search("".join(shown)) else shown
