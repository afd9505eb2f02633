"""Work in a thread of its own: in order, told in the reactor's thread, and given up at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from queue import Queue
from typing import Any

from twisted.internet.task import Clock

from ipyproxy.encoding.worker import Worker

_PATIENCE = 20


class Calls(Clock):
    """The reactor's side: calls from threads wait until the test takes them."""

    def __init__(self) -> None:
        super().__init__()
        self.calls_from_threads: Queue[tuple[Callable[..., object], tuple[Any, ...]]] = Queue()

    def callFromThread(self, call: Callable[..., object], *arguments: Any) -> None:
        self.calls_from_threads.put((call, arguments))

    def take(self) -> None:
        call, arguments = self.calls_from_threads.get(timeout=_PATIENCE)
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


_NICENESS = """\
import os, threading
from queue import Queue

from ipyproxy.encoding.worker import Worker

class Reactor:
    calls = Queue()

    def callFromThread(self, *call):
        self.calls.put(call)

told = []
os.nice(4)
worker = Worker(Reactor(), "test", 5)
worker.run(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), told.append)
call, *arguments = Reactor.calls.get(timeout=20)
call(*arguments)
print(told[0] - os.getpriority(os.PRIO_PROCESS, 0))
"""


def test_it_gives_way_to_the_rest_of_its_process_however_that_stands() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _NICENESS], capture_output=True, text=True, check=True, timeout=60
    )
    # No niceness is above 19, and the tests may run with some of their own.
    own = min(os.getpriority(os.PRIO_PROCESS, 0) + 4, 19)
    assert int(done.stdout) == min(5, 19 - own)


def test_later_is_in_the_reactor_s_time_and_never_after_the_end() -> None:
    clock = Calls()
    worker = Worker(clock, "test", 19)
    told: list[str] = []
    worker.later(8.0, lambda: told.append("wanted"))
    worker.later(9.0, lambda: told.append("too late"))
    clock.advance(8)
    assert told == ["wanted"]
    worker.close()
    clock.advance(1)
    assert told == ["wanted"]


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
    assert reactor.calls_from_threads.empty()
