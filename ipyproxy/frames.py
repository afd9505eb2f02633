"""Where WebSocket frames begin and end (RFC 6455 section 5), without touching what they carry.

Knows frame headers. Knows nothing of connections: bytes in, the same bytes out, minus what is not
a frame and minus the answers to our own pings.
"""

from __future__ import annotations

CLOSE = 0x8
PING = 0x9
PONG = 0xA

NORMAL = 1000
GOING_AWAY = 1001
PROTOCOL_ERROR = 1002
NO_CODE = 1005
ABNORMAL = 1006
TOO_BIG = 1009
BAD_GATEWAY = 1014

RSV1 = 0x40
"""The reserved bit that permessage-deflate uses (RFC 7692 section 6)."""

_FIN = 0x80
_RESERVED = 0x70
_MASKED = 0x80


class FrameScanner:
    """Follows the frames of one direction.

    What :meth:`feed` gives may be sent on; a header or a control frame that has not come whole is
    held back (at most 139 bytes), so that after every call the stream stands at a frame boundary
    or inside the payload of a data frame, never inside a header.

    :param masked: whether frames must be masked (client to server) or must not be.
    :param reserved: reserved bits that a negotiated extension uses.
    :param message_limit: bytes a message may have on the wire, over all its fragments; 0: any.
    """

    __slots__ = (
        "_held",
        "_left",
        "_limit",
        "_mask_bit",
        "_message",
        "_reserved",
        "_stopped",
        "awaited_pong",
        "close_code",
        "in_message",
        "messages",
        "violation",
    )

    def __init__(self, *, masked: bool, reserved: int = 0, message_limit: int = 0) -> None:
        self.messages = 0
        self.close_code = 0
        """Code of the close frame that has passed, ``NO_CODE`` if it had none; 0: none passed."""
        self.violation = 0
        """Close code for what this side did wrong; 0: nothing. Then nothing passes any more."""
        self.awaited_pong = b""
        """Payload of our own ping; a pong with just that is swallowed."""
        self.in_message = False
        self._mask_bit = _MASKED if masked else 0
        self._reserved = reserved
        self._limit = message_limit
        self._message = 0
        self._left = 0
        self._held = b""
        self._stopped = False

    def stop(self) -> None:
        """Let nothing pass any more: we have spoken the last word in this direction."""
        self._stopped = True

    @property
    def at_boundary(self) -> bool:
        """Whether a frame of our own may be put into the stream here."""
        return not self._left

    def feed(self, data: bytes) -> bytes:
        """Follow ``data``; give what may be sent on."""
        if self._stopped:
            return b""
        if self._held:
            data, self._held = self._held + data, b""
        end = len(data)
        at = self._left
        if at > end:
            self._left = at - end
            return data
        self._left = 0
        while at < end and not self._stopped:
            head = self._header(data, at, end)
            if head is None:
                break
            size, opcode, length = head
            if opcode < CLOSE:
                at += size + length
                continue
            if at + size + length > end:
                break
            if self._control(opcode, data[at + size - 4 : at + size + length]):
                at += size + length
            else:
                data = data[:at] + data[at + size + length :]
                end = len(data)
        if at > end:
            self._left = at - end
        elif at < end:
            if not self._stopped:
                self._held = data[at:]
            return data[:at]
        return data

    def _header(self, data: bytes, at: int, end: int) -> tuple[int, int, int] | None:
        """Size of the header at ``at``, opcode and length of its payload; None: not whole yet."""
        if end - at < 2:
            return None
        first, second = data[at], data[at + 1]
        length = second & 0x7F
        size = 2
        if length > 125:
            size = 4 if length == 126 else 10
            if end - at < size:
                return None
            least = 126 if size == 4 else 65536
            length = int.from_bytes(data[at + 2 : at + size], "big")
            if length < least or length >> 63:
                self._violate(PROTOCOL_ERROR)
                return None
        if second & _MASKED != self._mask_bit:
            self._violate(PROTOCOL_ERROR)
            return None
        if self._mask_bit:
            size += 4
            if end - at < size:
                return None
        opcode = first & 0x0F
        legal = self._check_control if opcode >= CLOSE else self._check_data
        return (size, opcode, length) if legal(first, opcode, length) else None

    def _check_control(self, first: int, opcode: int, length: int) -> bool:
        if opcode > PONG or length > 125 or first & (_FIN | _RESERVED) != _FIN:
            self._violate(PROTOCOL_ERROR)
            return False
        return True

    def _check_data(self, first: int, opcode: int, length: int) -> bool:
        begins = opcode != 0
        allowed = self._reserved if begins else 0
        if opcode > 2 or begins == self.in_message or first & _RESERVED & ~allowed:
            self._violate(PROTOCOL_ERROR)
            return False
        if begins:
            self._message = 0
            self.messages += 1
        self._message += length
        if self._limit and self._message > self._limit:
            self._violate(TOO_BIG)
            return False
        self.in_message = not first & _FIN
        return True

    def _control(self, opcode: int, data: bytes) -> bool:
        """Look into a whole control frame; False if it is not to be sent on.

        ``data`` is the payload with the four bytes before it: the mask, if there is one.
        """
        payload = unmask(data[4:], data[:4]) if self._mask_bit else data[4:]
        if opcode == CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big") if len(payload) > 1 else NO_CODE
        elif opcode == PONG and self.awaited_pong and payload == self.awaited_pong:
            self.awaited_pong = b""
            return False
        return True

    def _violate(self, code: int) -> None:
        self.violation = code
        self._stopped = True


def unmask(payload: bytes, key: bytes) -> bytes:
    """Apply a mask (RFC 6455 section 5.3); for control frames, so at most 125 bytes."""
    stream = key * (len(payload) // 4 + 1)
    return bytes(a ^ b for a, b in zip(payload, stream, strict=False))


def control_frame(opcode: int, payload: bytes, key: bytes = b"") -> bytes:
    """A whole control frame.

    :param payload: at most 125 bytes.
    :param key: four fresh random bytes where the frame must be masked.
    """
    if not key:
        return bytes((_FIN | opcode, len(payload))) + payload
    return bytes((_FIN | opcode, _MASKED | len(payload))) + key + unmask(payload, key)


def close_frame(code: int, key: bytes = b"") -> bytes:
    """A close frame with ``code``; ``key`` as for :func:`control_frame`."""
    return control_frame(CLOSE, code.to_bytes(2, "big"), key)
