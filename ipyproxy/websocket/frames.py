"""Finds the boundaries of WebSocket frames (RFC 6455 section 5), without touching payloads.

Knows frame headers. Knows nothing of connections. Bytes go in, the same bytes come out, except
invalid frames, bytes behind a close frame, and the answers to our own pings.
"""

from __future__ import annotations

from typing import Final

CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

PROTOCOL_ERROR: Final = 1002
NO_CODE: Final = 1005
ABNORMAL: Final = 1006
TOO_BIG: Final = 1009

_FIN: Final = 0x80
_RSV1: Final = 0x40
_CONTROL: Final = 0x08
_MASKED: Final = 0x80
_LONGEST_CONTROL: Final = 125
_ANY_SIZE: Final = 1 << 128

# The valid first bytes of data frames, each with whether a message begins there (with
# permessage-deflate its first frame may have RSV1 set, RFC 7692 section 6), and of control frames.
_PLAIN: Final = {0x00: False, 0x01: True, 0x02: True, 0x80: False, 0x81: True, 0x82: True}
_DEFLATED: Final = _PLAIN | {first | _RSV1: True for first, begins in _PLAIN.items() if begins}
_CONTROLS: Final = frozenset((_FIN | CLOSE, _FIN | PING, _FIN | PONG))

# The size of a header by its second byte, for unmasked frames and for masked ones; 0: invalid.
_UNMASKED_SIZES: Final = bytes([2] * 126 + [4, 10] + [0] * 128)
_MASKED_SIZES: Final = bytes([0] * 128 + [6] * 126 + [8, 14])


class FrameScanner:
    """Follows the frames of one direction.

    Send on what :meth:`feed` returns. It holds back an incomplete header or control frame (at most
    130 bytes), so that after every call the stream is at a frame boundary or inside the payload of
    a data frame, never inside a header.

    :param masked: whether frames must be masked (client to server) or must not be masked.
    :param deflate: whether permessage-deflate was negotiated.
    :param message_limit: most bytes of a message on the wire, over all its fragments; 0: no limit.
    """

    __slots__ = (
        "_data",
        "_fragmented",
        "_header_sizes",
        "_held",
        "_left",
        "_masked",
        "_message_bytes",
        "_message_limit",
        "awaited_pong",
        "close_code",
        "ending",
        "messages",
        "pieces",
        "violation",
        "withholds_close",
    )

    def __init__(self, *, masked: bool, deflate: bool = False, message_limit: int = 0) -> None:
        self.messages = 0
        """Messages that have begun."""
        self.close_code = 0
        """Code of the close frame that has come; ``NO_CODE`` if it has none or 0; 0: none has
        come."""
        self.withholds_close = False
        """Whether a close frame must not pass, because it answers ours."""
        self.violation = 0
        """Close code for this side's violation; 0: none."""
        self.ending = False
        """Whether only the rest of the current frame passes."""
        self.awaited_pong = b""
        """Payload of our own ping; a pong with the same payload is dropped."""
        self.pieces = 0
        """How many frames the last call of :meth:`feed` has parsed, which determines its cost."""
        self._data = _DEFLATED if deflate else _PLAIN
        self._masked = masked
        self._header_sizes = _MASKED_SIZES if masked else _UNMASKED_SIZES
        self._message_limit = message_limit or _ANY_SIZE
        self._message_bytes = 0
        self._fragmented = False
        self._left = 0
        self._held = b""

    @property
    def at_boundary(self) -> bool:
        """Whether a frame of our own may be inserted here."""
        return not self._left

    @property
    def in_message(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._fragmented or self._left > 0

    def stop(self) -> None:
        """Let only the rest of the current frame pass."""
        self.ending = True
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Scan ``data``. Returns the bytes to send on."""
        if self.ending:
            data = data[: self._left]
            self._left -= len(data)
            return data
        if self._held:
            data = self._held + data
            self._held = b""
        end = len(data)
        at = self._left
        pieces = 0
        while at < end:
            size = self._frame(data, at, end)
            if not size:
                break
            pieces += 1
            if data[at] & _CONTROL and not self._may_pass(data[at : at + size]):
                data = data[:at] + data[at + size :]
                end -= size
            else:
                at += size
        self.pieces = pieces
        if at > end:
            self._left = at - end
            return data
        self._left = 0
        if at < end and not self.ending:
            self._held = data[at:]
        return data[:at]

    def _frame(self, data: bytes, at: int, end: int) -> int:
        """How many bytes of the frame at ``at`` may pass; 0: none, or not yet.

        A data frame may pass once its header is complete; a control frame, once all of it is.
        """
        here = end - at
        if here < 2 or self.ending:
            return 0
        first, second = data[at], data[at + 1]
        length = second & 0x7F
        header = self._header_sizes[second]
        begins = self._data.get(first)
        if begins is None:
            legal = first in _CONTROLS and length <= _LONGEST_CONTROL
        else:
            legal = begins is not self._fragmented
        if not legal or not header:
            return self._violated(PROTOCOL_ERROR)
        if here < header:
            return 0
        if length > 125:
            length = _extended_length(data, at, length)
            if not length:
                return self._violated(PROTOCOL_ERROR)
        if begins is None:
            size = header + length
            return size if here >= size else 0
        self._message_bytes = length if begins else self._message_bytes + length
        if self._message_bytes > self._message_limit:
            return self._violated(TOO_BIG)
        self.messages += begins
        self._fragmented = first < _FIN
        return header + length

    def _may_pass(self, frame: bytes) -> bool:
        """Check a complete control frame. Returns whether it may pass."""
        payload = unmask(frame[6:], frame[2:6]) if self._masked else frame[2:]
        opcode = frame[0] & 0x0F
        if opcode == CLOSE:
            code = int.from_bytes(payload[:2], "big") if len(payload) > 1 else 0
            self.close_code = code or NO_CODE
            self.stop()
            return not self.withholds_close
        if opcode == PONG and self.awaited_pong and payload == self.awaited_pong:
            self.awaited_pong = b""
            return False
        return True

    def _violated(self, code: int) -> int:
        self.violation = code
        self.stop()
        return 0


def _extended_length(data: bytes, at: int, code: int) -> int:
    """The length behind the first two bytes of a header; 0 if it has not the shortest form."""
    if code == 126:
        length = data[at + 2] << 8 | data[at + 3]
        return length if length > 125 else 0
    length = int.from_bytes(data[at + 2 : at + 10], "big")
    return length if 0xFFFF < length < 1 << 63 else 0


def unmask(payload: bytes, key: bytes) -> bytes:
    """Apply a mask (RFC 6455 section 5.3); only for control frames, so at most 125 bytes."""
    stream = key * (len(payload) // 4 + 1)
    return bytes(a ^ b for a, b in zip(payload, stream, strict=False))


def control_frame(opcode: int, payload: bytes, key: bytes = b"") -> bytes:
    """A whole control frame.

    :param payload: at most 125 bytes.
    :param key: four new random bytes if the frame must be masked.
    """
    if not key:
        return bytes((_FIN | opcode, len(payload))) + payload
    return bytes((_FIN | opcode, _MASKED | len(payload))) + key + unmask(payload, key)


def close_frame(code: int, key: bytes = b"") -> bytes:
    """A close frame with ``code``; ``key`` as for :func:`control_frame`."""
    return control_frame(CLOSE, code.to_bytes(2, "big"), key)
