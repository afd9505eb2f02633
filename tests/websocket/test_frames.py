"""Frames are followed to the byte, however the stream is cut; what is no frame never passes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipyproxy.websocket.frames import FrameScanner, close_frame, control_frame
from tests.wsframes import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    close,
    judge,
    mask,
    wire,
)

KEY = b"\x12\x34\x56\x78"
HELD_AT_MOST = 130
"""Bytes of the longest control frame but one: 2 + 4 + 125 - 1."""

# Streams of a side that does nothing wrong.

_payload_sizes = st.sampled_from([0, 1, 124, 125, 126, 127, 300, 65535, 65536, 65537])
_data_payloads = st.one_of(st.binary(max_size=9), _payload_sizes.map(lambda n: b"\xa5" * n))
_control_payloads = st.one_of(st.binary(max_size=9), st.just(b"\x5a" * 125))
_controls = st.lists(st.builds(Frame, st.sampled_from([PING, PONG]), _control_payloads), max_size=2)


@st.composite
def messages(draw: st.DrawFn, *, deflate: bool) -> list[Frame]:
    """One message, with control frames between its fragments and behind them."""
    parts = draw(st.lists(_data_payloads, min_size=1, max_size=3))
    frames: list[Frame] = []
    for number, part in enumerate(parts):
        opcode = CONTINUATION if number else draw(st.sampled_from([TEXT, BINARY]))
        rsv = 4 if deflate and not number and draw(st.booleans()) else 0
        frames += [Frame(opcode, part, fin=number == len(parts) - 1, rsv=rsv), *draw(_controls)]
    return frames


@st.composite
def streams(draw: st.DrawFn, *, masked: bool, deflate: bool) -> list[Frame]:
    groups = draw(st.lists(messages(deflate=deflate), max_size=4))
    frames = [frame for group in [draw(_controls), *groups] for frame in group]
    keys = st.binary(min_size=4, max_size=4) if masked else st.none()
    return [replace(frame, key=draw(keys)) for frame in frames]


def pieces(data: st.DataObject, stream: bytes) -> Iterator[bytes]:
    """The stream cut anywhere, and sometimes byte by byte where it begins."""
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    if data.draw(st.booleans()):
        cuts += range(min(len(stream), 40))
    for start, end in pairwise(sorted({0, len(stream), *cuts})):
        yield stream[start:end]


def boundaries(frames: list[Frame]) -> set[int]:
    return {0, *accumulate(len(frame.wire) for frame in frames)}


def insides(frames: list[Frame]) -> list[range]:
    """The places inside the payloads of data frames."""
    ends = accumulate(len(frame.wire) for frame in frames)
    return [
        range(end - len(frame.payload), end)
        for frame, end in zip(frames, ends, strict=True)
        if not frame.is_control
    ]


@settings(max_examples=200)
@given(st.data(), st.booleans(), st.booleans())
def test_a_valid_stream_comes_out_as_it_went_in(
    data: st.DataObject, masked: bool, deflate: bool
) -> None:
    frames = data.draw(streams(masked=masked, deflate=deflate))
    stream = wire(*frames)
    between, inside = boundaries(frames), insides(frames)
    scanner = FrameScanner(masked=masked, deflate=deflate)
    fed = passed = 0
    for piece in pieces(data, stream):
        out = scanner.feed(piece)
        assert out == stream[passed : passed + len(out)]
        fed, passed = fed + len(piece), passed + len(out)
        assert fed - passed <= HELD_AT_MOST
        assert passed in between or any(passed in places for places in inside)
        assert scanner.at_boundary == (passed in between)
    assert passed == len(stream)
    assert scanner.messages == sum(frame.opcode in (TEXT, BINARY) for frame in frames)
    assert not scanner.in_message
    assert not scanner.ending


@settings(max_examples=400)
@given(st.data(), st.booleans(), st.booleans(), st.sampled_from([0, 1, 130, 70000]))
def test_whatever_comes_is_judged_as_the_rfc_says(
    data: st.DataObject, masked: bool, deflate: bool, limit: int
) -> None:
    """Valid streams, then damaged at one place or ended by a close frame, or plain noise."""
    frames = data.draw(streams(masked=masked, deflate=deflate))
    key = KEY if masked else None
    if data.draw(st.booleans()):
        where = data.draw(st.integers(0, len(frames)))
        payload = data.draw(st.sampled_from([b"", b"\x03", b"\x03\xe8", b"\x03\xe9bye"]))
        frames.insert(where, Frame(CLOSE, payload, key=key))
    stream = bytearray(wire(*frames))
    if stream and data.draw(st.booleans()):
        # Headers lie at the boundaries: that is where damage tells.
        at = data.draw(st.sampled_from(sorted(boundaries(frames)))) + data.draw(st.integers(0, 3))
        stream[min(at, len(stream) - 1)] = data.draw(st.integers(0, 255))
    stream += data.draw(st.binary(max_size=20))

    scanner = FrameScanner(masked=masked, deflate=deflate, message_limit=limit)
    out = b"".join(scanner.feed(piece) for piece in pieces(data, bytes(stream)))

    verdict = judge(bytes(stream), masked=masked, deflate=deflate, limit=limit)
    assert out == stream[: verdict.passed]
    assert scanner.violation == verdict.violation
    assert scanner.close_code == verdict.close_code
    assert scanner.messages == verdict.messages
    assert scanner.ending == bool(verdict.violation or verdict.close_code)


def test_a_stream_may_be_cut_at_every_byte() -> None:
    frames = [
        Frame(TEXT, b"a" * 126, fin=False, key=KEY),
        Frame(PING, b"between", key=KEY),
        Frame(CONTINUATION, b"b" * 65536, key=KEY),
        Frame(BINARY, key=KEY),
        close(1000, b"bye", KEY),
    ]
    stream = wire(*frames)
    scanner = FrameScanner(masked=True)
    assert b"".join(scanner.feed(stream[at : at + 1]) for at in range(len(stream))) == stream
    edges = {at + step for at in boundaries(frames) for step in range(-2, 16)}
    for at in sorted(edge for edge in edges if 0 < edge < len(stream)):
        scanner = FrameScanner(masked=True)
        assert scanner.feed(stream[:at]) + scanner.feed(stream[at:]) == stream


def test_a_header_is_held_until_it_is_whole() -> None:
    scanner = FrameScanner(masked=True)
    header = Frame(BINARY, bytes(70000), key=KEY).header
    assert [scanner.feed(header[at : at + 1]) for at in range(14)] == [b""] * 13 + [header]
    assert not scanner.at_boundary


def test_a_control_frame_is_held_until_it_is_whole() -> None:
    scanner = FrameScanner(masked=True)
    ping = Frame(PING, b"x" * 125, key=KEY).wire
    assert scanner.feed(ping[:-1]) == b""
    assert scanner.at_boundary
    assert scanner.feed(ping[-1:]) == ping


def test_a_frame_of_any_length_is_followed_and_not_gathered() -> None:
    scanner = FrameScanner(masked=False)
    header = bytes([0x82, 127]) + (1 << 62).to_bytes(8, "big")
    assert scanner.feed(header) == header
    for _ in range(64):
        assert scanner.feed(bytes(1 << 20)) == bytes(1 << 20)
    assert scanner.in_message
    assert not scanner.at_boundary


# What is refused.

VIOLATIONS = {
    "opcode 3": Frame(0x3),
    "opcode 7": Frame(0x7),
    "opcode 11": Frame(0xB),
    "opcode 15": Frame(0xF),
    "RSV1 without compression": Frame(TEXT, rsv=4),
    "RSV2": Frame(TEXT, rsv=2),
    "RSV3": Frame(TEXT, rsv=1),
    "RSV1 on a ping": Frame(PING, rsv=4),
    "a ping in fragments": Frame(PING, fin=False),
    "a close frame in fragments": Frame(CLOSE, fin=False),
    "a ping of 126 bytes": Frame(PING, bytes(126)),
    "a continuation of nothing": Frame(CONTINUATION, b"x"),
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_ends_the_stream(name: str, masked: bool) -> None:
    key = KEY if masked else None
    good = Frame(TEXT, b"good", key=key).wire
    bad = replace(VIOLATIONS[name], key=key).wire
    scanner = FrameScanner(masked=masked)
    assert scanner.feed(good + bad + good) == good
    assert scanner.violation == 1002
    assert scanner.ending
    assert scanner.at_boundary
    assert scanner.feed(good) == b""


def test_it_is_noticed_as_soon_as_two_bytes_tell() -> None:
    scanner = FrameScanner(masked=True)
    assert scanner.feed(b"\x83\xfe") == b""
    assert scanner.violation == 1002


@pytest.mark.parametrize("masked", [False, True])
def test_masking_is_for_clients_and_for_them_only(masked: bool) -> None:
    scanner = FrameScanner(masked=masked)
    assert scanner.feed(Frame(TEXT, b"x", key=None if masked else KEY).wire) == b""
    assert scanner.violation == 1002


def test_a_message_may_not_begin_inside_another() -> None:
    scanner = FrameScanner(masked=False)
    first = Frame(TEXT, b"a", fin=False).wire
    assert scanner.feed(first + Frame(TEXT, b"b").wire) == first
    assert scanner.violation == 1002


@pytest.mark.parametrize(
    "length",
    [b"\x7e\x00\x7d", b"\x7f" + (65535).to_bytes(8, "big"), b"\x7f" + (1 << 63).to_bytes(8, "big")],
)
def test_a_length_has_one_spelling(length: bytes) -> None:
    scanner = FrameScanner(masked=False)
    assert scanner.feed(b"\x82" + length) == b""
    assert scanner.violation == 1002


def test_compression_is_marked_on_a_message_and_not_on_its_continuations() -> None:
    scanner = FrameScanner(masked=False, deflate=True)
    first = Frame(TEXT, b"a", fin=False, rsv=4).wire
    assert scanner.feed(first + Frame(CONTINUATION, b"b", rsv=4).wire) == first
    assert scanner.violation == 1002


@pytest.mark.parametrize(
    ("frames", "passing"),
    [
        ([Frame(TEXT, bytes(10))], 1),
        ([Frame(TEXT, bytes(11))], 0),
        ([Frame(TEXT, bytes(6), fin=False), Frame(PING), Frame(CONTINUATION, bytes(5))], 2),
        ([Frame(TEXT, bytes(9)), Frame(TEXT, bytes(9)), Frame(TEXT, bytes(11))], 2),
    ],
)
def test_a_message_over_the_limit_is_stopped_at_the_frame_that_outgrows_it(
    frames: list[Frame], passing: int
) -> None:
    scanner = FrameScanner(masked=False, message_limit=10)
    assert scanner.feed(wire(*frames)) == wire(*frames[:passing])
    assert scanner.violation == (1009 if passing < len(frames) else 0)


# The end, and what is put into the stream.


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", 1005),
        (b"\x03", 1005),
        (b"\x00\x00", 1005),
        (b"\x03\xe8", 1000),
        (b"\x0f\xa0because", 4000),
    ],
)
def test_nothing_passes_behind_a_close_frame(payload: bytes, code: int) -> None:
    scanner = FrameScanner(masked=True)
    last = Frame(CLOSE, payload, key=KEY).wire
    assert scanner.feed(last + Frame(TEXT, b"late", key=KEY).wire) == last
    assert scanner.close_code == code
    assert scanner.ending
    assert scanner.feed(b"\xff" * 100) == b""
    assert not scanner.violation


def test_a_close_frame_that_answers_ours_does_not_pass() -> None:
    scanner = FrameScanner(masked=False)
    scanner.withholds_close = True
    text = Frame(TEXT, b"before").wire
    assert scanner.feed(text + close(1000).wire + text) == text
    assert scanner.close_code == 1000
    assert scanner.ending
    assert scanner.at_boundary


def test_a_stream_that_is_stopped_ends_with_the_frame_under_way() -> None:
    scanner = FrameScanner(masked=False)
    stream = wire(Frame(BINARY, bytes(10)), Frame(BINARY, bytes(10)))
    assert scanner.feed(stream[:5]) == stream[:5]
    scanner.stop()
    assert not scanner.at_boundary
    assert scanner.feed(stream[5:9]) == stream[5:9]
    assert scanner.feed(stream[9:]) == stream[9:12]
    assert scanner.at_boundary
    assert scanner.feed(stream) == b""


def test_a_stream_that_is_stopped_in_a_header_ends_before_it() -> None:
    scanner = FrameScanner(masked=False)
    assert scanner.feed(b"\x82\x7e") == b""
    scanner.stop()
    assert scanner.feed(b"\x01\x00" + bytes(256)) == b""
    assert scanner.at_boundary


@pytest.mark.parametrize("key", [None, KEY])
def test_the_answer_to_our_ping_is_swallowed_and_nothing_else(key: bytes | None) -> None:
    scanner = FrameScanner(masked=key is not None)
    scanner.awaited_pong = b"ours 123"
    theirs, ours = Frame(PONG, b"theirs", key=key).wire, Frame(PONG, b"ours 123", key=key).wire
    ping, text = Frame(PING, b"ours 123", key=key).wire, Frame(TEXT, b"ours 123", key=key).wire
    assert scanner.feed(theirs + ping + text + ours + text) == theirs + ping + text + text
    assert scanner.feed(ours) == ours, "one answer to one ping"


def test_our_own_frames_are_what_the_rfc_says() -> None:
    assert close_frame(1001) == close(1001).wire
    assert close_frame(1014, KEY) == close(1014, key=KEY).wire
    for size in (0, 5, 125):
        payload = bytes(range(size))
        assert control_frame(PING, payload) == Frame(PING, payload).wire
        assert control_frame(PING, payload, KEY) == Frame(PING, payload, key=KEY).wire
    # The example of section 5.7.
    assert control_frame(PONG, b"Hello", b"\x37\xfa\x21\x3d").hex() == "8a8537fa213d7f9f4d5158"
    assert mask(mask(b"there and back", KEY), KEY) == b"there and back"
