"""The units in etc/: as systemd judges them on paper, and as it runs them."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from signal import SIGSTOP
from typing import Any

import pytest

from tests.certificates import Authority

from .machine import Machine, why_not
from .running import PATIENCE, ROOT, Echo, User, all_move, notebook, until

pytestmark = pytest.mark.integration
NAMES = ("ipyproxy.service", "ipyproxy.socket")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units in a directory, with the twistd that is installed here."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    for name in NAMES:
        text = (ROOT / "etc" / name).read_text()
        (tmp_path / name).write_text(
            text.replace("/opt/ipyproxy/bin", sysconfig.get_path("scripts"))
        )
    return tmp_path


def analyze(units: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], cwd=units, capture_output=True, text=True
    )
    return done.stdout + done.stderr


def test_systemd_finds_nothing_wrong(units: Path) -> None:
    assert analyze(units, "verify", *(f"./{name}" for name in NAMES)) == ""


def test_so_it_does_with_what_acme_takes_and_that_lets_connections_out_alone(units: Path) -> None:
    drop_in = ROOT / "etc" / "ipyproxy-acme.conf"
    directory = units / "ipyproxy.service.d"
    directory.mkdir()
    shutil.copy(drop_in, directory / "acme.conf")
    assert analyze(units, "verify", *(f"./{name}" for name in NAMES)) == ""
    lines = [line for line in drop_in.read_text().splitlines() if line and line[0] not in "#["]
    assert lines == ["IPAddressAllow=any"]


def test_the_sandbox_is_tight(units: Path) -> None:
    report = analyze(units, "security", "--offline=true", f"./{NAMES[0]}")
    found = re.search(r"exposure level for ipyproxy.service: ([0-9.]+)", report)
    assert found, report
    assert float(found[1]) <= 1.5, report


def test_what_the_service_is_handed_is_what_it_asks_for() -> None:
    """Descriptors are handed over in the order of the socket unit."""
    service, sockets = ((ROOT / "etc" / name).read_text() for name in NAMES)
    assert re.findall(r"^ListenStream=(\d+)", sockets, re.MULTILINE) == ["443", "80"]
    assert "--https systemd:domain=INET6:index=0 --http systemd:domain=INET6:index=1" in service


# With systemd itself.

DROP_IN = """
[Service]
StandardOutput=append:/run/test/daemon.log
StandardError=append:/run/test/daemon.log
WatchdogSec=3
"""


# The Python of these tests, as a virtual environment in /opt/ipyproxy.
FURNISH = """
mkdir -p /opt/python /opt/packages /opt/source /opt/ipyproxy/bin /etc/ipyproxy
mount --rbind {python} /opt/python
mount --bind {packages} /opt/packages
mount --bind {source} /opt/source
mount --bind /run/test/etc /etc/ipyproxy
install -D -m 644 /opt/source/etc/ipyproxy.sysusers /etc/sysusers.d/ipyproxy.conf
systemd-sysusers ipyproxy.conf
chgrp -R ipyproxy /etc/ipyproxy/tls
for command in "twistd from twisted.scripts.twistd import run" \\
        "ipyproxy from ipyproxy.cli import main as run"; do
    file=/opt/ipyproxy/bin/${{command%% *}}
    cat >$file <<END
#!/bin/sh
export LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH=/opt/source:/opt/packages
exec /opt/python/bin/{executable} -c '${{command#* }}; import sys; sys.exit(run())' "\\$@"
END
    chmod +x $file
done
"""


class House:
    """A machine with a configuration and a certificate in /etc/ipyproxy."""

    def __init__(self, directory: Path) -> None:
        self.etc = directory / "etc"
        self.etc.mkdir(mode=0o755)
        self.tls = self.etc / "tls"
        self.tls.mkdir()
        self.authority = Authority()
        self.authority.write(directory)
        self.issue()
        self.configure("")
        self._put_units(directory / "units")
        furnish = FURNISH.format(
            python=sys.base_prefix,
            packages=sysconfig.get_path("purelib"),
            source=ROOT,
            executable=f"python{sys.version_info[0]}.{sys.version_info[1]}",
        )
        self.machine = Machine(directory, furnish)
        self.log = directory / "daemon.log"

    def _put_units(self, units: Path) -> None:
        """Those of ``etc/``, each with a drop-in of the test's."""
        units.mkdir()
        shutil.copy(ROOT / "etc" / "ipyproxy.socket", units)
        # The second instance is the same, as the package has it.
        for name in ("ipyproxy.service", "ipyproxy@.service"):
            shutil.copy(ROOT / "etc" / "ipyproxy.service", units / name)
            (units / f"{name}.d").mkdir()
            (units / f"{name}.d" / "test.conf").write_text(DROP_IN)

    def issue(self) -> int:
        issued = self.authority.issue("localhost", "127.0.0.1")
        issued.write(self.tls)
        group = self.tls.stat().st_gid
        for path in (self.tls, *self.tls.iterdir()):
            shutil.chown(path, 0, group)
            path.chmod(0o750 if path.is_dir() else 0o640)
        return issued.certificate.serial_number

    def configure(self, more: str) -> None:
        (self.etc / "ipyproxy.toml").write_text(
            f'tls.certificate = "tls/server.pem"\ntls.key = "tls/server.key"\n{more}\n'
        )

    def run(self, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``scenario`` on the machine; tell what was logged there if it fails."""
        try:
            self.machine.run(scenario)
        except BaseException:
            print(self.machine.said)
            print(self.log.read_text() if self.log.exists() else "no log")
            raise

    def user(self) -> User:
        return User(443, self.etc.parent / "authority.pem")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    if reason := why_not():
        pytest.skip(reason)
    made = House(tmp_path)
    yield made
    made.machine.stop()


def test_the_units_under_a_booted_systemd(house: House) -> None:
    machine = house.machine

    async def scenario() -> None:
        user = house.user()
        # Nothing runs until somebody comes.
        machine.do("start", "ipyproxy.socket")
        assert machine.show("ActiveState") == "inactive"
        assert (await user.get("/")).status == 200
        assert machine.show("ActiveState") == "active"
        await until(lambda: machine.show("StatusText").startswith("serving: "))
        in_the_sandbox(machine.process())

        # Whoever connects may come from anywhere, although the service itself connects nowhere.
        far = "192.0.2.1"
        _, writer = await asyncio.open_connection(
            far, 443, ssl=user.tls, server_hostname="localhost", local_addr=(far, 0)
        )
        writer.close()

        # A reload takes the new certificate, and leaves the process alone.
        process, serial = machine.show("MainPID"), house.issue()
        machine.do("reload", "ipyproxy")
        await until_served(user, serial)
        # One that does not hold is an error for whoever asks, and nothing else.
        house.configure("limits.connections = 'many'")
        refused = machine.ask("reload", "ipyproxy")
        assert refused.returncode != 0
        assert "reload refused: " in machine.show("StatusText")
        assert (await user.get("/")).status == 200
        assert machine.show("MainPID") == process
        house.configure("")

        # A restart lets nobody down: who comes meanwhile waits in the socket.
        asked = asyncio.Event()
        async with notebook(asked) as port:
            house.configure(f"notebooks.ports = {port}\ntimeouts.drain = 5")
            machine.do("reload", "ipyproxy")
            slow = asyncio.create_task(user.get(f"/ipython/{port}/slow/2"))
            await asyncio.wait_for(asked.wait(), PATIENCE)
            restart = asyncio.create_task(asyncio.to_thread(machine.do, "restart", "ipyproxy"))
            await asyncio.sleep(0.5)
            assert (await user.get(f"/ipython/{port}/slow/0")).status == 200
            assert (await slow).status == 200
            await restart
        assert machine.show("MainPID") != process
        assert machine.show("Result") == "success"

        # One that hangs is replaced.
        assert machine.show("NRestarts") == "0"
        kill(machine, SIGSTOP)
        assert (await user.get("/")).status == 200
        assert machine.show("NRestarts") == "1"

        # One that cannot start leaves its socket alone, and runs as soon as it can.
        house.configure("limits.connections = 'many'")
        assert machine.ask("restart", "ipyproxy").returncode != 0
        waiting = asyncio.create_task(user.get("/"))
        await until(lambda: int(machine.show("NRestarts")) >= 2)
        assert machine.show("ActiveState", "ipyproxy.socket") == "active"
        house.configure("")
        assert (await waiting).status == 200

        machine.do("stop", "ipyproxy.socket", "ipyproxy.service")
        assert machine.show("ActiveState") == "inactive"
        assert machine.show("Result") == "success"
        assert machine.show("ExecMainStatus") == "0"

    house.run(scenario)


@pytest.mark.soak
def test_a_stand_in_takes_what_is_new_while_the_old_one_drains(house: House) -> None:
    machine = house.machine
    stand_in = "ipyproxy@standin.service"

    async def scenario() -> None:
        user = house.user()
        async with notebook() as port:
            house.configure(
                f"notebooks.ports = {port}\ntimeouts.drain = 2\ntimeouts.drain_websocket = 8"
            )
            machine.do("start", "ipyproxy.socket", "ipyproxy.service")
            old = machine.show("MainPID")
            echo = Echo(await user.websocket(port))
            machine.do("start", stand_in)
            machine.do("kill", "--kill-whom=main", "-s", "QUIT", "ipyproxy.service")
            await until(lambda: machine.show("ActiveState") == "deactivating")
            for _ in range(10):
                assert (await user.get(f"/ipython/{port}/slow/0.1")).status == 200
            await all_move([echo])
            assert machine.show("MainPID") == old
            await until(lambda: echo.closed)
            assert echo.closed
            assert echo.closed[0] == 1006

            # And back, once the old one has ended.
            await until(lambda: machine.show("ActiveState") == "inactive")
            assert machine.show("Result") == "success"
            assert (await user.get("/")).status == 200
            machine.do("start", "ipyproxy.service")
            assert machine.show("MainPID") not in ("0", old)
            machine.do("kill", "--kill-whom=main", "-s", "QUIT", stand_in)
            await until(lambda: machine.show("ActiveState", stand_in) == "inactive")
            assert machine.show("Result", stand_in) == "success"
            assert (await user.get("/")).status == 200
            machine.do("reload", "ipyproxy")

    house.run(scenario)


def kill(machine: Machine, signal: int) -> None:
    os.kill(int(machine.process().name), signal)


async def until_served(user: User, serial: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while await user.serial_number() != serial:
        assert time.monotonic() < deadline, "the old certificate is still served"
        await asyncio.sleep(0.1)


def in_the_sandbox(process: Path) -> None:
    """The process is nobody in particular, and can't become anybody."""
    status = dict(
        line.split(":\t", 1)
        for line in (process / "status").read_text().splitlines()
        if ":\t" in line
    )
    assert 0 < int(status["Uid"].split()[0]) < 1000, "not an account of the system's"
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
