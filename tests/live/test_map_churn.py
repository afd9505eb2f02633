"""Ten thousand interactive tools, of which Galaxy starts fifty a second and stops as many.

What the proxy holds stays flat, its event loop is not kept, and what Galaxy writes counts soon.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import pytest

from tests.galaxy.writing import TELLING, Galaxy, info
from tests.integration.galaxymap import GalaxyMap, key
from tests.integration.postgres import Database

from .test_interactive_tools import CONFIGURATION, SOON, path, within
from .test_many_bridges import Counted
from .tools import Repeating, Visitor

Place = Callable[[Path, int], AbstractContextManager[str]]
"""Where a map is that Galaxy has filled with tools on this port; gives its URL."""

pytestmark = pytest.mark.integration

TOOLS = 10_000
EACH_SECOND = 50
TOKEN = "t0k3n"
WARM = 4.0
"""Seconds of churn before the first look at memory."""
GROWTH = 12 * 2**20
"""Bytes that two looks at memory may differ by: as much as one reading of the map takes."""
WORST_STALL = 0.1
"""Seconds of the processor that the event loop may be kept by one thing."""
FILL = (
    "INSERT INTO gxitproxy SELECT 'k' || to_hex(n), 'interactivetoolentrypoint', '{token}', "
    "'127.0.0.1', {port}, '{info}' FROM generate_series(0, {last}) n"
)


@contextmanager
def in_sqlite(directory: Path, port: int) -> Iterator[str]:
    # Galaxy waits for the disk twice a change, which is not what is measured.
    with TemporaryDirectory(dir="/dev/shm") as memory:
        file = Path(memory) / "map.sqlite"
        Galaxy(file).fill([(key(number), TOKEN, "127.0.0.1", port) for number in range(TOOLS)])
        yield f"sqlite:///{file}"


@contextmanager
def in_postgresql(directory: Path, port: int) -> Iterator[str]:
    with _postgresql(port) as database:
        yield database.url


@contextmanager
def _postgresql(port: int) -> Iterator[Database]:
    pytest.importorskip("psycopg", reason="pip install 'ipyproxy[postgresql]'")
    database = Database()
    try:
        with GalaxyMap(database.url) as galaxy:  # makes the table
            galaxy.save(TOOLS, TOKEN, port)
            galaxy.remove(TOOLS)
        database.sql(FILL.format(token=TOKEN, port=port, info=info(), last=TOOLS - 1))
        yield database
    finally:
        database.kill()


@contextmanager
def in_postgresql_that_tells(directory: Path, port: int) -> Iterator[str]:
    with _postgresql(port) as database:
        database.sql(TELLING)
        yield database.url


class Lateness:
    """How long it takes until a tool is served that Galaxy has just saved; one after the other."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._saved = (0, 0.0)
        self._over = threading.Event()
        self.seconds: list[float] = []
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def saved(self, number: int) -> None:
        """This one was saved just now."""
        self._saved = number, time.monotonic()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            number, since = self._saved
            while number and not self._over.wait(0.02):
                if self._visitor.ask(path(number, TOKEN)).status == 200:
                    self.seconds.append(time.monotonic() - since)
                    break


class Churn:
    """Galaxy at work: one tool is started, and the one that has run for longest is stopped."""

    def __init__(self, galaxy: GalaxyMap, port: int, late: Lateness) -> None:
        self._galaxy = galaxy
        self._port = port
        self._late = late
        self.at = 0
        """The tool that has run for longest."""

    def run(self, seconds: float) -> float:
        """Go on for a while; gives how many tools were started a second."""
        began, first = time.monotonic(), self.at
        while (elapsed := time.monotonic() - began) < seconds:
            self._galaxy.save(TOOLS + self.at, TOKEN, self._port)
            self._late.saved(TOOLS + self.at)
            self._galaxy.remove(self.at)
            self.at += 1
            time.sleep(max(0.0, (self.at - first) / EACH_SECOND - elapsed))
        return (self.at - first) / elapsed


def processor_seconds(pid: int) -> float:
    """What a process has had of the processors."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    ("place", "seconds"),
    [
        pytest.param(in_sqlite, 6, id="SQLite"),
        pytest.param(in_postgresql, 6, id="PostgreSQL"),
        *(
            pytest.param(place, 120, id=f"{name}, long", marks=pytest.mark.soak)
            for name, place in (
                ("SQLite", in_sqlite),
                ("PostgreSQL", in_postgresql),
                ("PostgreSQL that tells", in_postgresql_that_tells),
            )
        ),
    ],
)
def test_tools_that_come_and_go(place: Place, seconds: int, tmp_path: Path) -> None:
    with ExitStack() as stack:
        tool = stack.enter_context(Repeating())
        url = stack.enter_context(place(tmp_path, tool.port))
        galaxy = stack.enter_context(GalaxyMap(url))
        proxy = Counted(tmp_path, CONFIGURATION.format(map=url))
        stack.callback(proxy.child.stop)
        proxy.child.wait_until(lambda: f"has {TOOLS} inter" in proxy.child.log(), seconds=60)
        visitor = Visitor(proxy.port)
        late = Lateness(visitor)
        stack.callback(late.stop)
        churn = Churn(galaxy, tool.port, late)
        churn.run(WARM)
        before, used = proxy.holdings(), processor_seconds(proxy.child.pid)
        rate = churn.run(seconds)
        share = (processor_seconds(proxy.child.pid) - used) / seconds
        late.stop()
        after = proxy.holdings()
        within(lambda: visitor.ask(path(churn.at - 1, TOKEN)).status == 404)
        assert visitor.ask(path(churn.at, TOKEN)).status == 200
    print(
        f"{rate:.0f} saved and removed a second for {seconds} s; "
        f"resident {before['resident'] / 2**20:.1f} MiB, then {after['resident'] / 2**20:.1f}; "
        f"{share:.1%} of a processor; worst stall {after['stall']['seconds'] * 1000:.1f} ms "
        f"({after['stall']['where'] or 'nobody was seen'}); a change counts after "
        f"{median(late.seconds):.2f} s, at worst {max(late.seconds):.2f} s "
        f"(of {len(late.seconds)})"
    )
    assert "Traceback" not in proxy.child.log()
    assert after["resident"] - before["resident"] < GROWTH
    assert after["stall"]["seconds"] < WORST_STALL, after["stall"]["where"]
    assert median(late.seconds) < SOON
    # Everybody has to wait now and then, where the machine is busy with other things.
    assert max(late.seconds) < 4 * SOON
