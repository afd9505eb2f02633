"""Work in threads: results come in the reactor's, and there are never too many."""

from __future__ import annotations

import threading
import time
from typing import Any

from ipyproxy.threads import PatientThreads


class Reactor:
    """Calls what threads hand it when the test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def callFromThread(self, *call: Any) -> None:
        self.calls.append(call)

    def turn(self, count: int) -> None:
        deadline = time.monotonic() + 20
        while len(self.calls) < count:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for call, *facts in self.calls:
            call(*facts)


class TestThreads:
    def test_results_and_failures_come_in_the_reactor_s_thread(self) -> None:
        reactor = Reactor()
        results: list[object] = []
        threads = PatientThreads(reactor, 2, "test")

        def fail() -> None:
            raise KeyError("nobody")

        threads.run(threading.get_ident).addBoth(results.append)
        threads.run(fail).addBoth(results.append)
        assert results == []
        reactor.turn(2)
        assert threading.get_ident() not in results
        assert sorted(isinstance(each, int) for each in results) == [False, True]

    def test_there_are_no_more_than_so_many(self) -> None:
        reactor, gate = Reactor(), threading.Event()
        threads = PatientThreads(reactor, 2, "so many")
        for _ in range(10):
            threads.run(lambda: gate.wait(20))
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("so many") == 2
        assert all(thread.daemon for thread in threading.enumerate() if thread.name == "so many")
        gate.set()
        reactor.turn(10)
