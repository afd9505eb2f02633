"""Free memory is given back when many have left, and not over and over."""

from __future__ import annotations

from ipyproxy.daemon.memory import MANY, PAUSE, FreeMemory, trim


class Host:
    """Somebody who tells at which times memory was given back."""

    def __init__(self) -> None:
        self.given: list[float] = []
        self.now = 100.0
        self.memory = FreeMemory(lambda: self.given.append(self.now))

    def have(self, connections: int, after: float = 1.0) -> None:
        self.now += after
        self.memory.note(self.now, connections)


def test_once_many_have_left() -> None:
    host = Host()
    for connections in (0, 2000, 2000, 2000 - MANY + 1):
        host.have(connections)
    assert host.given == []
    host.have(2000 - MANY)
    assert host.given == [105.0]


def test_also_if_they_leave_one_by_one() -> None:
    host = Host()
    for connections in range(MANY, -1, -1):
        host.have(connections)
    assert len(host.given) == 1


def test_nothing_is_done_for_a_few_however_often_they_come_and_go() -> None:
    host = Host()
    for _ in range(100):
        host.have(MANY - 1)
        host.have(0)
    assert host.given == []


def test_it_is_not_done_over_and_over() -> None:
    host = Host()
    host.have(MANY)
    host.have(0)
    host.have(MANY)
    host.have(0, after=PAUSE - 2)
    assert len(host.given) == 1
    host.have(0)
    assert len(host.given) == 2, "what was put off is done later"


def test_the_c_library_does_it() -> None:
    trim()
