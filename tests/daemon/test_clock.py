"""The daemon while the machine's clock is set back and ahead: nobody is refused, nothing stands."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .manager import Manager
from .running import LOCALHOST, Daemon, Echo, User, all_move, notebook, read_answer, run

pytestmark = pytest.mark.integration

LIBRARIES = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
#: Seconds by which the clock is set, one time after the other.
STEPS = (-3600, -90, 3600)
#: Seconds that are looked at after each; the daemon sweeps and writes its log every half of one.
LOOK = 2.0
#: Seconds of waiting that a busy machine may cause; a clock that stands would take a minute.
WORST = 5.0


class WallClock:
    """What one process takes for the time of day; its monotonic clock stays the real one."""

    def __init__(self, library: Path, directory: Path) -> None:
        self._file = directory / "clock"
        self._ahead = 0
        self.set(0)
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, by: int) -> None:
        """Set it ahead by so many seconds, or back."""
        self._ahead += by
        new = self._file.with_suffix(".new")
        new.write_text(f"{self._ahead:+d}\n")
        new.replace(self._file)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.close()


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    library = next(LIBRARIES, None)
    if library is None:
        pytest.skip("needs libfaketime")
    return WallClock(library, tmp_path)


class Visitors:
    """One who asks on a kept connection, and one who connects anew each time, without pause."""

    def __init__(self, user: User, path: str) -> None:
        self.statuses: list[int] = []
        self.worst = 0.0
        self._request = f"GET {path} HTTP/1.1\r\nHost: localhost:{user.port}\r\n\r\n".encode()
        self._user, self._path = user, path
        self._began = 0.0
        self._tasks = [asyncio.create_task(self._stay()), asyncio.create_task(self._come())]

    async def _stay(self) -> None:
        reader, writer = await asyncio.open_connection(
            LOCALHOST, self._user.port, ssl=self._user.tls
        )
        while True:
            began = time.monotonic()
            writer.write(self._request)
            async with asyncio.timeout(WORST):
                self._note((await read_answer(reader)).status, began)
            await asyncio.sleep(0.02)

    async def _come(self) -> None:
        while True:
            began = time.monotonic()
            async with asyncio.timeout(WORST):
                self._note((await self._user.get(self._path)).status, began)
            await asyncio.sleep(0.1)

    def _note(self, status: int, began: float) -> None:
        self.statuses.append(status)
        self.worst = max(self.worst, time.monotonic() - began)

    def check(self) -> None:
        """Raise what went wrong, if anything did."""
        for task in self._tasks:
            if task.done():
                task.result()
        assert set(self.statuses) == {200}

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


def test_a_clock_that_is_set_back_and_ahead_disturbs_nobody(
    manager: Manager, clock: WallClock, tmp_path: Path
) -> None:
    log = tmp_path / "access.log"

    async def scenario() -> None:
        async with notebook() as port:
            daemon = Daemon(
                tmp_path,
                f"notebooks.ports = {port}\nlog.access = '{log}'\n",
                **manager.options(WATCHDOG_USEC="500000", **clock.environment),
            )
            try:
                await asyncio.to_thread(manager.wait_for, lambda message: "READY" in message)
                user = User(manager.https, tmp_path / "authority.pem")
                async with user.websocket(port) as connection:
                    echo = Echo(connection)
                    visitors = Visitors(user, f"/ipython/{port}/slow/0")
                    await asyncio.sleep(LOOK)
                    for step in STEPS:
                        visitors.check()
                        clock.set(step)
                        set_at, lines = time.monotonic(), log.read_bytes().count(b"\n")
                        served = len(visitors.statuses)
                        await asyncio.sleep(LOOK)
                        visitors.check()
                        assert len(visitors.statuses) > served + 5
                        assert manager.beats(set_at) >= 2
                        assert log.read_bytes().count(b"\n") > lines
                        await all_move([echo])
                    await visitors.leave()
                    print(f"{len(visitors.statuses)} answers, worst wait {visitors.worst:.3f} s")
                    await echo.end()
            finally:
                await asyncio.to_thread(daemon.child.stop)
            assert "Traceback" not in daemon.child.log()

    run(scenario())
    # It is the wall clock that the log has, so that was really set.
    hours = {line.split(b"[")[1].split(b":")[1] for line in log.read_bytes().splitlines()}
    assert len(hours) > 1
