"""Autobahn's test suite, straight at an echo server and through the proxy, compared case by case.

Knows how to run the suite and how to compare. The cases are Autobahn's own; ``kosoku`` runs them,
because Autobahn's own runner is for Python 2.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.integration.jupyter import notebook_port
from tests.integration.processes import Child, of_these_tests
from tests.integration.proxy import Proxy

GROUPS = {
    "1": "Framing",
    "2": "Pings and pongs",
    "3": "Reserved bits",
    "4": "Opcodes",
    "5": "Fragmentation",
    "6": "UTF-8",
    "7": "Close handshake",
    "9": "Limits and performance",
    "10": "Autobahn's own: auto-fragmentation",
    "12": "Compression, sizes and windows",
    "13": "Compression, parameters",
}
QUICK = ("1", "2", "3", "4", "5", "6", "7", "10")
"""The groups that take seconds."""

# From good to bad.
_BEHAVIOURS = ("OK", "INFORMATIONAL", "NON-STRICT", "UNIMPLEMENTED", "FAILED", "ERROR")
_CLOSES = ("OK", "INFORMATIONAL", "FAILED BY CLIENT", "WRONG CODE", "UNCLEAN", "FAILED")

_Told = tuple[str, str, str, str]
"""A case's name, both behaviours, and the explanation."""

_START_TIMEOUT = 30.0
_ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Verdict:
    """What the suite says of one run of a case: of the messages, and of how it was closed."""

    behaviour: str
    close: str

    @property
    def rank(self) -> tuple[int, int]:
        """The lower, the better."""
        return _BEHAVIOURS.index(self.behaviour), _CLOSES.index(self.close)

    def __str__(self) -> str:
        return self.behaviour if self.behaviour == self.close else f"{self.behaviour}, {self.close}"


@dataclass(frozen=True)
class Case:
    """One case, run twice."""

    name: str
    straight: Verdict
    through: Verdict
    why: str
    """What the suite says of the run through the proxy."""

    @property
    def group(self) -> str:
        """The first number of its name."""
        return self.name.partition(".")[0]

    @property
    def is_worse(self) -> bool:
        """Whether the proxy has spoilt it."""
        pairs = zip(self.straight.rank, self.through.rank, strict=True)
        return any(through > straight for straight, through in pairs)


@contextmanager
def echo_server(directory: Path) -> Iterator[int]:
    """Autobahn's echo server; gives its port."""
    port = notebook_port()
    command = [sys.executable, "-m", "tests.conformance.echo", str(port)]
    server = Child("echo", command, of_these_tests(), directory)

    def listens() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
        return False

    server.wait_until(listens, seconds=_START_TIMEOUT)
    try:
        yield port
    finally:
        server.stop()


def compare(groups: Sequence[str], proxy: Proxy, directory: Path) -> list[Case]:
    """Run all cases of ``groups`` both ways at once, each with an echo server of its own.

    :param directory: where the servers' output goes.
    """
    cases = [f"{group}.*" for group in groups]
    near, far = directory / "straight", directory / "through"
    for each in near, far:
        each.mkdir()
    with echo_server(near) as straight_port, echo_server(far) as through_port:
        straight, through = asyncio.run(_both(straight_port, through_port, proxy, cases))
    return [
        Case(name, Verdict(*before), Verdict(*after), why)
        for (name, *before, _), (_, *after, why) in zip(straight, through, strict=True)
    ]


async def _both(
    straight_port: int, through_port: int, proxy: Proxy, cases: list[str]
) -> tuple[list[_Told], list[_Told]]:
    straight = _run(f"ws://127.0.0.1:{straight_port}/ipython/{straight_port}/", cases)
    through = _run_through(proxy, f"/ipython/{through_port}/", cases)
    return await asyncio.gather(straight, through)


async def _run(url: str, cases: list[str]) -> list[_Told]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.conformance.runner",
        url,
        *cases,
        stdout=asyncio.subprocess.PIPE,
        cwd=_ROOT,
    )
    told, _ = await child.communicate()
    assert child.returncode == 0
    return [(name, message, close, why) for name, message, close, why in json.loads(told)]


async def _run_through(proxy: Proxy, path: str, cases: list[str]) -> list[_Told]:
    async with _tls_pipe(proxy.port, proxy.client_tls()) as port:
        return await _run(f"ws://localhost:{port}{path}", cases)


@asynccontextmanager
async def _tls_pipe(to_port: int, tls: ssl.SSLContext) -> AsyncIterator[int]:
    """A port whose connections are carried to ``to_port`` in TLS, which the runner does not speak.

    Each end hears of the other's when it comes, and after all that came before it.
    """

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(
            "127.0.0.1", to_port, ssl=tls, server_hostname="localhost"
        )
        with suppress(OSError):
            await asyncio.gather(
                _pump(reader, far_writer, far_writer.close),
                _pump(far_reader, writer, writer.write_eof),
            )
        writer.close()

    carried: set[asyncio.Task[None]] = set()

    def arrived(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carried.add(asyncio.create_task(carry(reader, writer)))

    async with await asyncio.start_server(arrived, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
    # Where a side is not read to its end, asyncio's TLS may never say that it is closed.
    for task in carried:
        task.cancel()
    await asyncio.gather(*carried, return_exceptions=True)


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, end: Callable[[], object]
) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        end()
