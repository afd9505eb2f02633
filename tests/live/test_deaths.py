"""Notebooks that die, hang, come back and change hands: what browsers get meanwhile, and how soon.

Bounds of time are the promised ones and some patience beside, because the machine may be busy; the
long forms print what they measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import pytest

from tests.integration.jupyter import PORTS
from tests.integration.proxy import Proxy

from .insider import ASK
from .mortal import Mortal, Visitor, seconds_until
from .published import DockerProxy
from .streams import Stream

pytestmark = pytest.mark.integration

INTERVAL, TIMEOUT, FALL = 0.3, 0.4, 3
#: So long may it take to know of one that hangs: intervals vary by a fifth.
FALLING = FALL * (1.2 * INTERVAL + TIMEOUT)
#: Within which one is to be known, or served again.
A_SECOND = 1.0
#: What a machine that has much else to do may add.
PATIENCE = 5.0
#: Within which a dead port's answer is to be there.
AT_ONCE = 0.05

#: Ports that nobody has: they lie below those that systems give out by themselves.
#: Below the ports that tests choose from, so that nobody listens there.
DEAD = range(19000, 19500)
NOTEBOOKS = f'[notebooks]\nports = "{PORTS},{DEAD.start}-{DEAD.stop - 1}"\n'
HEALTH = f"[health]\ninterval = {INTERVAL}\ntimeout = {TIMEOUT}\nfall = {FALL}\n"
CONFIGURATION = NOTEBOOKS + HEALTH

Visit = Callable[[int], Visitor]


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy that looks more often than it does by itself, so that tests are short."""
    running = Proxy(tmp_path_factory.mktemp("deaths"), CONFIGURATION)
    yield running
    running.child.stop()


@pytest.fixture(scope="module")
def trusting(watching: Proxy) -> ssl.SSLContext:
    return watching.client_tls()


@pytest.fixture
def visit(watching: Proxy, trusting: ssl.SSLContext) -> Iterator[Visit]:
    """Makes browsers."""
    with contextlib.ExitStack() as stack:
        yield lambda port: stack.enter_context(Visitor(watching.port, trusting, port))


@pytest.fixture
def notebook() -> Iterator[Mortal]:
    with Mortal() as made:
        yield made


def times_of(visitor: Visitor, count: int) -> list[float]:
    """How long so many answers of a dead port took."""
    answers = [visitor.get() for _ in range(count)]
    assert {status for status, _, _ in answers} == {503}
    return [seconds for _, _, seconds in answers]


def queued(port: int) -> int:
    """How many connections to *port* its server has not accepted yet."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    # Of a socket that listens, this column counts them.
    [queue] = [row[4] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"]
    return int(queue.partition(":")[2], 16)


def hears_that_it_is_gone(bridge: Stream) -> bool:
    """Its connection ends, and no close frame comes before."""
    return bridge.hear(1) == b""


class TestKilled:
    def test_it_is_known_at_once_and_bridges_end(self, notebook: Mortal, visit: Visit) -> None:
        notebook.live()
        visitor = visit(notebook.port)
        assert visitor.status() == 200
        bridge = visitor.open_websocket()
        notebook.die()
        died = time.monotonic()
        assert hears_that_it_is_gone(bridge)
        assert visitor.status() == 503
        assert time.monotonic() - died < A_SECOND + PATIENCE
        assert visitor.state() == "dead"
        assert statistics.median(times_of(visitor, 50)) < AT_ONCE

    def test_under_traffic_it_is_served_again_soon(self, notebook: Mortal, visit: Visit) -> None:
        notebook.live()
        visitor = visit(notebook.port)
        assert visitor.status() == 200
        for _ in range(3):
            notebook.die()
            assert visitor.status() == 503
            time.sleep(0.7)
            assert visitor.status() == 503
            notebook.live()
            seconds_until(lambda: visitor.status() == 200, at_most=A_SECOND + PATIENCE)
            assert visitor.get()[1] == b"%d" % notebook.pid

    def test_without_traffic_a_probe_finds_it(
        self, watching: Proxy, notebook: Mortal, visit: Visit
    ) -> None:
        """The first waits of the backoff are 1 and 2 s at most."""
        notebook.live()
        visitor = visit(notebook.port)
        assert visitor.status() == 200
        notebook.die()
        assert visitor.status() == 503
        notebook.live()
        found = f"port {notebook.port}: dead -> up (answered)"
        seconds_until(lambda: found in watching.child.log(), at_most=3 + PATIENCE)


class TestStopped:
    """``kill -STOP``: the kernel goes on to take connections, but nobody answers."""

    def test_it_is_busy_and_nothing_is_lost(self, notebook: Mortal, visit: Visit) -> None:
        notebook.live()
        visitor, other = visit(notebook.port), visit(notebook.port)
        assert visitor.status() == 200
        bridge = visitor.open_websocket()
        notebook.stop()
        seconds_until(lambda: visitor.state() == "busy", at_most=FALLING + PATIENCE)
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(other.status)
            time.sleep(2 * FALLING)
            assert visitor.state() == "busy"
            assert not waiting.done()
            notebook.go_on()
            assert waiting.result(PATIENCE) == 200
        assert not bridge.is_closed_within(0.2)
        assert visitor.state() == "up"

    def test_one_probe_waits_in_its_queue_and_no_more(self, notebook: Mortal, visit: Visit) -> None:
        notebook.live()
        visitor = visit(notebook.port)
        assert visitor.status() == 200
        notebook.stop()
        seconds_until(lambda: visitor.state() == "busy", at_most=FALLING + PATIENCE)
        for _ in range(20):
            visitor.state()
            time.sleep(0.1)
        assert queued(notebook.port) == 1

    def test_one_that_is_killed_meanwhile_is_dead(self, notebook: Mortal, visit: Visit) -> None:
        notebook.live()
        visitor = visit(notebook.port)
        assert visitor.status() == 200
        bridge = visitor.open_websocket()
        notebook.stop()
        seconds_until(lambda: visitor.state() == "busy", at_most=FALLING + PATIENCE)
        notebook.die()
        assert bridge.is_closed_within(PATIENCE)
        seconds_until(lambda: visitor.state() == "dead", at_most=A_SECOND + PATIENCE)
        assert statistics.median(times_of(visitor, 50)) < AT_ONCE


class TestMute:
    def test_one_that_takes_connections_and_never_answers_is_busy(
        self, notebook: Mortal, visit: Visit
    ) -> None:
        notebook.live("mute")
        visitor = visit(notebook.port)
        visitor.state()
        seconds_until(lambda: visitor.state() == "busy", at_most=FALLING + PATIENCE)


class TestNoMoreListening:
    def test_what_is_open_goes_on(self, notebook: Mortal, visit: Visit) -> None:
        """As with a server that is being replaced; nginx leaves that alone too."""
        notebook.live("retiring")
        visitor = visit(notebook.port)
        assert visitor.status() == 200
        bridge = visitor.open_websocket()
        seconds_until(lambda: visitor.state() == "dead", at_most=FALLING + PATIENCE)
        assert visitor.status() == 503
        assert not bridge.is_closed_within(1)


class TestPublished:
    """A container's port, on which Docker's proxy listens from before its server does."""

    @pytest.fixture
    def published(self, notebook: Mortal) -> Iterator[DockerProxy]:
        with DockerProxy(notebook.port) as made:
            yield made

    def test_it_starts_and_is_served(
        self, notebook: Mortal, published: DockerProxy, visit: Visit
    ) -> None:
        visitor = visit(published.port)
        for _ in range(10):
            assert visitor.status() == 503
            assert visitor.state() == "starting"
            assert visitor.websocket_status() == 503
            time.sleep(0.2)
        notebook.live()
        seconds_until(lambda: visitor.state() == "up", at_most=2 * A_SECOND + PATIENCE)
        assert visitor.status() == 200
        notebook.die()
        assert visitor.status() == 502

    def test_a_request_finds_it_before_a_probe_does(
        self, notebook: Mortal, published: DockerProxy, visit: Visit
    ) -> None:
        visitor = visit(published.port)
        assert visitor.status() == 503
        notebook.live()
        seconds_until(lambda: visitor.status() == 200, at_most=A_SECOND + PATIENCE)


class TestTakenOver:
    """The port's next owner gets nothing that was the last one's."""

    def test_by_another_notebook(self, notebook: Mortal, visit: Visit) -> None:
        notebook.live()
        visitor = visit(notebook.port)
        assert visitor.get()[1] == b"%d" % notebook.pid
        bridge = visitor.open_websocket()
        notebook.die()
        notebook.live()
        assert hears_that_it_is_gone(bridge)
        seconds_until(lambda: visitor.status() == 200, at_most=A_SECOND + PATIENCE)
        assert {visitor.get()[1] for _ in range(10)} == {b"%d" % notebook.pid}

    def test_by_a_program_that_does_not_speak_http(self, notebook: Mortal, visit: Visit) -> None:
        notebook.live()
        visitor = visit(notebook.port)
        assert visitor.status() == 200
        notebook.die()
        assert visitor.status() == 503
        notebook.live("ssh")
        seconds_until(lambda: visitor.status() == 502, at_most=A_SECOND + PATIENCE)
        seconds_until(lambda: visitor.state() == "up", at_most=A_SECOND + PATIENCE)
        assert visitor.status() == 502


class TestManyDeadPorts:
    def test_they_cost_next_to_nothing(self, watching: Proxy, visit: Visit) -> None:
        visitor = visit(DEAD[0])
        for _ in range(2):
            for port in DEAD:
                visitor.turn_to(port)
                assert visitor.status() == 503
        before = cpu_seconds(watching.child.pid)
        time.sleep(2)
        assert cpu_seconds(watching.child.pid) - before < 1

    @pytest.mark.soak
    def test_they_cost_less_and_less_and_nothing_grows(self, tmp_path: Path) -> None:
        """Listed in the configuration, so that they are probed for ever."""
        listed = f'{NOTEBOOKS}[health]\nports = "{DEAD.start}-{DEAD.stop - 1}"\n'
        with Inside(tmp_path, listed) as it:
            rates, seen = [], [it.held()]
            for _ in range(10):
                before = cpu_seconds(it.proxy.child.pid)
                time.sleep(30)
                seen.append(it.held())
                rates.append((seen[-1]["probes"] - seen[-2]["probes"]) / 30)
                used = (cpu_seconds(it.proxy.child.pid) - before) / 30
                print(f"{rates[-1]:.0f} probes/s, {used:.1%} of a processor, {seen[-1]}")
        assert max(rates) < 500
        assert max(rates[3:]) < 50
        assert seen[-1]["timers"] <= 2 * 500 + 10
        assert seen[-1]["descriptors"] <= seen[3]["descriptors"] + 20
        assert seen[-1]["objects"] <= seen[3]["objects"] * 1.05


class TestOverAndOver:
    """Deaths leave nothing behind."""

    def test_some_deaths(self, tmp_path: Path) -> None:
        die_over_and_over(tmp_path, notebooks=5, deaths=4)

    @pytest.mark.soak
    def test_1000_deaths(self, tmp_path: Path) -> None:
        die_over_and_over(tmp_path, notebooks=20, deaths=50)


class Inside:
    """A proxy that tells what it holds."""

    def __init__(self, directory: Path, configuration: str) -> None:
        self._report = directory / "held.json"
        insider = str(Path(__file__).with_name("insider.py"))
        twistd = [sys.executable, insider, str(self._report)]
        self.proxy = Proxy(directory, configuration, twistd=twistd)

    def held(self) -> dict[str, int]:
        """How many timers, descriptors, objects; and how many probes there were."""
        self._report.unlink(missing_ok=True)
        os.kill(self.proxy.child.pid, ASK)
        seconds_until(self._report.exists, at_most=PATIENCE)
        found: dict[str, int] = json.loads(self._report.read_text())
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.proxy.child.stop()


def die_over_and_over(directory: Path, *, notebooks: int, deaths: int) -> None:
    """Kill each of the notebooks so often, a bridge open to it each time, and let it come back."""

    def one_death(notebook: Mortal, visitor: Visitor) -> None:
        notebook.live()
        seconds_until(lambda: visitor.status() == 200, at_most=A_SECOND + PATIENCE)
        with visitor.open_websocket() as bridge:
            notebook.die()
            assert hears_that_it_is_gone(bridge)
        assert visitor.status() == 503

    with Inside(directory, CONFIGURATION) as it, contextlib.ExitStack() as stack:
        tls, port = it.proxy.client_tls(), it.proxy.port
        ports = [stack.enter_context(Mortal()) for _ in range(notebooks)]
        pairs = [(one, stack.enter_context(Visitor(port, tls, one.port))) for one in ports]
        for pair in pairs:
            one_death(*pair)
        before = it.held()
        for _ in range(deaths):
            for pair in pairs:
                one_death(*pair)
        after = it.held()
    print(f"{notebooks * deaths} deaths: {before} before, {after} after")
    assert after["descriptors"] <= before["descriptors"] + 3
    # A timer for each port that is looked after, and more while a probe is under way.
    assert after["timers"] <= before["timers"] + 2 * notebooks
    # The heads of the last answers are remembered; anything that is left of a bridge has more.
    assert after["objects"] <= before["objects"] + 12 * notebooks * deaths + 500


def cpu_seconds(pid: int) -> float:
    """How much of a processor it has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
