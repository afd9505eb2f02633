"""The account's key, and signing requests with it (RFC 7515, RFC 7638, RFC 8555 6.2).

Pure: knows keys and JSON. Knows nothing of what requests mean, or of files.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

_COORDINATE = 32


def base64url(content: bytes) -> str:
    """``content`` in base64url, without padding (RFC 7515 section 2)."""
    return urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """Decode ``text``. Raises ValueError."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


class AccountKey:
    """The P-256 key of an account."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private
        numbers = private.public_key().public_numbers()
        self.jwk = {
            "crv": "P-256",
            "kty": "EC",
            "x": base64url(numbers.x.to_bytes(_COORDINATE, "big")),
            "y": base64url(numbers.y.to_bytes(_COORDINATE, "big")),
        }
        canonical = json.dumps(self.jwk, sort_keys=True, separators=(",", ":"))
        self.thumbprint = base64url(hashlib.sha256(canonical.encode()).digest())

    @classmethod
    def make(cls) -> AccountKey:
        """Make a new key."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load(cls, pem: bytes) -> AccountKey:
        """Load the key from PEM. Raises ValueError."""
        private = load_pem_private_key(pem, password=None)
        if not isinstance(private, ec.EllipticCurvePrivateKey) or private.key_size != 256:
            raise ValueError("not a P-256 key")
        return cls(private)

    def pem(self) -> bytes:
        """The key in PEM."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def signed(self, protected: Mapping[str, Any], payload: bytes) -> bytes:
        """The body of a request: ``payload`` with its signature."""
        header = base64url(json.dumps({"alg": "ES256", **protected}).encode())
        body = base64url(payload)
        signature = self._private.sign(f"{header}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
        both = (number.to_bytes(_COORDINATE, "big") for number in decode_dss_signature(signature))
        return _flattened(header, body, b"".join(both))

    def binding(self, kid: str, secret: bytes, url: str) -> dict[str, str]:
        """The external account binding for a new account (section 7.3.4)."""
        header = base64url(json.dumps({"alg": "HS256", "kid": kid, "url": url}).encode())
        body = base64url(json.dumps(self.jwk).encode())
        signature = hmac.digest(secret, f"{header}.{body}".encode(), "sha256")
        binding: dict[str, str] = json.loads(_flattened(header, body, signature))
        return binding


def _flattened(header: str, body: str, signature: bytes) -> bytes:
    parts = {"protected": header, "payload": body, "signature": base64url(signature)}
    return json.dumps(parts).encode()
