"""TLS records without data, made by hand: what no library lets one send again and again.

Pure: secrets in, bytes out. All of them are cheaper to make than to take.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

_HANDSHAKE, _APPLICATION = 22, 23
_KEY_UPDATE_REQUESTED = b"\x18\x00\x00\x01\x01"
#: Headers of messages without content, which is all that is looked at.
CLIENT_HELLO = b"\x01\x00\x00\x00"
HELLO_REQUEST = b"\x00\x00\x00\x00"
_TAG = 16
_LONGEST_TICKET = 120_000


def key_updates(secret: bytes, cipher: str, sequence: int = 0) -> Iterator[bytes]:
    """Records of TLS 1.3 that ask the other side to change keys, again and again (RFC 8446 4.6.3).

    :param secret: one's own traffic secret; what is sent first under it has number *sequence*.
    :param cipher: the suite's name.
    """
    aead, digest, size = _suite(cipher)
    key_label = _label(b"key", size)
    iv_label = _label(b"iv", 12)
    next_label = _label(b"traffic upd", len(secret))
    inner = _KEY_UPDATE_REQUESTED + bytes([_HANDSHAKE])
    header = bytes([_APPLICATION, 3, 3]) + (len(inner) + _TAG).to_bytes(2)
    while True:
        key = hmac.digest(secret, key_label, digest)[:size]
        iv = hmac.digest(secret, iv_label, digest)[:12]
        if sequence:
            iv = (int.from_bytes(iv) ^ sequence).to_bytes(12)
            sequence = 0
        yield header + aead(key).encrypt(iv, inner, header)
        secret = hmac.digest(secret, next_label, digest)


def key_update_and_data(secret: bytes, cipher: str, sequence: int, data: bytes) -> bytes:
    """One such record, and behind it one of ``data``, sealed with the next key."""
    aead, digest, size = _suite(cipher)
    update = next(key_updates(secret, cipher, sequence))
    secret = hmac.digest(secret, _label(b"traffic upd", len(secret)), digest)
    key = hmac.digest(secret, _label(b"key", size), digest)[:size]
    iv = hmac.digest(secret, _label(b"iv", 12), digest)[:12]
    inner = data + bytes([_APPLICATION])
    header = bytes([_APPLICATION, 3, 3]) + (len(inner) + _TAG).to_bytes(2)
    return update + header + aead(key).encrypt(iv, inner, header)


def _suite(cipher: str) -> tuple[type[AESGCM | ChaCha20Poly1305], str, int]:
    """What seals records, the digest that keys are made with, and the bytes of a key."""
    kind = ChaCha20Poly1305 if "CHACHA20" in cipher else AESGCM
    digest = "sha384" if cipher.endswith("SHA384") else "sha256"
    return kind, digest, 16 if "128" in cipher else 32


def split_tickets(
    secret: bytes, cipher: str, sequence: int, size: int = _LONGEST_TICKET
) -> Iterator[bytes]:
    """Records of TLS 1.3 that each have one byte of a server's session ticket.

    Ticket follows ticket (RFC 8446 section 4.6.1).

    :param secret: the server's traffic secret; what is sent first under it has number *sequence*.
    :param size: bytes of a ticket.
    """
    kind, digest, key_size = _suite(cipher)
    aead = kind(hmac.digest(secret, _label(b"key", key_size), digest)[:key_size])
    iv = int.from_bytes(hmac.digest(secret, _label(b"iv", 12), digest)[:12])
    header = bytes([_APPLICATION, 3, 3]) + (2 + _TAG).to_bytes(2)
    inners = [bytes([byte, _HANDSHAKE]) for byte in range(256)]
    while True:
        for byte in _ticket(size):
            yield header + aead.encrypt((iv ^ sequence).to_bytes(12), inners[byte], header)
            sequence += 1


def _ticket(size: int) -> bytes:
    """A message with a ticket and an extension of no known kind, half of *size* each."""
    half = size // 2
    lifetime, age, nonce = (7200).to_bytes(4), bytes(4), b"\1\0"
    extension = (0xFAFA).to_bytes(2) + half.to_bytes(2) + bytes(half)
    ticket = half.to_bytes(2) + bytes(half)
    body = lifetime + age + nonce + ticket + len(extension).to_bytes(2) + extension
    return b"\x04" + len(body).to_bytes(3) + body


def _label(label: bytes, size: int) -> bytes:
    """What HKDF-Expand-Label (RFC 8446 section 7.1) hashes, where one block is enough."""
    label = b"tls13 " + label
    return size.to_bytes(2) + bytes([len(label)]) + label + b"\0\1"


@dataclass(frozen=True)
class Session12:
    """A session of TLS 1.2 with AES-128-GCM, after the handshake."""

    master: bytes
    client_random: bytes
    server_random: bytes

    def records(self, message: bytes, *, from_client: bool) -> Iterator[bytes]:
        """One's own records with a handshake message each (RFC 5246 section 6.2.3.3, RFC 5288)."""
        block = _expand(self.master, b"key expansion" + self.server_random + self.client_random, 40)
        key, salt = (block[:16], block[32:36]) if from_client else (block[16:32], block[36:40])
        aead = AESGCM(key)
        start = bytes([_HANDSHAKE, 3, 3])
        header = start + (8 + len(message) + _TAG).to_bytes(2)
        plain = start + len(message).to_bytes(2)
        number = 1  # 0 was Finished
        while True:
            sequence = number.to_bytes(8)
            sealed = aead.encrypt(salt + sequence, message, sequence + plain)
            yield header + sequence + sealed
            number += 1


def _expand(secret: bytes, seed: bytes, size: int) -> bytes:
    """The PRF of TLS 1.2 with SHA-256 (RFC 5246 section 5), as its label and seed are one here."""
    expanded, step = b"", seed
    while len(expanded) < size:
        step = hmac.digest(secret, step, "sha256")
        expanded += hmac.digest(secret, step + seed, "sha256")
    return expanded[:size]
