"""Users and password hashes from a file like Apache's and nginx's; checks run in threads.

Knows the file's format, its hashes, and the cost of a check: checks are shared and cached, and take
the same time for unknown users as for known ones. Knows nothing of what a request is for.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipyproxy.access.basic import CHALLENGE, NamedPassword, parse_basic
from ipyproxy.access.facts import Failed, Finding, Lack, Passed, RequestFacts
from ipyproxy.auth.answers import SingleFlight
from ipyproxy.auth.lookout import Lookout
from ipyproxy.auth.threads import MOST
from ipyproxy.auth.turns import Turns
from ipyproxy.auth.watchedfile import WatchedFile
from ipyproxy.clock import Clock

REMEMBERED = 60.0
"""Seconds for which the result of a check is cached, right or wrong."""
WAITING = 512
"""Most checks that wait for a thread. One client may have half of them: say, a class behind one
address."""
LONGEST_WAIT = 30.0
"""Longest wait of a check for a thread, in seconds; with bcrypt, a hundred take ten to fifteen."""

_log = Logger(namespace="ipyproxy.auth.htpasswd")

NOTHING = Failed(Lack.NOTHING, 401, (CHALLENGE,))
"""The finding if no password was sent."""
_WRONG = Failed(Lack.WRONG, 401, (CHALLENGE,))


def prepare() -> None:
    """Load the libraries for hashes while the process may still read all directories."""
    import argon2  # noqa: F401
    import bcrypt  # noqa: F401
    import passlib.handlers.md5_crypt
    import passlib.handlers.sha2_crypt  # noqa: F401


def _bcrypt(password: bytes, stored: bytes) -> bool:
    import bcrypt

    # The hash uses no more than this, and htpasswd cuts passwords there.
    return bcrypt.checkpw(password[:72], stored)


def _argon2(password: bytes, stored: bytes) -> bool:
    from argon2 import extract_parameters, low_level
    from argon2.exceptions import VerificationError

    try:
        return low_level.verify_secret(stored, password, extract_parameters(stored.decode()).type)
    except VerificationError:
        return False


def _apr1(password: bytes, stored: bytes) -> bool:
    from passlib.handlers.md5_crypt import apr_md5_crypt

    return bool(apr_md5_crypt.verify(password, stored))


def _sha256_crypt(password: bytes, stored: bytes) -> bool:
    from passlib.handlers.sha2_crypt import sha256_crypt

    return bool(sha256_crypt.verify(password, stored))


def _sha512_crypt(password: bytes, stored: bytes) -> bool:
    from passlib.handlers.sha2_crypt import sha512_crypt

    return bool(sha512_crypt.verify(password, stored))


_BASE64 = r"[A-Za-z0-9+/]+"
_CRYPT64 = r"[./A-Za-z0-9]"
_ROUNDS = r"(rounds=[1-9]\d{3,6}\$)?"
_HASHES: tuple[tuple[re.Pattern[str], Callable[[bytes, bytes], bool]], ...] = (
    (re.compile(rf"\$2[aby]\$(0[4-9]|1[0-9]|2[0-4])\${_CRYPT64}{{53}}"), _bcrypt),
    (
        re.compile(
            rf"\$argon2(id|i|d)\$v=19\$m=[1-9]\d{{0,6}},t=[1-9]\d{{0,2}},p=[1-9]\d{{0,2}}"
            rf"\${_BASE64}\${_BASE64}"
        ),
        _argon2,
    ),
    (re.compile(rf"\$apr1\${_CRYPT64}{{1,8}}\${_CRYPT64}{{22}}"), _apr1),
    (re.compile(rf"\$5\${_ROUNDS}{_CRYPT64}{{1,16}}\${_CRYPT64}{{43}}"), _sha256_crypt),
    (re.compile(rf"\$6\${_ROUNDS}{_CRYPT64}{{1,16}}\${_CRYPT64}{{86}}"), _sha512_crypt),
)


def verify(password: str, stored: str) -> bool:
    """Whether ``stored`` is a hash of ``password``. Slow on purpose.

    :raises ValueError: if the kind of hash is unknown.
    """
    for pattern, check in _HASHES:
        if pattern.fullmatch(stored):
            return check(password.encode(), stored.encode())
    raise ValueError("unknown hash")


class Users:
    """The users of a file, with their hashes."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = hashes
        self._decoys = tuple(hashes.values())

    def __contains__(self, name: object) -> bool:
        """Whether there is a user of this name."""
        return name in self._hashes

    def proof(self, name: str) -> str | None:
        """The hash of the password of ``name``; None if there is no such user."""
        return self._hashes.get(name)

    def find(self, name: str, chance: int) -> tuple[str | None, bool]:
        """The hash to check a password of ``name`` against, and whether it is that user's.

        For an unknown user it is another user's, selected by ``chance``, so that the check takes as
        long as for a known one. None if there are no users at all.
        """
        decoy = self._decoys[chance % len(self._decoys)] if self._decoys else None
        return self._hashes.get(name, decoy), name in self._hashes


def read_users(text: str) -> Users:
    """Parse the text of a file. Lines that cannot be used are logged and skipped."""
    hashes: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, _, stored = line.partition(":")
        stored = stored.partition(":")[0]
        if not any(pattern.fullmatch(stored) for pattern, _ in _HASHES):
            _log.warn(
                "line {number} of the htpasswd file holds no hash of bcrypt, argon2, apr1, sha256 "
                "or sha512, so that user cannot log in; make a new one with 'htpasswd -B'",
                number=number,
            )
            continue
        hashes.setdefault(name, stored)
    return Users(hashes)


def user_file(path: Path) -> WatchedFile[Users]:
    """The users in a file.

    :raises UnusableFileError: if it cannot be read.
    """
    # Many such files are world-readable: hashes alone do not let anybody in.
    return WatchedFile(path, read_users, secret=False)


class Threads(Protocol):
    """Runs checks outside the reactor's thread."""

    def run(self, work: Callable[[], bool]) -> Deferred[bool]:
        """Run ``work`` in a thread. Work that has not begun can be cancelled."""


class Attempts(Protocol):
    """Counts logins, and makes clients wait that have failed too often."""

    def admit(self, client: str) -> None:
        """``client`` wants to try a password that has not been tried lately.

        Raises :class:`ProxyError` if it has to wait.
        """

    def begin(self, client: str) -> None:
        """A password of ``client`` is about to be checked: it counts as failed until the end.

        Raises :class:`ProxyError` as :meth:`admit` does; otherwise :meth:`end` follows.
        """

    def end(self, client: str, *, failed: bool) -> None:
        """The check has come to its end."""

    def unheard(self, client: str, *, by_page: bool) -> None:
        """``client`` has failed, and left before it could be told so."""


class Htpasswd:
    """A method: Basic credentials against a file.

    :param users: reads the file of users.
    :param clock: the reactor, for its time.
    """

    def __init__(
        self, users: Lookout[Users], clock: Clock, threads: Threads, attempts: Attempts
    ) -> None:
        self.users = users
        self._threads = threads
        self._attempts = attempts
        self._secret = secrets.token_bytes(32)
        self._checks: SingleFlight[Finding] = SingleFlight(
            clock, lambda _: REMEMBERED, Turns(MOST, WAITING), LONGEST_WAIT
        )

    def examine(self, facts: RequestFacts) -> Finding | Deferred[Finding]:
        """See :class:`~ipyproxy.auth.gate.Method`."""
        shown = parse_basic(facts.authorization)
        if shown is None:
            return NOTHING
        client, by_page = facts.client, facts.by_page
        return self.users.content().addCallback(self.check, shown, client, by_page=by_page)

    def check(
        self, users: Users, shown: NamedPassword, client: str, *, by_page: bool
    ) -> Finding | Deferred[Finding]:
        """Check a password.

        Raises :class:`ProxyError` if the client has to wait.

        :param users: the users in the file.
        :param client: the client's address.
        :param by_page: whether a page may have made its visitor's browser send it.
        """
        # Always the same chance for a name, so that unknown users take a constant time, like known
        # ones.
        chance = int.from_bytes(self._keyed(shown.name.encode())[:8])
        hashed, is_known = users.find(shown.name, chance)
        if hashed is None:
            return _WRONG
        key = self._key(shown, hashed, is_known)
        if self._checks.known(key) is None:
            self._attempts.admit(client)
        user = shown.name if is_known else None

        def check() -> Deferred[Finding]:
            # Its turn may come long after it was admitted, so check again.
            self._attempts.begin(client)
            checked = self._threads.run(lambda: verify(shown.password, hashed))
            return checked.addBoth(self._judge, client, user)

        def unheard(finding: Finding) -> None:
            if isinstance(finding, Failed):
                self._attempts.unheard(client, by_page=by_page)

        return self._checks.ask(client, key, check, unheard)

    def _judge(self, matches: bool | Failure, client: str, user: str | None) -> Finding | Failure:
        right = matches is True and user is not None
        # Count once for each check: a page may send the same wrong password again and again.
        self._attempts.end(client, failed=not right)
        if isinstance(matches, Failure):
            return matches
        return Passed(user) if right else _WRONG

    def _key(self, shown: NamedPassword, hashed: str, known: bool) -> bytes:
        """The cache key of a check, which reveals nothing without our secret."""
        parts = (shown.name, shown.password, hashed, "known" if known else "unknown")
        return self._keyed("\n".join(parts).encode())

    def _keyed(self, content: bytes) -> bytes:
        return hmac.new(self._secret, content, hashlib.sha256).digest()
