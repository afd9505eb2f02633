"""Work in a thread of its own: in order, told in the reactor's thread, and given up at the end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import Queue
from typing import Any

from ipyproxy.encoding.worker import Worker

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


def test_it_is_done_elsewhere_in_order_and_told_here() -> None:
    reactor = Calls()
    worker = Worker(reactor, "test", 5)
    told: list[Any] = []
    for number in range(3):
        worker.run(lambda number=number: (number, threading.get_ident()), told.append)  # type: ignore[misc]
    for _ in range(3):
        reactor.take()
    assert [number for number, _ in told] == [0, 1, 2]
    assert threading.get_ident() not in {thread for _, thread in told}
    worker.close()


def test_it_gives_way_to_others() -> None:
    reactor = Calls()
    worker = Worker(reactor, "test", 19)
    told: list[int | None] = []
    worker.run(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), told.append)
    reactor.take()
    assert told == [19]
    worker.close()


def test_what_fails_is_told_as_none() -> None:
    reactor = Calls()
    worker = Worker(reactor, "test", 5)
    told: list[float | None] = []
    worker.run(lambda: 1 / 0, told.append)
    reactor.take()
    assert told == [None]
    worker.close()


def test_nothing_begins_once_it_is_closed() -> None:
    reactor = Calls()
    worker = Worker(reactor, "test", 5)
    assert worker.goes_on
    worker.close()
    assert not worker.goes_on
    worker.run(lambda: 1, lambda result: None)
    assert reactor.calls.empty()
