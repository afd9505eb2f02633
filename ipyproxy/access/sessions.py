"""Sessions: the cookie of a browser whose user has logged in on the proxy's own page.

Knows the format of the cookie and of its signature. Knows nothing of files, of passwords or of
ended sessions; the time is handed in.

The cookie is ``v1.KEY.ISSUED.EXPIRES.NONCE.MAC.USER``: the name of a key, two moments in seconds
since the epoch, 32 random hexadecimal digits, a signature (see :mod:`.tokens`), and the user's name
in base64url. The signature also covers the hash of the user's password, so a change of the password
ends the session, and nothing has to be stored for that.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ipyproxy.access.facts import Lack
from ipyproxy.access.tokens import COOKIE as LINK_COOKIE
from ipyproxy.access.tokens import Keyring, cookies_named

COOKIE = b"__Host-Http-ipyproxy"
"""Every browser restricts a cookie of this name to this host and to HTTPS (RFC 6265bis section
4.1.3.2, ``__Host-``). Browsers that know ``__Host-Http-`` also let no script set it."""

BROWSER_COOKIE = b"__Host-Http-ipyproxy-links"
"""Identifies a browser that has opened links, so that it can be logged out of all of them: each
link's own cookie (see :mod:`.tokens`) is sent for one notebook only."""

OWN_COOKIES = (COOKIE, BROWSER_COOKIE, LINK_COOKIE)
"""The proxy's own cookies, which no notebook and no login server gets."""

LOGIN_PATH = b"/_ipyproxy/login"
"""The path of the login page."""
LOGOUT_PATH = b"/_ipyproxy/logout"
"""The path of the log-out page."""

_NUMBER = rb"(0|[1-9][0-9]{0,11})"
_VALUE = re.compile(
    rb"v1\.([A-Za-z0-9_-]{1,32})\.%b\.%b\.([0-9a-f]{32})\.([0-9a-f]{64})\.([A-Za-z0-9_-]{1,1400})"
    % (_NUMBER, _NUMBER)
)
_BROWSER_VALUE = re.compile(rb"v1\.([A-Za-z0-9_-]{1,32})\.([0-9a-f]{32})\.([0-9a-f]{64})")
_PURPOSE, _BROWSER = b"session", b"browser"


class Session(NamedTuple):
    """One login of one user. Times are seconds since the epoch.

    :param key: the name of the key that it is signed with.
    :param nonce: a unique number: 32 hexadecimal digits.
    """

    key: bytes
    user: str
    issued: int
    expires: int
    nonce: str


def seal(
    keys: Keyring, user: str, proof: str, issued: int, expires: int, nonce: str
) -> tuple[Session, bytes]:
    """A new session, and the value of its cookie.

    :param proof: the hash of the user's password.
    """
    name = urlsafe_b64encode(user.encode()).rstrip(b"=")
    facts = name, b"%d" % issued, b"%d" % expires, nonce.encode(), proof.encode()
    key, mac = keys.stamp(_PURPOSE, *facts)
    value = b"v1.%b.%d.%d.%b.%b.%b" % (key, issued, expires, nonce.encode(), mac, name)
    return Session(key, user, issued, expires, nonce), value


def unseal(
    keys: Keyring, cookies: Iterable[bytes], proof_of: Callable[[str], str | None], now: float
) -> Session | Lack:
    """The first session in all values of Cookie that is valid at ``now``, or why none is.

    :param proof_of: returns the present password hash of a user; None if there is no such user.
    """
    found: Session | Lack = Lack.NOTHING
    for value in cookies_named(COOKIE, cookies):
        found = _unseal(keys, value, proof_of, now)
        if isinstance(found, Session):
            break
    return found


def _unseal(
    keys: Keyring, value: bytes, proof_of: Callable[[str], str | None], now: float
) -> Session | Lack:
    match = _VALUE.fullmatch(value)
    if match is None:
        return Lack.FOREIGN
    key, issued, expires, nonce, mac, name = match.groups()
    try:
        user = urlsafe_b64decode(name + b"=" * (-len(name) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return Lack.FOREIGN
    proof = proof_of(user)
    # Another key, another password, or a forgery: these can't be told apart.
    if proof is None or not keys.confirms(
        key, mac, _PURPOSE, name, issued, expires, nonce, proof.encode()
    ):
        return Lack.FOREIGN
    if int(expires) <= now:
        return Lack.EXPIRED
    return Session(key, user, int(issued), int(expires), nonce.decode("ascii"))


def seal_browser(keys: Keyring, nonce: str) -> bytes:
    """The value of the cookie that identifies a browser by ``nonce``."""
    key, mac = keys.stamp(_BROWSER, nonce.encode())
    return b"v1.%b.%b.%b" % (key, nonce.encode(), mac)


def unseal_browser(keys: Keyring, cookies: Iterable[bytes]) -> str | None:
    """The identifier of a browser in all values of Cookie; None if it has none."""
    for value in cookies_named(BROWSER_COOKIE, cookies):
        match = _BROWSER_VALUE.fullmatch(value)
        if match and keys.confirms(match[1], match[3], _BROWSER, match[2]):
            return match[2].decode("ascii")
    return None


def set_cookie(value: bytes, seconds: int, name: bytes = COOKIE) -> bytes:
    """The Set-Cookie line that sets a cookie, or with 0 seconds deletes it.

    SameSite=Lax: a page of another site can neither send a form nor open a WebSocket with it, but
    people who follow a link from another site stay logged in.
    """
    return b"Set-Cookie: %b=%b; Path=/; Max-Age=%d; Secure; HttpOnly; SameSite=Lax" % (
        name,
        value,
        seconds,
    )
