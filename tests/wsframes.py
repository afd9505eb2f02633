"""Plain frames for tests of WebSockets: an encoder and a judge, written from RFC 6455 section 5.

The judge looks at a whole stream at once and so shares nothing with the scanner that it judges.
"""

from __future__ import annotations

from dataclasses import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def mask(payload: bytes, key: bytes) -> bytes:
    size = len(payload)
    stream = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")


@dataclass(frozen=True)
class Frame:
    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0
    key: bytes | None = None
    """Four bytes; None: not masked."""

    @property
    def is_control(self) -> bool:
        return self.opcode >= 8

    @property
    def header(self) -> bytes:
        size = len(self.payload)
        first = (0x80 if self.fin else 0) | self.rsv << 4 | self.opcode
        masked = 0 if self.key is None else 0x80
        if size < 126:
            head = bytes([first, masked | size])
        elif size < 65536:
            head = bytes([first, masked | 126]) + size.to_bytes(2, "big")
        else:
            head = bytes([first, masked | 127]) + size.to_bytes(8, "big")
        return head + (self.key or b"")

    @property
    def wire(self) -> bytes:
        payload = self.payload if self.key is None else mask(self.payload, self.key)
        return self.header + payload


def wire(*frames: Frame) -> bytes:
    return b"".join(frame.wire for frame in frames)


def close(code: int, reason: bytes = b"", key: bytes | None = None) -> Frame:
    return Frame(CLOSE, code.to_bytes(2, "big") + reason, key=key)


@dataclass(frozen=True)
class Verdict:
    """What may pass of a stream that has come so far, and what is to be said of it."""

    passed: int
    violation: int = 0
    close_code: int = 0
    messages: int = 0


def judge(stream: bytes, *, masked: bool, deflate: bool = False, limit: int = 0) -> Verdict:
    at = messages = size = 0
    fragmented = False
    while True:
        rest = stream[at:]
        if len(rest) < 2:
            return Verdict(at, messages=messages)
        fin, rsv, opcode = rest[0] >> 7, rest[0] >> 4 & 7, rest[0] & 15
        control = opcode >= 8
        bad = (
            opcode not in (0, 1, 2, 8, 9, 10)
            or (rest[1] >= 128) != masked
            or (control and (not fin or rsv or rest[1] % 128 > 125))
            or (opcode in (1, 2) and (fragmented or rsv & ~(4 if deflate else 0)))
            or (opcode == 0 and (not fragmented or rsv))
        )
        if bad:
            return Verdict(at, 1002, messages=messages)
        extra = {126: 2, 127: 8}.get(rest[1] % 128, 0)
        header = 2 + extra + (4 if masked else 0)
        if len(rest) < header:
            return Verdict(at, messages=messages)
        length = int.from_bytes(rest[2 : 2 + extra], "big") if extra else rest[1] % 128
        if extra and not {2: 126, 8: 1 << 16}[extra] <= length < 1 << 63:
            return Verdict(at, 1002, messages=messages)
        if control:
            if len(rest) < header + length:
                return Verdict(at, messages=messages)
            if opcode == CLOSE:
                payload = rest[header : header + length]
                if masked:
                    payload = mask(payload, rest[header - 4 : header])
                code = int.from_bytes(payload[:2], "big") if length > 1 else 0
                return Verdict(at + header + length, 0, code or 1005, messages)
        else:
            size = length if opcode else size + length
            if limit and size > limit:
                return Verdict(at, 1009, messages=messages)
            messages += opcode > 0
            fragmented = not fin
            if len(rest) < header + length:
                return Verdict(len(stream), messages=messages)
        at += header + length
