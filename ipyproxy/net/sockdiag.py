"""Asks the kernel who listens on a port: the message and its answer (sock_diag(7), inet_diag.h).

Knows bytes only. It asks for the one socket that would get a connection from 127.0.0.1 to
127.0.0.1, so the kernel chooses between listeners on 127.0.0.1, 0.0.0.0 and ``::`` as it will when
we connect. /proc/net/tcp has the same facts, but reading it makes the kernel walk all connections:
milliseconds instead of microseconds.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 1
_NLMSG_ERROR: Final = 2
_AF_INET: Final = 2
_IPPROTO_TCP: Final = 6
_LISTEN: Final = 10
_ANY_STATE: Final = 0xFFFFFFFF
_NO_COOKIE: Final = 0xFFFFFFFF
_LOOPBACK: Final = bytes((127, 0, 0, 1)).ljust(16, b"\0")

_HEADER: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBBBI")
_PORTS: Final = struct.Struct(">HH")
_INTERFACE: Final = struct.Struct("=III")
_ERROR: Final = struct.Struct("=i")
_STATE_AT: Final = _HEADER.size + 1
_NUMBERS: Final = struct.Struct("=IIIII")
_NUMBERS_AT: Final = _HEADER.size + 4 + 48
_SIZE: Final = _HEADER.size + _REQUEST.size + _PORTS.size + 32 + _INTERFACE.size

ANSWER_BYTES: Final = 4096
"""Most bytes of an answer."""


class Listener(NamedTuple):
    """A listening socket: the user that made it, and its unique number."""

    uid: int
    inode: int


class AnswerError(Exception):
    """The kernel's answer is not usable."""


def question(port: int, sequence: int) -> bytes:
    """The message that asks who listens on ``port``."""
    return b"".join(
        (
            _HEADER.pack(_SIZE, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, sequence, 0),
            _REQUEST.pack(_AF_INET, _IPPROTO_TCP, 0, 0, _ANY_STATE),
            _PORTS.pack(port, 0),
            _LOOPBACK,
            _LOOPBACK,
            _INTERFACE.pack(0, _NO_COOKIE, _NO_COOKIE),
        )
    )


def read_answer(answer: bytes, sequence: int, missing: int) -> Listener | None:
    """The listener that ``answer`` names; None if nobody listens.

    :param missing: the error number that says nobody listens (ENOENT).
    :raises AnswerError: if it does not answer question ``sequence``, or has another error.
    """
    try:
        _, kind, _, answered, _ = _HEADER.unpack_from(answer)
        if answered != sequence:
            raise AnswerError("an answer to another question")
        if kind == _NLMSG_ERROR:
            (code,) = _ERROR.unpack_from(answer, _HEADER.size)
            if code == -missing:
                return None
            raise AnswerError(f"error {-code}")
        state = answer[_STATE_AT]
        *_, uid, inode = _NUMBERS.unpack_from(answer, _NUMBERS_AT)
    except (struct.error, IndexError):
        raise AnswerError("an answer that is cut short") from None
    return Listener(uid, inode) if kind == _SOCK_DIAG_BY_FAMILY and state == _LISTEN else None
