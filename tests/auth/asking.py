"""What the tests of methods share: facts of a request, and threads that the test plays."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.python.failure import Failure

from ipyproxy.access.facts import Finding, RequestFacts
from ipyproxy.auth.gate import Method
from ipyproxy.auth.lookout import Lookout
from ipyproxy.auth.watchedfile import WatchedFile

T = TypeVar("T")


def asked(**facts: Any) -> RequestFacts:
    """The facts of a request to a notebook."""
    usual: dict[str, Any] = {
        "method": b"GET",
        "target": b"/ipython/10000/lab?x",
        "path": b"/ipython/10000/lab",
        "public": b"https://hub.example",
        "client": "192.0.2.1",
        "route": b"/ipython/10000",
    }
    return RequestFacts(**{**usual, **facts})


def typed(name: str, password: str, **facts: Any) -> RequestFacts:
    """The same, with a name and a password."""
    value = b"Basic " + b64encode(f"{name}:{password}".encode())
    return asked(authorization=[value], **facts)


class Told:
    """What a method comes to say, now or later."""

    def __init__(self, method: Method, facts: RequestFacts) -> None:
        self.finding: Finding | None = None
        self.failure: Failure | None = None
        found = method.examine(facts)
        if isinstance(found, Deferred):
            self.deferred = found
            found.addCallbacks(self._found, self._failed)
        else:
            self.finding = found

    def _found(self, finding: Finding) -> None:
        self.finding = finding

    def _failed(self, failure: Failure) -> None:
        self.failure = failure


def watched(file: WatchedFile[T], clock: Any) -> Lookout[T]:
    """The file, which is looked at as if there was no thread."""
    return Lookout(clock, execute, file.content)


class PlayedThreads:
    """Threads whose work is done when the test says so.

    :ivar begun: how many works were ever asked for.
    """

    def __init__(self) -> None:
        self.begun = 0
        self.waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def run(self, work: Callable[[], Any]) -> Deferred[Any]:
        self.begun += 1
        done: Deferred[Any] = Deferred(self._forget)
        self.waiting.append((work, done))
        return done

    def _forget(self, given_up: Deferred[Any]) -> None:
        self.waiting = [pair for pair in self.waiting if pair[1] is not given_up]

    def work(self) -> None:
        """Do all that waits."""
        waiting, self.waiting = self.waiting, []
        for work, done in waiting:
            done.callback(work())


class Counted:
    """Counts logins; turns away those that the test says.

    :ivar tried: who wanted to try a password.
    :ivar under_way: whose password is being checked.
    :ivar failures: whose password was wrong.
    :ivar unheard_of: who has failed and left before it was told.
    """

    def __init__(self) -> None:
        self.tried: list[str] = []
        self.under_way: list[str] = []
        self.failures: list[str] = []
        self.unheard_of: list[tuple[str, bool]] = []
        self.refusal: Exception | None = None

    def admit(self, client: str) -> None:
        self.tried.append(client)
        if self.refusal is not None:
            raise self.refusal

    def begin(self, client: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.under_way.append(client)

    def end(self, client: str, *, failed: bool) -> None:
        self.under_way.remove(client)
        if failed:
            self.failures.append(client)

    def unheard(self, client: str, *, by_page: bool) -> None:
        self.unheard_of.append((client, by_page))
