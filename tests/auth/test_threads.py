"""Work in threads: its outcome comes back on the reactor's, and what was given up is not done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from queue import Queue
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from ipyproxy.auth.threads import MOST, WorkThreads

_PATIENCE = 20


class Calls:
    """The reactor's side: calls from threads wait until the test takes them."""

    def __init__(self) -> None:
        self.calls: Queue[tuple[Callable[..., object], tuple[Any, ...]]] = Queue()

    def callFromThread(self, call: Callable[..., object], *arguments: Any) -> None:
        self.calls.put((call, arguments))

    def take(self) -> None:
        call, arguments = self.calls.get(timeout=_PATIENCE)
        call(*arguments)


def outcome(deferred: Deferred[Any]) -> list[Any]:
    results: list[Any] = []
    deferred.addBoth(results.append)
    return results


def test_it_is_done_elsewhere_and_told_here() -> None:
    reactor = Calls()
    threads = WorkThreads(reactor)
    result = outcome(threads.run(threading.get_ident))
    assert result == []
    reactor.take()
    assert result != [threading.get_ident()]
    threads.close()


def test_what_it_raises_is_told() -> None:
    reactor = Calls()
    threads = WorkThreads(reactor)
    result = outcome(threads.run(lambda: 1 // 0))
    reactor.take()
    assert result[0].check(ZeroDivisionError)
    threads.close()


def test_a_few_at_once_and_what_is_given_up_never_begins() -> None:
    reactor = Calls()
    threads = WorkThreads(reactor)
    go, begun = threading.Event(), []

    def hold(number: int) -> int:
        begun.append(number)
        assert go.wait(_PATIENCE)
        return number

    work = [threads.run(partial(hold, number)) for number in range(MOST + 2)]
    results = [outcome(deferred) for deferred in work]
    work[MOST].cancel()
    work[0].cancel()
    assert results[MOST][0].check(CancelledError)
    go.set()
    for _ in range(MOST + 2):
        reactor.take()
    assert sorted(begun) == [number for number in range(MOST + 2) if number != MOST]
    assert results[0][0].check(CancelledError)
    assert results[1] == [1]
    assert results[MOST + 1] == [MOST + 1]
    threads.close()


def test_no_thread_is_there_before_there_is_work() -> None:
    before = threading.active_count()
    threads = WorkThreads(Calls())
    assert threading.active_count() == before
    threads.close()
    with pytest.raises(RuntimeError):
        threads.run(lambda: None)
