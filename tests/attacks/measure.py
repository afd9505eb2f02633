"""One attack on one proxy, and what a good user has of it meanwhile.

Starts notebooks, the proxy, the good user (once on a kept connection, once on new ones) and the
attacker, each in a process of its own, and puts together what they tell.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.attacks.attacks import Attack
from tests.attacks.gooduser import Visit
from tests.attacks.keyfloods import Arguments
from tests.attacks.machine import Machine
from tests.attacks.targets import Running, Settings, Target
from tests.certificates import Authority
from tests.integration.processes import free_port

GOOD_USER = "127.0.0.9"
ONLOOKER = "127.0.0.10"
_ATTACKER = "127.0.6.%d"
_NOTEBOOKS = 8
_BASELINE = 0.7
_HEAD_TIMEOUT = 1
_READY_WITHIN = 40.0
_ENDS_WITHIN = 60.0
_ROOT = Path(__file__).parents[2]
_LIBFAKETIME = "libfaketime.so.1"


@dataclass(frozen=True)
class Waits:
    """What the good user had in a window, in seconds.

    :ivar worst: the longest wait; ``net``: the longest, less what the machine itself took of each,
        which is ``stolen`` in the whole window.
    :ivar refused: visits without a good answer.
    """

    worst: float
    net: float
    stolen: float
    median: float
    visits: int
    refused: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """All that is known of one attack.

    :ivar asked: bytes of those requests that were answered.
    :ivar logged: bytes of the access log a second.
    :ivar log_pause: longest time in which nothing was logged.
    :ivar silent_for: how long a connection without a request was kept; None: nobody looked.
    """

    before: Waits
    during: Waits
    seconds: float
    sent: int
    received: int
    asked: int
    opened: int
    closed: int
    statuses: dict[str, int]
    logged: float
    log_pause: float
    silent_for: float | None
    said: str


class Process:
    """A process of the measurement: says ``ready``, is told to go on, says what it has in JSON."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-m", f"tests.attacks.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            cwd=_ROOT,
        )
        self.pid = self._popen.pid
        self._name = " ".join([module, *arguments])

    def wait_until_ready(self) -> None:
        """Raises TimeoutError, or RuntimeError if it has ended instead."""
        assert self._popen.stdout
        if not select.select([self._popen.stdout], [], [], _READY_WITHIN)[0]:
            raise TimeoutError(f"not ready: {self._name}")
        if self._popen.stdout.readline() != "ready\n":
            raise RuntimeError(f"it has ended: {self._name}")

    def go_on(self) -> None:
        """Say a line."""
        assert self._popen.stdin
        self._popen.stdin.write("\n")
        self._popen.stdin.flush()

    def ending(self) -> Any:
        """What it says at its end, once it is there."""
        output, _ = self._popen.communicate(timeout=_ENDS_WITHIN)
        return json.loads(output)

    def stop(self) -> None:
        """End it, if it goes on."""
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.wait()


class LogWatch:
    """How an access log grows, from now on until it is stopped."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._first = self._size = self._look()
        self._grown_at = time.monotonic()
        self.pause = 0.0
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._keep_looking, daemon=True)
        self._watch.start()

    def _look(self) -> int:
        return self._file.stat().st_size if self._file.exists() else 0

    def _keep_looking(self) -> None:
        while not self._over.wait(0.05):
            now, size = time.monotonic(), self._look()
            self.pause = max(self.pause, now - self._grown_at)
            if size != self._size:
                self._size, self._grown_at = size, now

    def stop(self) -> int:
        """Bytes that were written."""
        self._over.set()
        self._watch.join()
        return self._look() - self._first


def free_notebook_ports(count: int) -> list[int]:
    """Ports among those that notebooks have, and that nobody listens on."""
    found: list[int] = []
    candidates = iter(random.sample(range(10000, 14999), 4999))
    while len(found) < count:
        port = free_port(candidates)
        if port not in (10250, 11211):  # known for another service, and so not served
            found.append(port)
    return found


class Measurement:
    """One attack on one proxy; :meth:`run` it once.

    :param nice: of the attackers' processes, see nice(1).
    """

    def __init__(
        self, attack: Attack, target: Target, seconds: float, directory: Path, nice: int
    ) -> None:
        self._attack = attack
        self._target = target
        self._seconds = seconds
        self._directory = directory
        self._nice = nice
        self._own, self._hostile, *self._others = free_notebook_ports(_NOTEBOOKS + 2)
        self._clock = directory / "clock"
        self._certificate = str(directory / "authority.pem")

    def run(self) -> Result:
        """Measure; everything that was started has ended then."""
        directory = self._directory
        authority = Authority()
        authority.write(directory)
        authority.issue("localhost").write(directory)
        with ExitStack() as stack:
            own = self._notebook(stack, [self._own])
            others = self._notebook(stack, self._others)
            proxy = self._target.start(self._settings(), directory, self._faked())
            stack.callback(proxy.stop)
            own.wait_until_ready()
            others.wait_until_ready()
            users = [self._user(stack, proxy, form) for form in ("kept", "new")]
            for user in users:
                user.wait_until_ready()
            machine = Machine([proxy.pid, own.pid, *(user.pid for user in users)])
            stack.callback(machine.stop)
            return self._watch(stack, proxy, users, machine)

    def _watch(
        self, stack: ExitStack, proxy: Running, users: list[Process], machine: Machine
    ) -> Result:
        began = time.monotonic()
        time.sleep(_BASELINE)
        calm_until = time.monotonic()
        attacker = self._attacker(stack, proxy)
        attacker.wait_until_ready()
        log = LogWatch(proxy.access_log)
        silence: list[float] = []
        begin = time.monotonic()
        attacker.go_on()
        self._let_time_pass(proxy, silence)
        end = time.monotonic()
        written = log.stop()
        told = attacker.ending()
        visits: list[Visit] = []
        for user in users:
            user.go_on()
        for user in users:
            visits += [Visit(*each) for each in user.ending()]
        machine.stop()
        return Result(
            before=_waits(visits, machine, began, calm_until - 0.1),
            during=_waits(visits, machine, begin, end),
            seconds=end - begin,
            logged=written / (end - begin),
            log_pause=log.pause,
            silent_for=max(silence, default=None),
            said=proxy.log(),
            **told,
        )

    def _let_time_pass(self, proxy: Running, silence: list[float]) -> None:
        """The time of the attack; in it the clock is stepped, if it is."""
        steps = self._attack.steps
        pause = self._seconds / (2 + 2 * len(steps))
        onlookers = []
        time.sleep(2 * pause)
        for step in steps:
            self._clock.write_text(f"{step:+.0f}\n")
            onlooker = threading.Thread(target=_keep_silent, args=(proxy.port, silence))
            onlooker.start()
            onlookers.append(onlooker)
            time.sleep(2 * pause)
        for onlooker in onlookers:
            onlooker.join()

    def _settings(self) -> Settings:
        return Settings(
            notebooks=(self._own, self._hostile, *self._others),
            limited=self._attack.limited,
            tls_notebooks=self._attack.notebook,
            head_timeout=_HEAD_TIMEOUT if self._attack.steps else 10,
        )

    def _faked(self) -> dict[str, str]:
        """The environment in which the wall clock is what a file says, and no other clock is."""
        if not self._attack.steps:
            return {}
        self._clock.write_text("+0\n")
        return {
            "LD_PRELOAD": str(libfaketime()),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def _notebook(self, stack: ExitStack, ports: list[int]) -> Process:
        files = [str(self._directory / name) for name in ("server.pem", "server.key")]
        tls = files if self._attack.notebook else []
        notebook = Process("notebook", ",".join(map(str, ports)), *tls)
        stack.callback(notebook.stop)
        return notebook

    def _user(self, stack: ExitStack, proxy: Running, form: str) -> Process:
        path = f"/ipython/{self._own}/"
        user = Process("gooduser", str(proxy.port), path, self._certificate, GOOD_USER, form)
        stack.callback(user.stop)
        return user

    def _attacker(self, stack: ExitStack, proxy: Running) -> Process:
        attack = self._attack
        if attack.swarm:
            sources = [_ATTACKER % (number + 1) for number in range(attack.sources)]
            told = {
                "port": proxy.port,
                "own": self._own,
                "others": self._others,
                "sources": sources,
                "seconds": self._seconds,
                "nice": self._nice,
            }
            process = Process("attacks", attack.swarm, json.dumps(told))
        else:
            arguments = Arguments(
                port=proxy.port,
                source=_ATTACKER % 1,
                path=f"/ipython/{self._hostile}/",
                version=attack.version,
                seconds=self._seconds,
                nice=self._nice,
                notebook=self._hostile if attack.notebook else 0,
                split=attack.split,
                certificate=str(self._directory / "server.pem"),
                key=str(self._directory / "server.key"),
            )
            process = Process("keyfloods", json.dumps(asdict(arguments)))
        stack.callback(process.stop)
        return process


def libfaketime() -> Path | None:
    """Where the library is that moves a process's clock; None if it is not installed."""
    return next(Path("/usr/lib").glob(f"*/faketime/{_LIBFAKETIME}"), None)


def _keep_silent(port: int, silence: list[float]) -> None:
    """Connect, shake hands, say nothing: how long that lasts, four seconds at most."""
    tls = ssl.create_default_context()
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    began = time.monotonic()
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), 4, (ONLOOKER, 0)) as tcp,
        tls.wrap_socket(tcp) as wrapped,
    ):
        wrapped.recv(1)
    silence.append(time.monotonic() - began)


def _waits(visits: list[Visit], machine: Machine, begin: float, end: float) -> Waits:
    """Of the visits that were under way in a window."""
    chosen = [one for one in visits if one.began < end and one.began + one.wait > begin]
    waits = [one.wait for one in chosen] or [0.0]
    net = [one.wait - machine.stolen(one.began, one.began + one.wait) for one in chosen] or [0.0]
    return Waits(
        worst=max(waits),
        net=max(net),
        stolen=machine.stolen(begin, end),
        median=statistics.median(waits),
        visits=len(chosen),
        refused=tuple(str(one.status) for one in chosen if one.status != 200),
    )


def each(
    attacks: list[Attack],
    targets: list[Target],
    seconds: float,
    directory: Path,
    nice: int,
    tell: Callable[[str], object],
) -> Iterator[tuple[Attack, Target, Result | str]]:
    """Run all attacks, each on one target after the other; what fails is told of in words."""
    for attack in attacks:
        for target in targets:
            tell(f"{attack.name} on {target.name} ...")
            place = directory / f"{attack.name}-{target.name}".replace(" ", "-").replace("/", "-")
            place.mkdir()
            try:
                yield attack, target, Measurement(attack, target, seconds, place, nice).run()
            except (OSError, RuntimeError, TimeoutError, subprocess.TimeoutExpired) as error:
                yield attack, target, f"failed: {error}"
