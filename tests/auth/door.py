"""Notebooks that open to signed links, and whoever knocks there."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import execute
from twisted.internet.task import Clock

from ipyproxy.access.rules import Rule, Rules, parse_requirement
from ipyproxy.access.sessions import OWN_COOKIES
from ipyproxy.access.tokens import COOKIE, Keyring, Ticket
from ipyproxy.auth import Gate as AuthGate
from ipyproxy.auth.link import Links, key_file
from ipyproxy.auth.lookout import FRESH_FOR
from ipyproxy.auth.revocations import Revocations
from ipyproxy.auth.sessions import Sessions
from ipyproxy.web.login import LoginPages
from tests.auth.asking import watched
from tests.front import Browser
from tests.web.gate import Gate, ask

KEYS = "k1:" + "s" * 40 + "\n"
RING = Keyring({"k1": "s" * 40})
NOW = 1_000_000


def link(port: int = 10000, user: str = "alice", issued: int = NOW - 10, lasts: int = 60) -> bytes:
    return RING.sign(b"/ipython/%d" % port, Ticket(user, issued, issued + lasts))


def cookie(port: int = 10000, user: str = "alice", issued: int = NOW - 10) -> bytes:
    value = RING.bake(b"/ipython/%d" % port, Ticket(user, issued, issued + 60))
    return b"Cookie: " + COOKIE + b"=" + value


class Door:
    """Notebooks that open to links."""

    def __init__(self, directory: Path) -> None:
        self.clock = Clock()
        self.file = directory / "keys"
        self.write(KEYS)
        self.now = float(NOW)
        self.revocations = Revocations(execute)
        sessions = Sessions(execute, lambda: self.now)
        gate = AuthGate(
            Rules(
                [
                    Rule(b"/ipython", parse_requirement("link")),
                    Rule(b"/ipython/10001", parse_requirement("link"), frozenset({"alice"})),
                    Rule(b"/ipython/10002", parse_requirement("none")),
                ]
            ),
            {"link": Links(watched(key_file(self.file), self.clock), lambda: self.now, sessions)},
            prefix="/ipython",
            revoked=self.revocations.of,
        )
        self.gate = Gate(
            auth=gate,
            site_cookies=tuple(name.decode() for name in OWN_COOKIES),
            login=LoginPages(None, sessions, "Lab"),
        )

    def write(self, text: str) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(text)
        fresh.chmod(0o640)
        fresh.replace(self.file)
        # The file is looked at anew.
        self.clock.advance(FRESH_FOR)

    def knock(self, target: bytes, *lines: bytes, method: bytes = b"GET") -> tuple[Browser, bytes]:
        browser = self.gate.connect()
        return browser, ask(browser, b"%b %b HTTP/1.1" % (method, target), *lines)

    def status(self, target: bytes, *lines: bytes, method: bytes = b"GET") -> int:
        """The status of an answer; 200 stands for a request that reaches a notebook."""
        _, heard = self.knock(target, *lines, method=method)
        if heard:
            assert self.gate.dialler.attempts == []
            return int(heard.split(b" ", 2)[1])
        self.upstream = self.gate.notebook().hear()
        return 200
