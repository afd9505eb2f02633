"""Expensive answers: clients take turns, equal questions are asked once, answers are cached.

Knows keys, time and turns. Knows nothing of what is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.python.failure import Failure

from ipyproxy.auth.turns import Turns
from ipyproxy.clock import Call, Clock
from ipyproxy.errors import Problem, ProxyError

T = TypeVar("T")

Start = Callable[[], Deferred[T]]

_REMEMBERED = 4096


class _Question(Generic[T]):
    """A question that waits for its turn, or is being answered.

    :param client: the client that asked first; the question waits for its turn.
    :param unheard: called with the answer if nobody waits for it any more.
    """

    def __init__(self, client: str, start: Start[T], unheard: Callable[[T], object]) -> None:
        self.client = client
        self.start = start
        self.unheard = unheard
        self.begin: Callable[[], object] = lambda: None
        self.deadline: Call | None = None
        self.waiting: list[Deferred[T]] = []

    def stop_deadline(self) -> None:
        """Stop the time limit: its turn has come, or nobody waits any more."""
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None


class SingleFlight(Generic[T]):
    """Questions by key.

    A question that has begun goes on even if everybody who waited for it has left: a guessed
    password has to count, and the work is being done anyway.

    :param clock: the reactor, for its clock.
    :param lasting: seconds for which an answer is cached; 0 for not at all.
    :param longest_wait: seconds after which a waiting question is refused, like HAProxy's ``timeout
        queue``.
    """

    def __init__(
        self, clock: Clock, lasting: Callable[[T], float], turns: Turns, longest_wait: float
    ) -> None:
        self._clock = clock
        self._lasting = lasting
        self._turns = turns
        self._longest_wait = longest_wait
        self._asking: dict[Hashable, _Question[T]] = {}
        self._known: dict[Hashable, tuple[float, T]] = {}

    def known(self, key: Hashable) -> T | None:
        """The cached answer, if there is one."""
        until, answer = self._known.get(key, (0.0, None))
        return answer if self._clock.seconds() < until else None

    def ask(
        self,
        client: str,
        key: Hashable,
        start: Start[T],
        unheard: Callable[[T], object] = lambda answer: None,
    ) -> Deferred[T]:
        """The answer to ``key``: calls ``start`` in turn, unless the same question is open already.

        Raises :class:`~ipyproxy.errors.ProxyError` (``OVERLOADED``) if too many wait, and fails
        with it if the turn does not come in time. Cancelling gives up waiting.

        :param client: its address.
        :param unheard: called with the answer to this client's question if nobody waits for it any
            more.
        """
        known = self.known(key)
        if known is not None:
            return succeed(known)
        question = self._asking.get(key)
        if question is not None:
            return self._join(key, question)
        question = self._asking[key] = _Question(client, start, unheard)
        waiting = self._join(key, question)
        self._wait_for_turn(key, question)
        return waiting

    def _join(self, key: Hashable, question: _Question[T]) -> Deferred[T]:
        waiting: Deferred[T] = Deferred(lambda given_up: self._leave(key, question, given_up))
        question.waiting.append(waiting)
        return waiting

    def _wait_for_turn(self, key: Hashable, question: _Question[T]) -> None:
        def begin() -> None:
            question.stop_deadline()
            maybeDeferred(question.start).addBoth(self._answered, key, question)

        question.begin = begin
        try:
            if not self._turns.ask(question.client, begin):
                call_later = self._clock.callLater
                question.deadline = call_later(self._longest_wait, self._refuse, key, question)
        except BaseException:
            del self._asking[key]
            raise

    def _refuse(self, key: Hashable, question: _Question[T]) -> None:
        """Refuse all who wait for this question, because its turn has not come in time."""
        self._turns.leave(question.client, question.begin)
        del self._asking[key]
        said = f"a login has waited {self._longest_wait:g} s for its check to begin"
        waiting, question.waiting = question.waiting, []
        for each in waiting:
            each.errback(ProxyError(Problem.OVERLOADED, said))

    def _leave(self, key: Hashable, question: _Question[T], given_up: Deferred[T]) -> None:
        question.waiting.remove(given_up)
        if not question.waiting and self._turns.leave(question.client, question.begin):
            question.stop_deadline()
            del self._asking[key]

    def _answered(self, result: T | Failure, key: Hashable, question: _Question[T]) -> None:
        del self._asking[key]
        if not isinstance(result, Failure):
            self._remember(key, result)
            if not question.waiting:
                question.unheard(result)
        waiting, question.waiting = question.waiting, []
        for each in waiting:
            if isinstance(result, Failure):
                each.errback(result)
            else:
                each.callback(result)
        self._turns.done(question.client)

    def _remember(self, key: Hashable, answer: T) -> None:
        lasting = self._lasting(answer)
        if lasting <= 0:
            return
        self._known.pop(key, None)
        if len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[key] = (self._clock.seconds() + lasting, answer)
