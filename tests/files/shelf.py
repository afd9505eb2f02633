"""A directory behind the public site in memory, and a disk that answers when the test says so."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, execute

from ipyproxy.access.origins import Policy
from ipyproxy.files import opening
from ipyproxy.files.resource import Files
from ipyproxy.web.site import PublicSite
from tests.front import Browser, House, mounts_of

LARGE = bytes(range(256)) * 16384  # 4 MiB
THEN = 784111777


def site_in(directory: Path) -> Path:
    """A site, and a secret beside it."""
    (directory / "secret").write_text("secret")
    site = directory / "site"
    (site / "docs").mkdir(parents=True)
    (site / "empty").mkdir()
    (site / ".git").mkdir()
    (site / ".git" / "config").write_text("secret")
    (site / "index.html").write_text("<h1>home</h1>")
    (site / "docs" / "index.html").write_text("<h1>docs</h1>")
    (site / "a b.txt").write_text("0123456789")
    (site / "none").write_text("")
    (site / "large.bin").write_bytes(LARGE)
    os.utime(site / "a b.txt", (THEN, THEN))
    return site


class Reader:
    """Stands in for the disk: keeps what would wait until :meth:`answer`."""

    def __init__(self, *, at_once: bool) -> None:
        self.at_once = at_once
        self.waiting: deque[Callable[[], object]] = deque()

    def of(self, directory: str) -> Any:
        return self

    def run(self, client: str, work: Callable[[], Any]) -> Deferred[Any]:
        result: Deferred[Any] = Deferred()
        self.waiting.append(lambda: execute(work).chainDeferred(result))
        if self.at_once:
            self.answer()
        return result

    def answer(self) -> None:
        """The disk answers what has waited longest."""
        self.waiting.popleft()()


class Answer(NamedTuple):
    """An answer taken apart; names of fields in lower case."""

    status: int
    fields: dict[str, str]
    body: bytes


def read(heard: bytes) -> Answer:
    head, _, body = heard.partition(b"\r\n\r\n")
    start, *lines = head.decode("latin-1").split("\r\n")
    fields = dict(map(_field, lines))
    return Answer(int(start.split(" ")[1]), fields, body)


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(": ")
    return name.lower(), value


class Shelf(House):
    """Serves ``directory`` at ``prefix`` of the host ``here``.

    :param reads_at_once: whether the disk answers at once.
    """

    def __init__(
        self, directory: Path, *, prefix: str = "", reads_at_once: bool = True, **settings: Any
    ) -> None:
        self.disk = Reader(at_once=reads_at_once)
        files = Files(directory, self.disk, prefix=prefix, **settings)  # type: ignore[arg-type]
        super().__init__(site=PublicSite(mounts_of(files), Policy(["here"], [])))

    def get(self, path: str, *lines: str, browser: Browser | None = None) -> Answer:
        """What a browser gets."""
        asked = (browser or self.connect()).get(path.encode(), *(line.encode() for line in lines))
        return read(asked)

    def ask(self, method: str, path: str, *lines: str) -> Answer:
        """What is answered to another method."""
        head = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: here", *lines, "", ""])
        return read(self.connect().say(head.encode()))


def open_descriptors() -> set[str]:
    """What this process has open below temporary directories."""
    found = set()
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(handle.readlink()))
    return {path for path in found if "pytest" in path}


def let_all_wait(patch: Any) -> None:
    """Nothing can be had at once: as on a network, or of a disk that was not read yet."""
    patch.setattr(opening, "_NEAR", frozenset())


def have_an_old_kernel(patch: Any) -> None:
    """The kernel has no openat2, as before Linux 5.6: another number is no call at all."""
    patch.setattr(opening, "_OPENAT2", 9999)
