"""Sessions: what a browser shows, once somebody has logged in on the proxy's own page.

Knows the form of the cookie and what its signature stands for. Knows nothing of files, of passwords
or of which sessions were ended, and is handed the time.

The cookie is ``v1.KEY.ISSUED.EXPIRES.NONCE.MAC.USER``: the name of a key, two moments in seconds
since the epoch, 32 random hexadecimal digits, a signature (see :mod:`.tokens`), and the user's name
in base64url. The signature covers the hash of the user's password besides, so that a session ends
with the password that it was begun with, and nothing has to be remembered for that.
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
"""Every browser keeps a cookie of this name to this host alone and to HTTPS (RFC 6265bis section
4.1.3.2, ``__Host-``). Those that know ``__Host-Http-`` let no script make one either."""

BROWSER_COOKIE = b"__Host-Http-ipyproxy-links"
"""Says which browser it was that opened links, so that it can be logged out of all of them: their
own cookies (see :mod:`.tokens`) are each shown to one notebook only."""

OWN_COOKIES = (COOKIE, BROWSER_COOKIE, LINK_COOKIE)
"""The cookies that nobody but this proxy gets to see: no notebook, and no login server."""

LOGIN_PATH = b"/_ipyproxy/login"
"""Where people log in."""
LOGOUT_PATH = b"/_ipyproxy/logout"
"""Where they log out."""

_NUMBER = rb"(0|[1-9][0-9]{0,11})"
_VALUE = re.compile(
    rb"v1\.([A-Za-z0-9_-]{1,32})\.%b\.%b\.([0-9a-f]{32})\.([0-9a-f]{64})\.([A-Za-z0-9_-]{1,1400})"
    % (_NUMBER, _NUMBER)
)
_BROWSER_VALUE = re.compile(rb"v1\.([A-Za-z0-9_-]{1,32})\.([0-9a-f]{32})\.([0-9a-f]{64})")
_PURPOSE, _BROWSER = b"session", b"browser"


class Session(NamedTuple):
    """One login of one user. Moments are seconds since the epoch.

    :param key: the name of the key that it is signed with.
    :param nonce: tells it from all others: 32 hexadecimal digits.
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
    """The first session that holds at ``now``, among all values of Cookie; else why none does.

    :param proof_of: the hash of a user's password as it is now; None if there is no such user.
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
    # Another key, another password, or made up: it can't be told which.
    if proof is None or not keys.confirms(
        key, mac, _PURPOSE, name, issued, expires, nonce, proof.encode()
    ):
        return Lack.FOREIGN
    if int(expires) <= now:
        return Lack.EXPIRED
    return Session(key, user, int(issued), int(expires), nonce.decode("ascii"))


def seal_browser(keys: Keyring, nonce: str) -> bytes:
    """The value of the cookie of a browser that is known as ``nonce``."""
    key, mac = keys.stamp(_BROWSER, nonce.encode())
    return b"v1.%b.%b.%b" % (key, nonce.encode(), mac)


def unseal_browser(keys: Keyring, cookies: Iterable[bytes]) -> str | None:
    """What a browser is known as, by all values of Cookie; None if it is not."""
    for value in cookies_named(BROWSER_COOKIE, cookies):
        match = _BROWSER_VALUE.fullmatch(value)
        if match and keys.confirms(match[1], match[3], _BROWSER, match[2]):
            return match[2].decode("ascii")
    return None


def set_cookie(value: bytes, seconds: int, name: bytes = COOKIE) -> bytes:
    """The line that gives a browser a cookie; with 0 seconds, the one that takes it away.

    Lax: a page of another site can neither send a form nor open a WebSocket with it, but people who
    follow a link from another site stay logged in.
    """
    return b"Set-Cookie: %b=%b; Path=/; Max-Age=%d; Secure; HttpOnly; SameSite=Lax" % (
        name,
        value,
        seconds,
    )
