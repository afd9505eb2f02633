"""A live proxy that asks for every kind of credential, and visitors who show all kinds of them."""

from __future__ import annotations

import json
import re
import secrets
import ssl
import sys
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import bcrypt

from ipyproxy.access.sessions import COOKIE as SESSION
from ipyproxy.access.sessions import seal
from ipyproxy.access.tokens import COOKIE, Keyring, Ticket
from tests.certificates import NOW, Authority

from .live import exchange
from .login import COOKIE as SESSION_COOKIE
from .login import LoginServer, Session
from .proxy import TWISTD, Proxy
from .sentinel import Sentinel

#: What a notebook may require; each has a notebook of its own. "cookie" requires a link as well,
#: of which a visitor shows what it was exchanged for; "session" requires htpasswd, for which a
#: visitor shows what he got when he logged in on the page.
REQUIREMENTS = (
    "htpasswd",
    "session",
    "forward",
    "link",
    "cookie",
    "certificate",
    "link or htpasswd",
    "htpasswd or forward",
    "certificate and htpasswd",
    "forward and link",
)

#: What a visitor may have to show. Only the last one is to pass.
STATES = ("none", "wrong", "expired", "another route's", "another user's", "good")

_METHODS = {"cookie": "link", "session": "htpasswd"}
_SECRET = "0123456789abcdef" * 4
_USERS = {"good": "alice", "another route's": "carol", "another user's": "bob", "expired": "dave"}

_MUTATED = """
import sys
from twisted.internet.defer import succeed
from twisted.scripts.twistd import run
from ipyproxy.auth import Gate
from ipyproxy.access.facts import Admitted
from ipyproxy.gateway.websocket import is_websocket

decide, left_out = Gate.decide, sys.argv[1]

def mutated(self, request, host, path):
    kind = "WebSocket" if is_websocket(request.head) else "HTTP"
    if kind == left_out:
        return succeed(Admitted(None, (), request.target))
    return decide(self, request, host, path)

Gate.decide = mutated
del sys.argv[:2]
run()
"""


@dataclass
class Shown:
    """What one visitor shows: field lines, a token in the address, a certificate's context."""

    lines: list[str] = field(default_factory=list)
    token: str = ""
    tls: ssl.SSLContext | None = None


class Visitor(Proxy):
    """A client's view of the proxy, with a TLS context of its own."""

    def __init__(self, proxy: Proxy, tls: ssl.SSLContext) -> None:
        self.port = proxy.port
        self._tls = tls

    def client_tls(self) -> ssl.SSLContext:
        return self._tls


class Guarded:
    """The proxy, a notebook for each requirement, and the server that knows sessions.

    :param left_out: the kind of request ("HTTP", "WebSocket") for which the proxy is made to
        forget to ask; to see that a test would notice.
    """

    def __init__(self, directory: Path, left_out: str | None = None) -> None:
        self.directory = directory
        self._left_out = left_out
        self._stack = ExitStack()
        self.notebooks: dict[str, Sentinel] = {}
        self.login = LoginServer()
        self.keys = Keyring({"k1": _SECRET})
        self.session_keys = Keyring({"s1": _SECRET})
        self._hashes: dict[str, str] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.login)
            for name in (*REQUIREMENTS, "elsewhere"):
                self.notebooks[name] = stack.enter_context(Sentinel())
            self._write_files()
            twistd = TWISTD if self._left_out is None else _forgetful(self._left_out)
            self.proxy = Proxy(self.directory, self._configuration(), twistd=twistd)
            stack.callback(self.proxy.child.stop)
            self._write_users("alice", "bob", "carol")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    # What the proxy is told.

    def _write_files(self) -> None:
        self._write_users("alice", "bob", "carol", "dave")
        keys = self.directory / "link.keys"
        keys.touch(mode=0o600)
        keys.write_text(f"k1:{_SECRET}\n")
        sessions = {"key": {"s1": _SECRET}, "ended": {}, "left": []}
        (self.directory / "sessions.json").write_text(json.dumps(sessions))
        authority, stranger = Authority("Clients"), Authority("Strangers")
        authority.write(self.directory, "clients")
        now = NOW
        self._certificates = {
            state: authority.issue(subject=user).write(self.directory, user)
            for state, user in _USERS.items()
        }
        old, before = now - timedelta(days=9), now - timedelta(days=1)
        expired = authority.issue(subject="alice", not_before=old, not_after=before)
        self._certificates["expired"] = expired.write(self.directory, "expired")
        wrong = stranger.issue(subject="alice")
        self._certificates["wrong"] = wrong.write(self.directory, "wrong")

    def _write_users(self, *names: str) -> None:
        fresh = self.directory / "users.new"
        for name in names:
            hashed = bcrypt.hashpw(_password(name).encode(), bcrypt.gensalt(4))
            self._hashes[name] = hashed.decode()
        fresh.write_text("".join(f"{name}:{self._hashes[name]}\n" for name in names))
        fresh.replace(self.directory / "users")

    def _configuration(self) -> str:
        rules = [
            f"[[auth.rules]]\npath = '{self.path(name)}'\n"
            f"require = '{_METHODS.get(name, name)}'\nusers = ['alice']\n"
            for name in REQUIREMENTS
        ]
        elsewhere = f"[[auth.rules]]\npath = '{self.path('elsewhere')}'\n"
        rules.append(elsewhere + "require = 'htpasswd or certificate or forward or link'\n")
        return f"""
[tls]
client_ca = "clients.pem"
client_certificates = "optional"
[health]
mode = "off"
[limits]
request_rate = 0
connection_rate = 0
login_failures = 10000
[auth]
htpasswd = "users"
link_keys = "link.keys"
forward_url = "{self.login.url}"
forward_headers = ["X-Auth-Request-Email"]
certificates = ["CN={{user}}"]
{"".join(rules)}
"""

    def path(self, name: str) -> str:
        """The path of the notebook that requires *name*."""
        return f"/ipython/{self.notebooks[name].port}"

    # What visitors show.

    def shown(self, name: str, state: str) -> Shown:
        """What a visitor shows to the notebook that requires *name*: of each method *state*."""
        shown = Shown()
        for method in re.split(r" (?:and|or) ", name):
            if state != "none":
                getattr(self, f"_show_{method}")(shown, name, state)
        return shown

    def _show_htpasswd(self, shown: Shown, name: str, state: str) -> None:
        user = _USERS.get(state, "alice")
        password = "mistyped" if state == "wrong" else _password(user)
        shown.lines.append("Authorization: " + basic(user, password))

    def _show_forward(self, shown: Shown, name: str, state: str) -> None:
        value = f"{state}-{self.notebooks[name].port}".replace(" ", "-").replace("'", "")
        below = self.path("elsewhere" if state == "another route's" else name)
        if state != "wrong":
            user = "bob" if state == "another user's" else "alice"
            self.login.sessions[value] = Session(user, below, state != "expired")
        shown.lines.append(f"Cookie: {SESSION_COOKIE}={value}")

    def _ticket(self, state: str) -> Ticket:
        now = int(time.time())
        user = "bob" if state == "another user's" else "alice"
        return Ticket(user, now - 100, now - 1 if state == "expired" else now + 3600)

    def _show_link(self, shown: Shown, name: str, state: str) -> None:
        route = self.path("elsewhere" if state == "another route's" else name).encode()
        shown.token = self._forged(self.keys.sign(route, self._ticket(state)), state)

    def _show_cookie(self, shown: Shown, name: str, state: str) -> None:
        route = self.path("elsewhere" if state == "another route's" else name).encode()
        value = self._forged(self.keys.bake(route, self._ticket(state)), state)
        shown.lines.append(f"Cookie: {COOKIE.decode()}={value}")

    def _show_session(self, shown: Shown, name: str, state: str) -> None:
        user, now = _USERS.get(state, "alice"), int(time.time())
        expires = now - 1 if state == "expired" else now + 3600
        proof, nonce = self._hashes[user], secrets.token_hex(16)
        value = seal(self.session_keys, user, proof, now - 100, expires, nonce)[1].decode()
        if state == "wrong":
            value = value.replace(nonce, secrets.token_hex(16))
        shown.lines.append(f"Cookie: {SESSION.decode()}={value}")

    def _forged(self, token: bytes, state: str) -> str:
        return token.decode().replace(".alice", ".alicia") if state == "wrong" else token.decode()

    def _show_certificate(self, shown: Shown, name: str, state: str) -> None:
        shown.tls = self.proxy.client_tls()
        shown.tls.load_cert_chain(*self._certificates[state])

    # What comes of it.

    def visit(self, name: str, shown: Shown, *, websocket: bool) -> int:
        """The status of the answer, that of the next one if it leads on; 0: no answer at all."""
        visitor = Visitor(self.proxy, shown.tls or self.proxy.client_tls())
        query = f"?token={shown.token}" if shown.token else ""
        host = f"Host: localhost:{self.proxy.port}"
        status, fields = self._exchange(
            visitor, f"{self.path(name)}/lab{query}", [host, *shown.lines], websocket
        )
        if status == 303:
            cookie = fields["set-cookie"].partition(";")[0]
            lines = [host, *shown.lines, f"Cookie: {cookie}"]
            status, _ = self._exchange(visitor, fields["location"], lines, websocket)
        return status

    def _exchange(
        self, visitor: Visitor, target: str, lines: list[str], websocket: bool
    ) -> tuple[int, Mapping[str, str]]:
        try:
            answer = exchange(visitor, target, lines, websocket=websocket)
        except (ssl.SSLError, ConnectionError):
            return 0, {}
        start, *rest = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        return int(start.split()[1]) if start else 0, fields


def _password(user: str) -> str:
    return f"{user}s pässword"


def basic(user: str, password: str) -> str:
    """The value of an Authorization field."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def _forgetful(kind: str) -> Sequence[str]:
    return (sys.executable, "-c", _MUTATED, kind, "twistd")


def failures(site: Guarded) -> Iterator[tuple[str, str, str]]:
    """Run the whole matrix; gives the kind, requirement and state of each case that goes wrong.

    Whoever is refused must not cause a single connection to a notebook.
    """
    for name in REQUIREMENTS:
        notebook = site.notebooks[name]
        for state in STATES:
            for kind in ("HTTP", "WebSocket"):
                before = sum(each.accepts for each in site.notebooks.values())
                dialled = notebook.accepts
                status = site.visit(name, site.shown(name, state), websocket=kind == "WebSocket")
                passed = status == {"HTTP": 200, "WebSocket": 101}[kind]
                connections = sum(each.accepts for each in site.notebooks.values()) - before
                reached = notebook.accepts - dialled
                right = (
                    (passed, connections, reached) == (True, 1, 1)
                    if state == "good"
                    else status in (0, 401, 403) and connections == 0
                )
                if not right:
                    yield kind, name, state
