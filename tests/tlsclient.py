"""A TLS client that moves only when pumped, and can say what Python's ``ssl`` cannot."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

_HANDSHAKE, _APPLICATION = 22, 23
_KEY_UPDATE_REQUESTED = b"\x18\x00\x00\x01\x01"


class TLSClient:
    """The client's end.

    :param at_once: most bytes that go into one write of the socket.
    """

    def __init__(
        self,
        sock: socket.socket,
        directory: Path,
        *,
        at_once: int = 1 << 20,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        name: str = "localhost",
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        self._keys = directory / "keys.log"
        context.keylog_filename = str(self._keys)
        sock.setblocking(False)
        self._socket = sock
        self.at_once = at_once
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._left = b""
        self.is_secured = False
        self.data = b""
        self.has_ended = False
        """Whether the server has said that its stream is whole (close_notify)."""
        self.was_cut = False
        """Whether the connection ended without that word."""
        self.error: ssl.SSLError | None = None

    def pump(self) -> None:
        """Send and take what there is."""
        self._take()
        try:
            if not self.is_secured:
                self.session.do_handshake()
                self.is_secured = True
            while not self.has_ended:
                piece = self.session.read(65536)
                self.data += piece
                self.has_ended = not piece
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLEOFError:
            self.was_cut = True
        except ssl.SSLError as caught:
            self.error = caught
        self._send()

    def _take(self) -> None:
        try:
            while data := self._socket.recv(65536):
                self._incoming.write(data)
            self._incoming.write_eof()
        except BlockingIOError:
            pass
        except OSError:
            self.was_cut = True

    def _send(self) -> None:
        self._left += self._outgoing.read()
        try:
            if self._left:
                self._left = self._left[self._socket.send(self._left[: self.at_once]) :]
        except OSError:
            pass

    def say(self, data: bytes) -> None:
        """Encrypt; it goes out as the client is pumped."""
        self.session.write(data)

    def say_bytes(self, data: bytes) -> None:
        """Put bytes on the wire as they are."""
        self._left += self._outgoing.read() + data

    def say_goodbye(self) -> None:
        """Send close_notify."""
        try:
            self.session.unwrap()
        except ssl.SSLError:
            pass

    @property
    def unsent(self) -> int:
        """Bytes that still wait to be pumped out."""
        return len(self._left)

    def key_updates(self, count: int) -> bytes:
        """Records that ask the server to change keys, again and again (RFC 8446 section 4.6.3).

        They are encrypted here, so nothing else may be sent by this client before or after.
        """
        name = (self.session.cipher() or ("", "", 0))[0]
        algorithm = hashes.SHA384() if name.endswith("SHA384") else hashes.SHA256()
        size = 16 if "128" in name else 32
        cipher = ChaCha20Poly1305 if "CHACHA20" in name else AESGCM
        lines = self._keys.read_text().splitlines()
        (line,) = [line for line in lines if line.startswith("CLIENT_TRAFFIC_SECRET_0 ")]
        secret = bytes.fromhex(line.split()[2])
        records = []
        for _ in range(count):
            key = _expand(secret, b"key", algorithm, size)
            nonce = _expand(secret, b"iv", algorithm, 12)
            inner = _KEY_UPDATE_REQUESTED + bytes([_HANDSHAKE])
            header = bytes([_APPLICATION, 3, 3]) + (len(inner) + 16).to_bytes(2)
            # Every key starts with sequence number 0, so the nonce is the IV as it is.
            records.append(header + cipher(key).encrypt(nonce, inner, header))
            secret = _expand(secret, b"traffic upd", algorithm, algorithm.digest_size)
        return b"".join(records)


def _expand(
    secret: bytes, label: bytes, algorithm: hashes.SHA256 | hashes.SHA384, size: int
) -> bytes:
    """HKDF-Expand-Label of RFC 8446 section 7.1, without a context."""
    label = b"tls13 " + label
    info = size.to_bytes(2) + bytes([len(label)]) + label + b"\0"
    return HKDFExpand(algorithm, size, info).derive(secret)
