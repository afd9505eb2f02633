"""SIGHUP, SIGTERM and SIGQUIT: what a reload leaves alone, and how the daemon comes to its end."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGHUP, SIGQUIT, SIGTERM
from typing import Any

import pytest

from .running import PATIENCE, Daemon, Echo, User, all_move, notebook, run, until

pytestmark = pytest.mark.integration

Start = Callable[..., Daemon]
REFUSED = "NOT RELOADED"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a daemon that is stopped after the test."""
    daemons = []

    def start(config: str = "", **more: Any) -> Daemon:
        daemon = Daemon(tmp_path, config, **more)
        daemons.append(daemon)
        daemon.wait_until_ready()
        return daemon

    yield start
    for daemon in daemons:
        daemon.child.stop()
        assert "Traceback" not in daemon.child.log(), daemon.child.log_tail()


def user_of(daemon: Daemon) -> User:
    return User(daemon.port, daemon.directory / "authority.pem")


async def reload(daemon: Daemon, nth: int, *, refused: bool = False) -> None:
    """Send SIGHUP, and wait until it is dealt with."""
    daemon.child.signal(SIGHUP)
    await asyncio.to_thread(daemon.wait_for, REFUSED if refused else "#info] reloaded", nth)


async def open_bridges(user: User, port: int, count: int) -> list[Echo]:
    return [Echo(await user.websocket(port)) for _ in range(count)]


# Reloading.

INVALID = [
    "[limits]\nconnections = 'many'\n",
    "[limits\n",
    "[tls]\ncipher = 'rot13'\n",
    "tls.key = 'none.key'\n",
]


def invalid(daemon: Daemon, which: int) -> None:
    """Make the configuration, or what it names, one that does not hold."""
    if which % len(INVALID) == 3:
        daemon.file.write_text("tls.certificate = 'server.pem'\ntls.key = 'none.key'\n")
    else:
        daemon.configure(INVALID[which % len(INVALID)])


def reload_under_bridges(daemon: Daemon, *, bridges: int, good: int, bad: int) -> None:
    """Reload while WebSockets echo and a request is open; nothing is to notice."""

    async def scenario() -> None:
        user = user_of(daemon)
        async with notebook() as port:
            config = f"notebooks.ports = {port}\nlimits.connections_per_port = 1000\n"
            daemon.configure(config)
            await reload(daemon, 1)
            echoes = await open_bridges(user, port, bridges)
            slow = asyncio.create_task(user.get(f"/ipython/{port}/slow/{2 + good * 0.1}"))
            refused, at = 0, max(1, good // bad)
            for number in range(good):
                if number % at == 0 and refused < bad:
                    invalid(daemon, refused)
                    refused += 1
                    await reload(daemon, refused, refused=True)
                daemon.configure(f"{config}limits.head_fields = {100 + number}\n")
                serial = daemon.issue()
                began = time.monotonic()
                await reload(daemon, 2 + number)
                assert await user.serial_number() == serial
                if number == 0:
                    print("new certificate served after", time.monotonic() - began)
            await all_move(echoes)
            assert (await slow).status == 200
            assert [echo.closed for echo in echoes] == [None] * bridges
            for echo in echoes:
                await echo.end()

    run(scenario())
    # The invalid ones are told with file, line and key, and changed nothing.
    assert f"{daemon.file}:4: limits.connections" in daemon.child.log()


def test_bridges_and_requests_do_not_notice_reloads(start: Start) -> None:
    daemon = start("limits.connections_per_client = 1000\n")
    reload_under_bridges(daemon, bridges=40, good=10, bad=3)


@pytest.mark.soak
def test_200_bridges_do_not_notice_50_reloads(start: Start) -> None:
    daemon = start("limits.connections_per_client = 1000\n")
    reload_under_bridges(daemon, bridges=200, good=40, bad=10)


def test_what_takes_a_restart_is_said(start: Start) -> None:
    daemon = start()
    daemon.configure("listen.backlog = 99\nlisten.http = 1\nlog.access = 'new.log'\n")
    run(reload(daemon, 1))
    log = daemon.child.log()
    assert "listen.backlog has changed: that takes a restart" in log
    assert "listen.http has changed: that takes a restart" in log
    assert log.count("takes a restart") == 2


def test_the_access_log_goes_where_the_new_configuration_says(start: Start) -> None:
    daemon = start("log.access = 'old.log'\n")
    old, new, moved = (daemon.directory / name for name in ("old.log", "new.log", "old.log.1"))

    async def scenario() -> None:
        user = user_of(daemon)
        await user.get("/first")
        await lines(old, 1)
        old.rename(moved)
        await reload(daemon, 1)
        await user.get("/second")
        await lines(old, 1)
        daemon.configure("log.access = 'new.log'\nlog.format = 'json'\n")
        await reload(daemon, 2)
        await user.get("/third")
        await lines(new, 1)
        daemon.configure("log.access = 'no/such/directory.log'\n")
        await reload(daemon, 1, refused=True)
        await user.get("/fourth")
        await lines(new, 2)

    run(scenario())
    assert [len(file.read_text().splitlines()) for file in (moved, old, new)] == [1, 1, 2]
    assert "/third" in new.read_text()


async def lines(file: Path, count: int) -> None:
    """Wait until ``file`` has so many lines."""
    await until(lambda: file.exists() and len(file.read_text().splitlines()) >= count)


# Stopping.


def test_sigterm_finishes_what_is_open_and_then_the_process_ends_with_0(start: Start) -> None:
    daemon = start()

    async def scenario() -> None:
        user = user_of(daemon)
        asked = asyncio.Event()
        async with notebook(asked) as port:
            daemon.configure(f"notebooks.ports = {port}\n")
            await reload(daemon, 1)
            echoes = await open_bridges(user, port, 3)
            slow = asyncio.create_task(user.get(f"/ipython/{port}/slow/2"))
            idle = await asyncio.open_connection("127.0.0.1", daemon.port, ssl=user.tls)
            idle[1].write(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await idle[0].readuntil(b"\r\n\r\n")
            await asyncio.wait_for(asked.wait(), PATIENCE)
            daemon.child.signal(SIGTERM)
            # The idle connection closes at once, browsers are told, and nobody gets in.
            while not idle[0].at_eof():
                await idle[0].read(1000)
            await until(lambda: all(echo.closed for echo in echoes))
            assert not slow.done()
            await user.turned_away()
            assert (await slow).status == 200
            assert [echo.closed and echo.closed[0] for echo in echoes] == [1006] * 3
        assert await asyncio.to_thread(daemon.child.wait, PATIENCE) == 0

    run(scenario())


def takes_no_more(port: int) -> bool:
    """Whether the port refuses connections."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return True
    return False


def test_a_client_that_has_just_connected_is_served_and_one_that_says_nothing_cut(
    start: Start,
) -> None:
    daemon = start()

    async def scenario() -> None:
        user = user_of(daemon)
        connections = [
            await asyncio.open_connection("127.0.0.1", daemon.port, ssl=user.tls) for _ in "12"
        ]
        (reader, writer), (silent, _) = connections
        daemon.child.signal(SIGTERM)
        await until(lambda: takes_no_more(daemon.port))
        writer.write(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readuntil(b"\r\n")).split()[1] == b"404"
        assert await silent.read() == b""
        assert await asyncio.to_thread(daemon.child.wait, PATIENCE) == 0

    run(scenario())


def test_a_second_sigterm_ends_at_once(start: Start) -> None:
    daemon = start()

    async def scenario() -> None:
        user = user_of(daemon)
        asked = asyncio.Event()
        async with notebook(asked) as port:
            daemon.configure(f"notebooks.ports = {port}\n")
            await reload(daemon, 1)
            slow = asyncio.create_task(user.get(f"/ipython/{port}/slow/1000"))
            await asyncio.wait_for(asked.wait(), PATIENCE)
            daemon.child.signal(SIGTERM)
            await until(lambda: "stopping" in daemon.child.log())
            assert daemon.child.is_running
            began = time.monotonic()
            daemon.child.signal(SIGTERM)
            assert await asyncio.to_thread(daemon.child.wait, PATIENCE) == 0
            assert time.monotonic() - began < 10
            with pytest.raises((OSError, EOFError)):
                await slow

    run(scenario())


def test_what_does_not_end_in_time_is_cut(start: Start) -> None:
    daemon = start()

    async def scenario() -> None:
        user = user_of(daemon)
        asked = asyncio.Event()
        async with notebook(asked) as port:
            daemon.configure(f"notebooks.ports = {port}\ntimeouts.drain = 1\n")
            await reload(daemon, 1)
            slow = asyncio.create_task(user.get(f"/ipython/{port}/slow/1000"))
            await asyncio.wait_for(asked.wait(), PATIENCE)
            daemon.child.signal(SIGTERM)
            with pytest.raises((OSError, EOFError)):
                await slow
            assert await asyncio.to_thread(daemon.child.wait, PATIENCE) == 0

    run(scenario())
    assert "1 requests did not end in time" in daemon.child.log()


def test_sigquit_lets_bridges_live_until_their_own_deadline(start: Start) -> None:
    daemon = start()

    async def scenario() -> None:
        user = user_of(daemon)
        async with notebook() as port:
            daemon.configure(
                f"notebooks.ports = {port}\ntimeouts.drain = 1\ntimeouts.drain_websocket = 3\n"
            )
            await reload(daemon, 1)
            echoes = await open_bridges(user, port, 8)
            daemon.child.signal(SIGQUIT)
            began = time.monotonic()
            await user.turned_away()
            await all_move(echoes)
            while not all(echo.closed for echo in echoes):
                if time.monotonic() - began < 2:
                    assert not any(echo.closed for echo in echoes)
                await asyncio.sleep(0.05)
            closed = sorted(echo.closed for echo in echoes if echo.closed)
            assert [code for code, _ in closed] == [1006] * 8
            # Not all of them together.
            assert closed[-1][1] - closed[0][1] > 0.5
        assert await asyncio.to_thread(daemon.child.wait, PATIENCE) == 0

    run(scenario())


def test_sigterm_ends_a_patient_drain(start: Start) -> None:
    daemon = start()

    async def scenario() -> None:
        user = user_of(daemon)
        async with notebook() as port:
            daemon.configure(f"notebooks.ports = {port}\n")
            await reload(daemon, 1)
            echoes = await open_bridges(user, port, 2)
            daemon.child.signal(SIGQUIT)
            await until(lambda: "handing over" in daemon.child.log())
            await all_move(echoes)
            daemon.child.signal(SIGTERM)
            assert await asyncio.to_thread(daemon.child.wait, PATIENCE) == 0
            await until(lambda: all(echo.closed for echo in echoes))
            assert [echo.closed and echo.closed[0] for echo in echoes] == [1006] * 2

    run(scenario())
