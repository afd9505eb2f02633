"""The sessions of logged-in users: the key that signs them, and the ended ones.

Knows the time, one file in the state directory, and users by name. Knows nothing of passwords: the
hash is handed in. The browser stores the session itself, in a cookie.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ipyproxy import statefiles
from ipyproxy.access.facts import Lack
from ipyproxy.access.sessions import Session, seal, seal_browser, unseal, unseal_browser
from ipyproxy.access.tokens import Keyring
from ipyproxy.auth.keeping import KeptFile
from ipyproxy.threads import Run

MOST_ENDED = 16
"""Ended sessions that are remembered one by one for each user. If there are more, all sessions that
began no later than the oldest of them count as ended too; so no ended session becomes valid
again."""

MOST_LEFT = 4096
"""Browsers that are remembered after their log-out from links. If there are more, the oldest are
forgotten: a browser with a link can come in again anyway."""


class _Ended:
    """The ended sessions of one user: some by nonce, and all that began up to a time."""

    def __init__(self, up_to: int = 0, sessions: Iterable[tuple[str, int, int]] = ()) -> None:
        self.up_to = up_to
        self.sessions = {nonce: (issued, expires) for nonce, issued, expires in sessions}

    def covers(self, session: Session) -> bool:
        return session.issued <= self.up_to or session.nonce in self.sessions

    def add(self, session: Session, now: float) -> None:
        kept = {nonce: times for nonce, times in self.sessions.items() if times[1] > now}
        kept[session.nonce] = session.issued, session.expires
        if len(kept) > MOST_ENDED:
            oldest = min(kept, key=lambda nonce: kept[nonce][0])
            self.up_to = max(self.up_to, kept.pop(oldest)[0])
        self.sessions = kept

    def told(self) -> list[Any]:
        return [self.up_to, [[nonce, *times] for nonce, times in self.sessions.items()]]


class Sessions:
    """All sessions of this host.

    Until :meth:`keep` the key is in memory only. Without the file, a restart of the proxy ends all
    sessions.

    :param run: runs the write in a thread, since a disk may be slow.
    :param wall_clock: seconds since the epoch, as by :func:`time.time`.
    """

    log = Logger(namespace="ipyproxy.auth.sessions")

    def __init__(self, run: Run, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._key = {secrets.token_hex(4): secrets.token_hex(32)}
        self._keys = Keyring(self._key)
        self._ended: dict[str, _Ended] = {}
        self._left: dict[str, None] = {}
        self._kept = KeptFile(run, self._content, self._not_written)

    def begin(self, user: str, proof: str, seconds: int) -> bytes:
        """Begin a session that lasts so many seconds. Returns the value of its cookie.

        :param proof: the hash of the user's password.
        """
        if not self._kept.is_there:
            self._kept.change()
        now = int(self._wall_clock())
        _, value = seal(self._keys, user, proof, now, now + seconds, secrets.token_hex(16))
        return value

    def find(
        self, cookies: Iterable[bytes], proof_of: Callable[[str], str | None]
    ) -> Session | Lack:
        """The valid session of a browser, or why there is none.

        :param cookies: the values of the field Cookie.
        :param proof_of: returns the present password hash of a user; None if there is no such user.
        """
        found = unseal(self._keys, cookies, proof_of, self._wall_clock())
        if isinstance(found, Session) and self.has_ended(found):
            return Lack.EXPIRED
        return found

    def has_ended(self, session: Session) -> bool:
        """Whether ``session`` is not valid any more: it was ended, or its time is over."""
        ended = self._ended.get(session.user)
        return session.expires <= self._wall_clock() or (
            ended is not None and ended.covers(session)
        )

    def end(self, session: Session) -> None:
        """End ``session``, even if copies of its cookie exist."""
        self._ended.setdefault(session.user, _Ended()).add(session, self._wall_clock())
        self._kept.change()

    # Browsers that open links.

    def browser(self, cookies: Iterable[bytes]) -> str | None:
        """The identifier of a browser that has opened a link here; None if it has not."""
        return unseal_browser(self._keys, cookies)

    def meet(self, cookies: Iterable[bytes]) -> tuple[str, bytes]:
        """The identifier of a browser, new or known, and the value of its cookie."""
        known = self.browser(cookies)
        if known is None or self.has_left(known):
            known = secrets.token_hex(16)
            if not self._kept.is_there:
                self._kept.change()
        return known, seal_browser(self._keys, known)

    def leave(self, browser: str) -> None:
        """Log a browser out of all links that it has opened."""
        if browser in self._left:
            return
        if len(self._left) >= MOST_LEFT:
            del self._left[next(iter(self._left))]
        self._left[browser] = None
        self._kept.change()

    def has_left(self, browser: str) -> bool:
        """Whether the browser was logged out."""
        return browser in self._left

    # The state that outlives the process.

    def keep(self, file: Path) -> None:
        """Read ``file``, and save the key and the ended sessions there from now on.

        If it cannot be read or written, that is logged. A missing file is created at the first
        login; removing it and restarting the proxy ends all sessions.
        """
        self._kept.path = file
        try:
            self._take(json.loads(statefiles.read(file)))
        except FileNotFoundError:
            pass
        except OSError as error:
            self._tell(file, "read", error.strerror)
        except (ValueError, AttributeError, TypeError, LookupError) as error:
            self._tell(file, "read", repr(error))

    def _take(self, kept: dict[str, Any]) -> None:
        key = {str(name): str(secret) for name, secret in kept["key"].items()}
        ended = {
            str(user): _Ended(int(up_to), [(str(n), int(i), int(e)) for n, i, e in sessions])
            for user, (up_to, sessions) in kept["ended"].items()
        }
        if len(key) != 1 or not all(map(len, key.values())):
            raise ValueError("no key")
        self._key, self._keys, self._ended = key, Keyring(key), ended
        self._kept.is_there = True
        self._left = dict.fromkeys(map(str, kept["left"][-MOST_LEFT:]))

    def written(self) -> Deferred[None]:
        """Fires once everything is written, or could not be."""
        return self._kept.written()

    def _content(self) -> bytes:
        ended = {user: each.told() for user, each in self._ended.items()}
        return json.dumps({"key": self._key, "ended": ended, "left": list(self._left)}).encode()

    def _not_written(self, file: Path, why: str) -> None:
        self._tell(file, "written", why)

    def _tell(self, file: Path, done: str, why: str | None) -> None:
        self.log.error(
            "{file} cannot be {done} ({why}): when the proxy is restarted, people have to log in "
            "again, and sessions that were ended may count again",
            file=str(file),
            done=done,
            why=why,
        )
