"""The daemon under a systemd that the test plays: activation, notifications, watchdog, upgrades."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGCONT, SIGHUP, SIGQUIT, SIGSTOP, SIGTERM

import pytest

from .manager import Manager
from .running import PATIENCE, Daemon, Echo, User, all_move, notebook, run, until

pytestmark = pytest.mark.integration


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.close()


def test_it_serves_the_sockets_it_is_handed_and_tells_how_it_fares(
    manager: Manager, tmp_path: Path
) -> None:
    daemon = Daemon(tmp_path, **manager.options())
    try:
        manager.wait_for(lambda message: message.get("READY") == "1")
        user = User(manager.https, tmp_path / "authority.pem")
        assert asyncio.run(user.get("/")).status == 200
        with socket.create_connection(("127.0.0.1", manager.http)) as plain:
            plain.sendall(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"308" in plain.recv(1000).split(b"\r\n")[0]
            manager.wait_for(lambda message: message.get("STATUS", "").startswith("serving: 1 "))

        heard = len(manager.messages)
        daemon.child.signal(SIGHUP)
        reloading = manager.wait_for(lambda message: message.get("RELOADING") == "1", heard)
        assert 0 < int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        manager.wait_for(lambda message: message.get("READY") == "1", heard)

        daemon.child.signal(SIGTERM)
        stopping = manager.wait_for(lambda message: message.get("STOPPING") == "1")
        # Until then systemd must not kill it.
        assert int(stopping["EXTEND_TIMEOUT_USEC"]) > 30e6
        assert daemon.child.wait(PATIENCE) == 0
        # They are systemd's sockets: who connects now waits for the next start.
        socket.create_connection(("127.0.0.1", manager.https)).close()
    finally:
        daemon.child.stop()


def test_a_reload_that_is_refused_ends_too(manager: Manager, tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, **manager.options())
    try:
        manager.wait_for(lambda message: message.get("READY") == "1")
        daemon.configure("limits.connections = 'many'")
        heard = len(manager.messages)
        daemon.child.signal(SIGHUP)
        manager.wait_for(lambda message: "RELOADING" in message, heard)
        manager.wait_for(lambda message: "READY" in message, heard)
    finally:
        daemon.child.stop()


def test_the_watchdog_is_fed_only_while_the_reactor_turns(manager: Manager, tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, **manager.options(WATCHDOG_USEC="500000"))
    try:
        manager.wait_for(lambda message: message.get("WATCHDOG") == "1")
        began = time.monotonic()
        while manager.beats(began) < 3:
            assert time.monotonic() - began < PATIENCE
            time.sleep(0.05)
        daemon.child.signal(SIGSTOP)
        time.sleep(0.2)
        stopped = time.monotonic()
        time.sleep(1)
        assert manager.beats(stopped) == 0
        daemon.child.signal(SIGCONT)
        manager.wait_for(lambda message: "WATCHDOG" in message, len(manager.messages))
    finally:
        daemon.child.signal(SIGCONT)
        daemon.child.stop()
    assert "Traceback" not in daemon.child.log()


# Upgrades.


class Load:
    """Users who ask again and again, each on a new connection or again on the one they have."""

    def __init__(self, user: User, path: str, users: int) -> None:
        self.answers: list[int] = []
        self.errors: list[str] = []
        self._stopped = False
        self._tasks = [
            asyncio.create_task(self._ask(user, path, keeps=bool(number % 2)))
            for number in range(users)
        ]

    async def _ask(self, user: User, path: str, *, keeps: bool) -> None:
        while not self._stopped:
            try:
                if keeps:
                    self.answers += [answer.status for answer in await user.get_on_one(path, 20)]
                else:
                    self.answers.append((await user.get(path)).status)
            except (OSError, EOFError) as error:
                self.errors.append(repr(error))

    async def answered(self, count: int) -> None:
        """Wait for so many more answers."""
        enough = len(self.answers) + count
        await until(lambda: len(self.answers) >= enough or self.errors)

    async def stop(self) -> None:
        self._stopped = True
        await asyncio.gather(*self._tasks)


def test_three_upgrades_under_load_refuse_nobody_and_cut_nothing(
    manager: Manager, tmp_path: Path
) -> None:
    daemons: list[Daemon] = []

    async def next_one(port: int) -> Daemon:
        directory = tmp_path / str(len(daemons))
        directory.mkdir()
        daemon = Daemon(
            directory,
            f"notebooks.ports = {port}\ntimeouts.drain = 3\ntimeouts.drain_websocket = 8\n"
            "limits.connection_rate = 0\nlimits.request_rate = 0\n"
            "log.access = ''\n",
            authority=daemons[0].authority if daemons else None,
            **manager.options(),
        )
        daemons.append(daemon)
        heard = len(manager.messages)
        await asyncio.to_thread(
            manager.wait_for, lambda message: message.get("READY") == "1", heard
        )
        return daemon

    async def scenario() -> None:
        async with notebook() as port:
            old = await next_one(port)
            user = User(manager.https, old.directory / "authority.pem")
            load = Load(user, f"/ipython/{port}/slow/0.05", users=8)
            echoes: list[Echo] = []
            for _ in range(3):
                mine = [Echo(await user.websocket(port)) for _ in range(3)]
                echoes += mine
                new = await next_one(port)
                old.child.signal(SIGQUIT)
                await asyncio.to_thread(old.wait_for, "handing over")
                await load.answered(50)
                await all_move(mine)
                old = new
            await load.stop()
            assert load.errors == []
            assert set(load.answers) == {200}
            print("answers:", len(load.answers))
            # Bridges live on, and end when their time has come.
            await until(lambda: all(echo.closed for echo in echoes))
            assert {echo.closed and echo.closed[0] for echo in echoes} == {1006}

    try:
        run(scenario())
        assert [daemon.child.wait(PATIENCE) for daemon in daemons[:3]] == [0, 0, 0]
    finally:
        for daemon in daemons:
            daemon.child.stop()
            assert "Traceback" not in daemon.child.log(), daemon.child.log_tail()
