"""More clients than descriptors: who is in stays in, and who comes later is served."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGHUP

import pytest

from .running import LOCALHOST, Daemon, Echo, User, all_move, notebook, run, until

pytestmark = pytest.mark.integration

DESCRIPTORS = 128
CLIENTS = 500


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that may have few descriptors."""

    def limited(line: list[str]) -> list[str]:
        return ["/bin/bash", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@"', "bash", *line]

    made = Daemon(
        tmp_path,
        command=limited,
        listen=["--https", f"tcp:0:interface={LOCALHOST}"],
        env={"STATE_DIRECTORY": str(tmp_path)},
    )
    yield made
    made.child.stop()
    assert "Traceback" not in made.child.log(), made.child.log_tail()


async def status(daemon: Daemon) -> int:
    """Ask the status listener whether the daemon is well."""
    reader, writer = await asyncio.open_unix_connection(daemon.directory / "status.sock")
    try:
        writer.write(b"GET /_ipyproxy/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return int((await reader.readuntil(b"\r\n")).split()[1])
    finally:
        writer.close()


def seconds_of_cpu(daemon: Daemon) -> float:
    fields = Path(f"/proc/{daemon.child.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def clients(user: User, stop: asyncio.Event, outcomes: list[str]) -> None:
    """One of many who do not give up."""
    while not stop.is_set():
        try:
            outcomes.append(str((await user.get("/")).status))
        except (OSError, EOFError, asyncio.LimitOverrunError) as error:
            outcomes.append(type(error).__name__)
        await asyncio.sleep(0.1)


def test_a_flood_takes_nothing_from_those_who_are_in(daemon: Daemon) -> None:
    async def scenario() -> None:
        async with notebook() as port:
            daemon.configure(
                f"notebooks.ports = {port}\nlimits.connection_rate = 0\nlimits.request_rate = 0\n"
            )
            daemon.wait_until_ready()
            daemon.child.signal(SIGHUP)
            await asyncio.to_thread(daemon.wait_for, "#info] reloaded")
            user = User(daemon.listening_port(), daemon.directory / "authority.pem")
            echoes = [Echo(await user.websocket(port)) for _ in range(5)]

            # Many who ask.
            stop, outcomes = asyncio.Event(), list[str]()
            many = [asyncio.create_task(clients(user, stop, outcomes)) for _ in range(100)]
            await until(lambda: len(outcomes) > 300)
            await all_move(echoes)
            assert await status(daemon) == 200
            stop.set()
            await asyncio.gather(*many)
            assert set(outcomes) >= {"200"}, set(outcomes)

            # Many who take a place and say nothing.
            silent: list[asyncio.StreamWriter] = []
            for _ in range(CLIENTS):
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(LOCALHOST, user.port)
                    silent.append(writer)
            before, began = seconds_of_cpu(daemon), time.monotonic()
            await asyncio.sleep(3)
            await all_move(echoes)
            assert await status(daemon) == 200
            busy = (seconds_of_cpu(daemon) - before) / (time.monotonic() - began)
            assert busy < 0.5, f"it spins: {busy:.0%} of a processor"

            # As soon as they are gone there is room.
            for writer in silent:
                writer.transport.abort()
            gone = time.monotonic()
            answered = 0
            while answered != 200:
                with contextlib.suppress(OSError, EOFError):
                    answered = (await user.get("/")).status
            recovered = time.monotonic() - gone
            print(f"{busy:.1%} of a processor; room after {recovered:.2f} s")
            assert recovered < 5
            await all_move(echoes)
            assert [echo.closed for echo in echoes] == [None] * 5
            for echo in echoes:
                await echo.end()

    run(scenario())
    assert f"this process may have no more than {DESCRIPTORS} descriptors" in daemon.child.log()


def test_the_limit_is_raised_as_far_as_the_administrator_lets_us(tmp_path: Path) -> None:
    def limited(line: list[str]) -> list[str]:
        return ["/bin/bash", "-c", 'ulimit -Sn 64; ulimit -Hn 4000; exec "$@"', "bash", *line]

    daemon = Daemon(tmp_path, command=limited)
    try:
        daemon.wait_until_ready()
        limits = Path(f"/proc/{daemon.child.pid}/limits").read_text()
        (line,) = (line for line in limits.splitlines() if line.startswith("Max open files"))
        assert line.split()[3:5] == ["4000", "4000"]
    finally:
        daemon.child.stop()
