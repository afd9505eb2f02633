"""The daemon under test, a notebook for it, and its users; knows processes, HTTPS and WebSockets.

Only ``Daemon`` starts a process. The notebook and the users run in the test's own asyncio loop, so
that many of them move at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
import sysconfig
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

import ipyproxy
from tests.certificates import Authority
from tests.integration.processes import Child, free_port

LOCALHOST = "127.0.0.1"
#: Seconds for whatever should happen soon, on a machine that has a lot else to do.
PATIENCE = 30.0

ROOT = Path(ipyproxy.__file__).parent.parent


class Files:
    """A directory with a configuration file, a certificate and who has issued that."""

    def __init__(self, directory: Path, config: str, authority: Authority | None = None) -> None:
        self.directory = directory
        self.file = directory / "ipyproxy.toml"
        self.authority = authority or Authority()
        self.authority.write(directory)
        self.issue()
        self.configure(config)

    def configure(self, config: str) -> None:
        """Write the configuration file; the certificate is in it already."""
        self.file.write_text(f'tls.certificate = "server.pem"\ntls.key = "server.key"\n{config}')

    def issue(self) -> int:
        """Write a new certificate; gives its serial number."""
        issued = self.authority.issue("localhost", LOCALHOST)
        issued.write(self.directory)
        return issued.certificate.serial_number


class Daemon(Files):
    """``twistd ipyproxy`` with a configuration file of its own in ``directory``.

    :param listen: what the options ``--https`` and ``--http`` say; default: a free port, and none.
    :param before: twistd's own options.
    """

    def __init__(
        self,
        directory: Path,
        config: str = "",
        *,
        name: str = "daemon",
        listen: Sequence[str] = (),
        before: Sequence[str] = ("-n", "--pidfile="),
        command: Callable[[list[str]], list[str]] = lambda line: line,
        env: dict[str, str] | None = None,
        authority: Authority | None = None,
        **popen: Any,
    ) -> None:
        self.port = free_port()
        super().__init__(directory, config, authority)
        own = ("--https", f"tcp:{self.port}:interface={LOCALHOST}")
        twistd = str(Path(sysconfig.get_path("scripts")) / "twistd")
        line = [twistd, *before, "ipyproxy", "--config", str(self.file), *(listen or own)]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            # The code that the tests import, wherever it lies, is the code that runs.
            "PYTHONPATH": str(ROOT),
            **(env or {}),
        }
        self.child = Child(name, command(line), environment, directory, **popen)

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until the log has ``text`` so many times."""
        self.child.wait_until(lambda: self.child.log().count(text) >= times, seconds=PATIENCE)

    def listening_port(self) -> int:
        """The port that it chose, for a daemon that was to listen on port 0."""
        found = re.search(r"listening on [0-9.]+ port (\d+)", self.child.log())
        assert found
        return int(found[1])

    def wait_until_ready(self) -> None:
        """Wait until it serves."""
        self.wait_for("leads to http://")


async def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` holds; the test's own time-out is the end of it."""
    while not condition():  # noqa: ASYNC110  what is waited for happens in another process
        await asyncio.sleep(0.02)


class Answer(NamedTuple):
    """What came back for a request."""

    status: int
    body: bytes


class User:
    """Whoever uses the site at ``port`` and trusts ``trusted``."""

    def __init__(self, port: int, trusted: Path) -> None:
        self.port = port
        self.tls = ssl.create_default_context(cafile=trusted)

    async def get(self, path: str) -> Answer:
        """Ask on a connection of its own; raises OSError or EOFError if that breaks off."""
        reader, writer = await asyncio.open_connection(LOCALHOST, self.port, ssl=self.tls)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost:{self.port}\r\n\r\n".encode())
            return await read_answer(reader)
        finally:
            writer.close()

    async def get_on_one(self, path: str, count: int) -> list[Answer]:
        """Ask ``count`` times on one connection, or as often as the server keeps it.

        A server may close an idle connection just as it is used again: that is no error if
        nothing of an answer has come (RFC 9112 section 9.3.1).
        """
        reader, writer = await asyncio.open_connection(LOCALHOST, self.port, ssl=self.tls)
        answers: list[Answer] = []
        request = f"GET {path} HTTP/1.1\r\nHost: localhost:{self.port}\r\n\r\n".encode()
        try:
            for _ in range(count):
                try:
                    writer.write(request)
                    answers.append(await read_answer(reader))
                except asyncio.IncompleteReadError as error:
                    if error.partial or not answers:
                        raise
                    break
                except ConnectionError:
                    if not answers:
                        raise
                    break
        finally:
            writer.close()
        return answers

    async def turned_away(self) -> None:
        """Wait until nobody listens any more."""
        with contextlib.suppress(OSError):
            while True:
                await self.get("/")

    async def serial_number(self) -> int:
        """The serial number of the certificate that a new connection is given."""
        _, writer = await asyncio.open_connection(LOCALHOST, self.port, ssl=self.tls)
        found = writer.get_extra_info("peercert")["serialNumber"]
        writer.close()
        return int(found, 16)

    def websocket(self, notebook: int) -> connect:
        """Open a WebSocket that echoes."""
        return connect(
            f"wss://localhost:{self.port}/ipython/{notebook}/echo",
            ssl=self.tls,
            host=LOCALHOST,
            proxy=None,
            ping_interval=None,
            open_timeout=PATIENCE,
        )


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read one response with a Content-Length."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return Answer(int(head.split()[1]), await reader.readexactly(length))


@contextlib.asynccontextmanager
async def notebook(asked: asyncio.Event | None = None) -> AsyncIterator[int]:
    """A notebook server on a free port: ``slow/<seconds>`` takes so long, a WebSocket echoes.

    :param asked: set once a request has come.
    """

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def answer(connection: ServerConnection, request: Request) -> Response | None:
        if "Upgrade" in request.headers:
            return None
        if asked is not None:
            asked.set()
        _, _, seconds = request.path.rpartition("/slow/")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(closing.wait(), float(seconds or 0))
        return connection.respond(200, f"answer to {request.path}")

    port, closing = free_port(), asyncio.Event()
    async with serve(
        echo, LOCALHOST, port, process_request=answer, ping_interval=None, close_timeout=1
    ):
        yield port
        closing.set()


class Echo:
    """A WebSocket that is spoken on without pause, until it closes or ``stop`` is set.

    :ivar round_trips: how many messages came back.
    :ivar closed: the close code and the seconds after the start at which it came; None: open.
    """

    def __init__(self, connection: ClientConnection, pause: float = 0.05) -> None:
        self.round_trips = 0
        self.closed: tuple[int, float] | None = None
        self.connection = connection
        self._pause = pause
        self._began = time.monotonic()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        with contextlib.suppress(Exception):
            while True:
                said = f"message {self.round_trips}"
                await self.connection.send(said)
                assert await self.connection.recv() == said
                self.round_trips += 1
                await asyncio.sleep(self._pause)
        await self.connection.wait_closed()
        code = self.connection.close_code
        self.closed = (code if code is not None else 1006, time.monotonic() - self._began)

    async def end(self) -> None:
        """Close it from this side."""
        self._task.cancel()
        await self.connection.close()


async def all_move(echoes: Sequence[Echo]) -> None:
    """Wait until each WebSocket has brought another message there and back."""
    before = [echo.round_trips for echo in echoes]

    def moved() -> bool:
        assert [echo.closed for echo in echoes if echo.closed] == []
        return all(echo.round_trips > was for echo, was in zip(echoes, before, strict=True))

    await until(moved)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a test's scenario to its end, or to the end of all patience."""

    async def bounded() -> None:
        async with asyncio.timeout(10 * PATIENCE):
            await scenario

    asyncio.run(bounded())
