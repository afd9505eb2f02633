"""Makes sure that every name has a certificate: checks, requests, saves and serves them.

Knows when something is due (:mod:`ipyproxy.acme.renewal`), where things are kept, and what follows
from an attempt. Whatever fails, what is served stays. Knows nothing of connections, or of the
configuration; how a certificate is asked for is in :mod:`ipyproxy.acme.applicant`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ipyproxy.acme.applicant import Applicant
from ipyproxy.acme.documents import AcmeError
from ipyproxy.acme.errands import Errands
from ipyproxy.acme.material import (
    Reason,
)
from ipyproxy.acme.renewal import Attempts, Window, after_failure, may_try
from ipyproxy.acme.standing import Kept, Standing, concerns, due_by_itself, told
from ipyproxy.acme.store import Stamp, Store
from ipyproxy.clock import Clock, twisted_clock
from ipyproxy.threads import Run
from ipyproxy.tls import Certificate, CertificateError

LOOK_EVERY = 5.0
"""Seconds between two looks at the store, for requests of people and certificates of other
nodes."""
_LEAST_BETWEEN = 6 * 3600.0
"""Seconds after a success without another automatic request: the clock may be so wrong that a new
certificate is due at once, or the authority may suggest that."""
_LEAST_IF_LOST = 600.0
_WINDOW_ASKED = 6 * 3600.0
_WINDOW_LEAST, _WINDOW_MOST = 60.0, 86400.0


class _Look(NamedTuple):
    """The content of the store at one look."""

    stamps: Mapping[str, Stamp]
    changed: Mapping[str, Kept | None]
    attempts: dict[str, Attempts]
    asked: Mapping[str, Reason | None]
    has_errands: bool


class Keeper:
    """Keeps the certificates for the names of ``store`` up to date.

    :param applicant: asks for them.
    :param run: runs work in a thread.
    :param serve: serves a certificate; may raise CertificateError.
    :ivar standings: by name, as of the last look.
    :ivar done: the number of new certificates; ``failed``: the number of failed attempts.
    """

    log = Logger(namespace="ipyproxy.acme")

    def __init__(
        self,
        reactor: Clock,
        wall_clock: Callable[[], float],
        store: Store,
        applicant: Applicant,
        run: Run,
        serve: Callable[[Certificate], None],
    ) -> None:
        self._reactor = reactor
        self._wall_clock = wall_clock
        self._store = store
        self._applicant = applicant
        self._run = run
        self._serve = serve
        self._kept: dict[str, Kept] = {}
        self._stamps: Mapping[str, Stamp] = {}
        self._windows: dict[str, Window] = {}
        self._windows_due: dict[str, float] = {}
        self._noted: dict[str, Attempts] = {}
        self._got_at: dict[str, float] = {}
        self._turn: Deferred[None] | None = None
        self._lock: int | None = None
        self._trouble = ""
        self._stopped = False
        self._errands = Errands(store, run, reactor.seconds)
        self._looping = LoopingCall(self._begin_turn)
        self._looping.clock = twisted_clock(reactor)
        self.standings: Mapping[str, Standing] = {}
        self.done = 0
        self.failed = 0

    def start(self) -> None:
        """Start, with a look at once."""
        self._looping.start(LOOK_EVERY)

    def stop(self) -> None:
        """Stop; a running attempt is cancelled."""
        self._stopped = True
        if self._looping.running:
            self._looping.stop()
        if self._turn is not None:
            self._turn.cancel()

    def serve_again(self) -> None:
        """Serve all certificates of the store again, after other settings were put in place."""
        for name, kept in self._kept.items():
            self._have_served(name, kept.certificate)

    def _have_served(self, name: str, certificate: Certificate) -> None:
        try:
            self._serve(certificate)
        except CertificateError as error:
            self.log.error("the certificate for {name}: {error}", name=name, error=error)

    # A turn: look, serve new certificates, and request those that are due, one by one.

    def _begin_turn(self) -> Deferred[None]:
        self._turn = Deferred.fromCoroutine(self._take_turn())
        return self._turn

    async def _take_turn(self) -> None:
        try:
            look = await self._look()
            if look.has_errands and not await self._run_errands():
                return  # another node asks
            await self._ask_for_window()
            while (name := self._first_due(look)) is not None:
                if not await self._attempt(name, look):
                    return  # another node asks
                look = await self._look()
            self._trouble = ""
        except CancelledError:
            pass
        except Exception as error:
            trouble = str(error) if isinstance(error, OSError) else repr(error)
            if trouble == self._trouble:
                return  # it was logged, and the next look is soon
            self._trouble = trouble
            if isinstance(error, OSError):
                self.log.error("certificates cannot be kept: {error}", error=error)
            else:
                self.log.failure("certificates were not looked after; please report this")

    async def _look(self) -> _Look:
        look: _Look = await self._run(self._read)
        self._stamps = look.stamps
        for name, noted in self._noted.items():
            # It may not have been possible to save it.
            look.attempts[name] = max(noted, look.attempts[name], key=lambda one: one.last)
        for name in set(self._kept) - set(look.stamps):
            del self._kept[name]
        for name, kept in look.changed.items():
            if kept is None:
                self._kept.pop(name, None)
            else:
                self._take_over(name, kept)
        self.standings = {
            name: Standing(name, self._due(name), look.attempts[name]) for name in self._store.names
        }
        return look

    def _read(self) -> _Look:
        """Look, in a thread; nothing changes meanwhile, because there is one turn at a time."""
        try:
            asked = self._store.asked()
        except FileNotFoundError:
            self._store.prepare()
            asked = {}
        self._store.see_challenges()
        stamps = self._store.stamps()
        changed: dict[str, Kept | None] = {}
        for name, stamp in stamps.items():
            if self._stamps.get(name) != stamp:
                try:
                    certificate = self._store.certificate(name)
                except CertificateError as error:
                    self.log.warn("{error}", error=error)
                    changed[name] = None
                else:
                    changed[name] = Kept(certificate, self._store.authority(name))
        attempts = {name: self._store.attempts(name) for name in self._store.names}
        return _Look(stamps, changed, attempts, asked, self._errands.look())

    def _take_over(self, name: str, kept: Kept) -> None:
        self._have_served(name, kept.certificate)
        self._kept[name] = kept
        self._windows.pop(name, None)
        self._windows_due[name] = 0.0
        self._noted.pop(name, None)

    # Which certificates are due.

    def _due(self, name: str) -> float:
        """When to request a certificate for ``name``."""
        kept = self._kept.get(name)
        if kept is None or not self._applicant.would_get(kept):
            return 0.0
        return due_by_itself(kept.certificate, self._windows.get(name))

    def _first_due(self, look: _Look) -> str | None:
        """The name that has been due longest, among those that may be requested now."""
        now = self._wall_clock()
        waiting = []
        for name in self._store.names:
            asked, attempts = name in look.asked, look.attempts[name]
            due = self._due(name)
            is_due = due <= now and not self._was_just_got(name)
            if (asked or is_due) and may_try(attempts, now, asked=asked):
                waiting.append((max(due, attempts.not_before), name))
        return min(waiting)[1] if waiting else None

    def _was_just_got(self, name: str) -> bool:
        least = _LEAST_BETWEEN if name in self._kept else _LEAST_IF_LOST
        got_at = self._got_at.get(name)
        return got_at is not None and self._reactor.seconds() < got_at + least

    async def _ask_for_window(self) -> None:
        """Ask the authority for the suggested renewal time of one of the certificates."""
        now = self._reactor.seconds()
        due = [name for name in self._kept if self._windows_due[name] <= now]
        if not due:
            return
        name = min(due, key=self._windows_due.__getitem__)
        self._windows_due[name] = now + _WINDOW_ASKED
        try:
            found = await self._applicant.renewal_window(self._kept[name])
        except AcmeError as error:
            self.log.debug("no time to renew {name} is suggested: {error}", name=name, error=error)
            return
        if found is not None:
            self._windows[name], again = found
            again = min(max(again or _WINDOW_ASKED, _WINDOW_LEAST), _WINDOW_MOST)
            self._windows_due[name] = now + again

    def concerns(self) -> Iterator[str]:
        """Sentences for the administrator."""
        if self._trouble:
            yield f"certificates are not looked after: {self._trouble}"
        yield from concerns(self.standings, self._wall_clock())
        yield from self._errands.concerns()

    # Asking.

    async def _run_errands(self) -> bool:
        """Do the errands. Returns False if another node has the lock."""
        if not await self._run(self._take_lock):
            return False
        try:
            await self._errands.run(await self._applicant.client(), self._applicant.in_time)
        finally:
            self._let_go()
        return True

    async def _attempt(self, name: str, look: _Look) -> bool:
        """Get a certificate for ``name``. Returns False if another node has the lock."""
        if not await self._run(self._take_lock):
            return False
        try:
            stamps = await self._run(self._store.stamps)
            if stamps.get(name) == self._stamps.get(name):
                await self._replace(name, look.attempts[name], look.asked.get(name))
        finally:
            self._let_go()
        return True

    async def _replace(self, name: str, attempts: Attempts, reason: Reason | None) -> None:
        """Get a certificate; revoke the former one, if there is a ``reason``."""
        kept = self._kept.get(name)
        is_compromised = reason is Reason.COMPROMISED
        if kept is not None and is_compromised:
            await self._note_revocation(kept, Reason.COMPROMISED)  # even if the rest fails
        # A request from now on is for another certificate.
        await self._run(lambda: self._store.answered(name))
        got = await self._get(name, attempts, new_key=is_compromised)
        if kept is not None and got and reason is not None and not is_compromised:
            await self._note_revocation(kept, reason)

    async def _note_revocation(self, kept: Kept, reason: Reason) -> None:
        old = kept.certificate.chain[0]
        await self._run(lambda: self._store.note_revocation(old, reason))

    def _take_lock(self) -> bool:
        """In a thread, so that :meth:`stop` may come before it is done."""
        self._lock = self._store.take_lock()
        if self._stopped:
            self._let_go()
        return self._lock is not None

    def _let_go(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            self._store.let_go(lock)

    async def _get(self, name: str, attempts: Attempts, *, new_key: bool) -> bool:
        """Get a certificate and save it, or record why that failed.

        Returns whether there is one.
        """
        kept = self._kept.get(name)
        try:
            await self._applicant.obtain(name, kept, attempts.failures, new_key=new_key)
        except CancelledError:
            raise
        except (AcmeError, CertificateError, OSError) as error:
            retry_after = error.retry_after if isinstance(error, AcmeError) else 0.0
            await self._note_failure(name, attempts, str(error), retry_after)
        except Exception as error:
            # After any error, the authority must not be asked again and again.
            self.log.failure("asking for a certificate failed; please report this")
            await self._note_failure(name, attempts, repr(error), 0.0)
        else:
            self.done += 1
            self._got_at[name] = self._reactor.seconds()
            await self._run(lambda: self._store.note(name, Attempts()))
            self.log.info("got a certificate for {name}", name=name)
            return True
        return False

    async def _note_failure(
        self, name: str, attempts: Attempts, why: str, retry_after: float
    ) -> None:
        self.failed += 1
        now, kept = self._wall_clock(), self._kept.get(name)
        end = kept.certificate.not_after.timestamp() if kept else now
        attempts = after_failure(
            attempts,
            now,
            why,
            retry_after=retry_after,
            left=end - now,
            share=random.random(),  # noqa: S311  it is no secret
        )
        self._noted[name] = attempts
        self.log.warn(
            "no certificate for {name}: {why}; {meanwhile}, and the next attempt is at {next}",
            name=name,
            why=why,
            meanwhile=f"the one until {told(end)} stays" if kept else "there is none yet",
            next=told(attempts.not_before),
        )
        await self._run(lambda: self._store.note(name, attempts))
