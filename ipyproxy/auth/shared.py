"""Answers that cost something: asked for once for all who wait, and remembered for a while.

Knows keys, time and the number of answers under way. Knows nothing of what is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from ipyproxy.errors import Problem, ProxyError

T = TypeVar("T")

_REMEMBERED = 4096


class _Question(Generic[T]):
    """One that is being answered."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[T]] = []
        self.answer: Deferred[T] | None = None


class SharedAnswers(Generic[T]):
    """Questions by key.

    :param clock: anything with ``seconds()``.
    :param lasting: seconds for which an answer is remembered; 0 for not at all.
    :param most: questions under way at once; more are refused (``OVERLOADED``).
    """

    def __init__(self, clock: Any, lasting: Callable[[T], float], most: int) -> None:
        self._clock = clock
        self._lasting = lasting
        self._most = most
        self._asking: dict[Hashable, _Question[T]] = {}
        self._known: dict[Hashable, tuple[float, T]] = {}

    def known(self, key: Hashable) -> T | None:
        """The answer, if it is remembered."""
        until, answer = self._known.get(key, (0.0, None))
        return answer if self._clock.seconds() < until else None

    def ask(self, key: Hashable, start: Callable[[], Deferred[T]]) -> Deferred[T]:
        """The answer to ``key``, for which ``start`` is called unless somebody has asked already.

        Cancelling gives up waiting; when nobody waits any more, what ``start`` gave is cancelled.
        """
        known = self.known(key)
        if known is not None:
            return succeed(known)
        question = self._asking.get(key)
        if question is None:
            if len(self._asking) >= self._most:
                raise ProxyError(Problem.OVERLOADED, f"{self._most} logins are being checked")
            question = self._asking[key] = _Question()
        waiting: Deferred[T] = Deferred(lambda given_up: self._leave(key, question, given_up))
        question.waiting.append(waiting)
        if question.answer is None:
            question.answer = start()
            question.answer.addBoth(self._answered, key, question)
        return waiting

    def _leave(self, key: Hashable, question: _Question[T], given_up: Deferred[T]) -> None:
        question.waiting.remove(given_up)
        if not question.waiting and self._asking.get(key) is question:
            del self._asking[key]
            assert question.answer is not None
            question.answer.cancel()

    def _answered(self, result: T | Failure, key: Hashable, question: _Question[T]) -> None:
        if self._asking.get(key) is not question:
            return  # nobody waits any more, so it was cancelled
        del self._asking[key]
        if not isinstance(result, Failure):
            self._remember(key, result)
        for waiting in question.waiting:
            if isinstance(result, Failure):
                waiting.errback(result)
            else:
                waiting.callback(result)

    def _remember(self, key: Hashable, answer: T) -> None:
        lasting = self._lasting(answer)
        if lasting <= 0:
            return
        self._known.pop(key, None)
        if len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[key] = (self._clock.seconds() + lasting, answer)
