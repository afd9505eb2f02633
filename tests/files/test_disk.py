"""Reads that wait for a disk: a few at once, and each client has its turn."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.files.disk import AT_ONCE, WAITING, Disk, Disks
from ipyproxy.threads import PatientThreads


class Threads:
    """Threads in which the test says when work is done."""

    def __init__(self) -> None:
        self.under_way: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def run(self, work: Callable[[], Any]) -> Deferred[Any]:
        result: Deferred[Any] = Deferred()
        self.under_way.append((work, result))
        return result

    def do(self) -> None:
        work, result = self.under_way.pop(0)
        result.callback(work())


@pytest.fixture
def threads() -> Threads:
    return Threads()


@pytest.fixture
def disk(threads: Threads) -> Disk:
    return Disk(threads)  # type: ignore[arg-type]


def test_a_client_that_asks_for_much_leaves_a_place_to_others(disk: Disk, threads: Threads) -> None:
    done: list[str] = []
    for number in range(100):
        disk.run("192.0.2.1", lambda: "first").addCallback(done.append)
        assert len(threads.under_way) <= min(number + 1, AT_ONCE - 1)
    disk.run("192.0.2.2", lambda: "second").addCallback(done.append)
    for _ in range(AT_ONCE):
        threads.do()
    assert "second" in done
    while threads.under_way:
        threads.do()
    assert len(done) == 101


def test_what_fails_makes_room_too(disk: Disk, threads: Threads) -> None:
    def fail() -> None:
        raise OSError(5, "broken")

    failures: list[Any] = []
    for _ in range(20):
        disk.run("192.0.2.1", fail).addErrback(failures.append)
    while threads.under_way:
        work, result = threads.under_way.pop(0)
        try:
            result.callback(work())
        except OSError:
            result.errback()
    assert len(failures) == 20


def test_no_client_fills_the_queue(disk: Disk) -> None:
    def ask_for_everything() -> None:
        for _ in range(WAITING):
            disk.run("192.0.2.1", int)

    with pytest.raises(ProxyError) as caught:
        ask_for_everything()
    assert caught.value.problem is Problem.OVERLOADED
    disk.run("192.0.2.2", int)


class Loop:
    """Calls from other threads, for the test's own to take."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.called = threading.Event()

    def callFromThread(self, call: Any, *arguments: Any) -> None:
        self.calls.append((call, arguments))
        self.called.set()


def test_it_is_done_in_another_thread() -> None:
    loop = Loop()
    threads = PatientThreads(loop, 1, "disk")
    results: list[Any] = []
    Disk(threads).run("192.0.2.1", threading.current_thread).addCallback(results.append)
    assert loop.called.wait(30)
    ((call, arguments),) = loop.calls
    call(*arguments)
    assert results[0] is not threading.current_thread()


def test_each_directory_has_a_disk_of_its_own() -> None:
    disks = Disks(Loop())
    assert disks.of("/a") is disks.of("/a")
    assert disks.of("/a") is not disks.of("/b")
