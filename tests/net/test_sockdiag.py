"""Listeners: the question to the kernel byte by byte, and every answer that may come."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyproxy.net.sockdiag import AnswerError, Listener, question, read_answer

LOOPBACK = b"\x7f\0\0\1" + bytes(12)


def answer(*, sequence: int = 7, state: int = 10, uid: int = 1000, inode: int = 4711) -> bytes:
    """What the kernel says of one socket (struct inet_diag_msg)."""
    body = (
        struct.pack("=BBBB", 2, state, 0, 0) + bytes(48) + struct.pack("=5I", 0, 0, 0, uid, inode)
    )
    return struct.pack("=IHHII", 16 + len(body), 20, 0, sequence, 4242) + body


def failure(code: int, sequence: int = 7) -> bytes:
    body = struct.pack("=i", -code) + bytes(16)
    return struct.pack("=IHHII", 16 + len(body), 2, 0, sequence, 4242) + body


def test_the_question_is_for_one_socket_on_loopback() -> None:
    asked = question(10000, 7)
    length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", asked)
    assert (length, kind, flags, sequence) == (len(asked), 20, 1, 7)
    # struct inet_diag_req_v2: family, protocol, ext, pad, states, then struct inet_diag_sockid.
    assert struct.unpack_from("=BBBBI", asked, 16) == (2, 6, 0, 0, 0xFFFFFFFF)
    assert asked[24:28] == b"\x27\x10\0\0"
    assert asked[28:60] == LOOPBACK * 2
    assert asked[60:] == bytes(4) + b"\xff" * 8


def test_somebody_listens() -> None:
    assert read_answer(answer(), 7, errno.ENOENT) == Listener(1000, 4711)


def test_nobody_listens() -> None:
    assert read_answer(failure(errno.ENOENT), 7, errno.ENOENT) is None


def test_a_connection_is_no_listener() -> None:
    assert read_answer(answer(state=1), 7, errno.ENOENT) is None


@pytest.mark.parametrize(
    "said", [answer(sequence=8), failure(errno.ENOENT, sequence=6), failure(errno.EPERM)]
)
def test_what_is_no_answer_is_not_taken_for_one(said: bytes) -> None:
    with pytest.raises(AnswerError):
        read_answer(said, 7, errno.ENOENT)


@given(st.integers(0, len(answer()) - 1))
def test_neither_is_a_part_of_one(end: int) -> None:
    with pytest.raises(AnswerError):
        read_answer(answer()[:end], 7, errno.ENOENT)
