r"""Signed links: a token in an address lets one user reach one route until a certain time.

Knows the format of a token and its signature. Knows nothing of files; the time is handed in.

A token is ``v1.KEY.ISSUED.EXPIRES.MAC.USER``: the name of a key, two moments in seconds since the
epoch, 64 hexadecimal digits, and the user. MAC is the HMAC-SHA-256, with the key's secret, of

    ipyproxy link v1 \n ROUTE \n USER \n ISSUED \n EXPIRES

(single line feeds, no blanks, none at the end), where ROUTE is the notebook's path such as
``/ipython/10000``. A ``!`` may follow, and then the notebook's own token (Jupyter's), encrypted and
in base64url. It is bound to the MAC, and cannot be read without the keys.

Jupyter uses the parameter ``token`` too: a token of another format is the notebook's and passes
unchanged.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ipyproxy.access.facts import Lack

COOKIE = b"__Secure-ipyproxy"
"""The cookie that a link is exchanged for; each route has its own."""

_NUMBER = rb"(0|[1-9][0-9]{0,11})"
_KEY = r"[A-Za-z0-9_-]{1,32}"
_USER = r"[A-Za-z0-9._@+=~-]{1,128}"
_TOKEN = re.compile(
    rb"v1\.(%b)\.%b\.%b\.([0-9a-f]{64})\.(%b)(?:!([A-Za-z0-9_-]{1,1024}))?"
    % (_KEY.encode(), _NUMBER, _NUMBER, _USER.encode())
)
_TOKEN_BYTES = 512
_ENCLOSED = re.compile(rb"[!-~]{1,600}")
_NONCE = 12
_KEY_LINE = re.compile(rf"({_KEY}):([!-~]{{32,256}})")


class Ticket(NamedTuple):
    """The content of a link or its cookie with a valid signature.

    Times are seconds since the epoch.

    :param enclosed: encrypted content, if any: in a link, the notebook's own token.
    """

    user: str
    issued: int
    expires: int
    enclosed: bytes = b""


def is_link_user(name: str) -> bool:
    """Whether a link can be made for ``name``."""
    return re.fullmatch(_USER, name, re.ASCII) is not None


def is_enclosable(token: bytes) -> bool:
    """Whether a link can carry ``token``: up to 512 visible characters of ASCII."""
    return len(token) <= _TOKEN_BYTES and _ENCLOSED.fullmatch(token) is not None


class Keyring:
    """The keys that sign links, by name: the first one signs, all others are still valid."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = {name.encode(): secret.encode() for name, secret in keys.items()}

    def sign(self, route: bytes, ticket: Ticket) -> bytes:
        """The token of a link to ``route``."""
        return self._sign(b"link", route, ticket)

    def bake(self, route: bytes, ticket: Ticket) -> bytes:
        """The value of a cookie for ``route``; not valid as a link's token, nor the reverse."""
        return self._sign(b"cookie", route, ticket)

    def _sign(self, purpose: bytes, route: bytes, ticket: Ticket) -> bytes:
        user, issued, expires, enclosed = ticket
        name, mac = self.stamp(purpose, route, user.encode(), b"%d" % issued, b"%d" % expires)
        token = b"v1.%b.%d.%d.%b.%b" % (name, issued, expires, mac, user.encode())
        return token + b"!" + self._enclose(name, mac, enclosed) if enclosed else token

    def _enclose(self, name: bytes, mac: bytes, enclosed: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        sealed = nonce + self._cipher(name).encrypt(nonce, enclosed, mac)
        return urlsafe_b64encode(sealed).rstrip(b"=")

    def _disclose(self, name: bytes, mac: bytes, sealed: bytes) -> bytes | None:
        try:
            content = urlsafe_b64decode(sealed + b"=" * (-len(sealed) % 4))
            found = self._cipher(name).decrypt(content[:_NONCE], content[_NONCE:], mac)
        except (ValueError, InvalidTag):
            return None
        return found if _ENCLOSED.fullmatch(found) else None

    def _cipher(self, name: bytes) -> AESGCM:
        return AESGCM(bytes.fromhex(_mac(self._keys[name], b"enclosure").decode("ascii")))

    def stamp(self, purpose: bytes, *facts: bytes) -> tuple[bytes, bytes]:
        """The name of the signing key, and the signature of ``facts`` (without line feeds).

        A signature is valid for one purpose only.
        """
        name, secret = next(iter(self._keys.items()))
        return name, _mac(secret, purpose, *facts)

    def confirms(self, name: bytes, mac: bytes, purpose: bytes, *facts: bytes) -> bool:
        """Whether ``mac`` is the signature of ``facts`` by the key ``name``, if there is one."""
        secret = self._keys.get(name)
        return secret is not None and hmac.compare_digest(mac, _mac(secret, purpose, *facts))

    def knows(self, name: bytes) -> bool:
        """Whether there is a key ``name``."""
        return name in self._keys

    def check(self, token: bytes, route: bytes, now: float, revoked: float) -> Ticket | Lack:
        """The ticket in a link's token, or why it is not valid at ``now``.

        :param revoked: tokens issued up to this time are void.
        """
        return self._check(b"link", token, route, now, revoked)

    def check_cookies(
        self, cookies: Iterable[bytes], route: bytes, now: float, revoked: float
    ) -> Ticket | Lack:
        """The same for the first valid one of the proxy's cookies in all values of Cookie.

        A browser may send several: other pages of this origin, or of a sibling host, can add some.
        All are checked; otherwise these could displace the valid one. A head has room for some
        hundreds, each of which takes a few microseconds.
        """
        found: Ticket | Lack = Lack.NOTHING
        for token in cookies_named(COOKIE, cookies):
            found = self._check(b"cookie", token, route, now, revoked)
            if isinstance(found, Ticket):
                break
        return found

    def _check(
        self, purpose: bytes, token: bytes, route: bytes, now: float, revoked: float
    ) -> Ticket | Lack:
        match = _TOKEN.fullmatch(token)
        if match is None or not self.knows(match[1]):
            return Lack.WRONG
        name, issued, expires, mac, user, sealed = match.groups()
        # A signature for another route is as wrong as a forged one.
        if not self.confirms(name, mac, purpose, route, user, issued, expires):
            return Lack.FOREIGN
        enclosed = self._disclose(name, mac, sealed) if sealed else b""
        if enclosed is None:
            return Lack.WRONG
        ticket = Ticket(user.decode("ascii"), int(issued), int(expires), enclosed)
        if ticket.expires <= now or ticket.issued <= revoked:
            return Lack.EXPIRED
        return ticket


def _mac(secret: bytes, purpose: bytes, *facts: bytes) -> bytes:
    message = b"\n".join([b"ipyproxy %b v1" % purpose, *facts])
    return hmac.new(secret, message, hashlib.sha256).hexdigest().encode("ascii")


def cookies_named(name: bytes, values: Iterable[bytes]) -> list[bytes]:
    """The distinct values of the cookie ``name`` in all ``values`` of the field Cookie."""
    pairs = [pair.strip(b" \t") for value in values for pair in value.split(b";")]
    start = name + b"="
    return list(dict.fromkeys(pair[len(start) :] for pair in pairs if pair.startswith(start)))


def set_cookie(route: bytes, value: bytes, seconds: int) -> bytes:
    """The Set-Cookie line of the cookie for ``route``.

    SameSite=Lax, because people follow links from other sites. A Path without a slash at its end
    covers the route and everything below, but not ``/ipython/100001`` (RFC 6265 section 5.1.4).
    """
    return b"Set-Cookie: %b=%b; Path=%b; Max-Age=%d; Secure; HttpOnly; SameSite=Lax" % (
        COOKIE,
        value,
        route,
        seconds,
    )


def split_token(target: bytes) -> tuple[bytes | None, bytes]:
    """The proxy's token in a target's query, if any, and the target without it."""
    path, mark, query = target.partition(b"?")
    if b"token=v1." not in query:
        return None, target
    token: bytes | None = None
    kept: list[bytes] = []
    for parameter in query.split(b"&"):
        name, _, value = parameter.partition(b"=")
        value = unquote_to_bytes(value)
        if name == b"token" and _TOKEN.fullmatch(value):
            token = token or value
        else:
            kept.append(parameter)
    return token, (path + mark + b"&".join(kept) if kept else path)


def parse_keys(text: str) -> dict[str, str]:
    """The keys of a key file: lines ``name:secret``, the first one signs; ``#`` begins a comment.

    :raises ValueError: with what is wrong, and on which line.
    """
    keys: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = _KEY_LINE.fullmatch(line)
        if match is None:
            raise ValueError(
                f"line {number} is not name:secret, the name of letters, digits, - and _, and the "
                "secret of 32 to 256 visible characters"
            )
        if match[1] in keys:
            raise ValueError(f"line {number} names {match[1]} a second time")
        keys[match[1]] = match[2]
    if not keys:
        raise ValueError("it holds no key; add one such as made by 'openssl rand -hex 32'")
    return keys
