"""A site with a login page, in memory: people who log in, and programs that show a password."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

import bcrypt
from twisted.internet.defer import execute
from twisted.internet.task import Clock

from ipyproxy.access.reserved import ReservedFields
from ipyproxy.access.rules import Rule, Rules, parse_requirement
from ipyproxy.access.sessions import OWN_COOKIES
from ipyproxy.auth import Gate as AuthGate
from ipyproxy.auth import Method
from ipyproxy.auth.htpasswd import Htpasswd, user_file
from ipyproxy.auth.login import PasswordLogin
from ipyproxy.auth.lookout import FRESH_FOR
from ipyproxy.auth.sessions import Sessions
from ipyproxy.web.login import LoginPages
from tests.auth.asking import Counted, PlayedThreads, watched
from tests.front import Browser
from tests.gateway.hall import Hall
from tests.web.gate import HOST, message

ORIGIN = b"Origin: https://hub.example"
LIFETIME = 3600
# What Chromium says when somebody opens a page, and what a page's script says.
OPENS = (
    b"Accept: text/html,application/xhtml+xml,*/*;q=0.8",
    b"Sec-Fetch-Site: none",
    b"Sec-Fetch-Mode: navigate",
    b"Sec-Fetch-Dest: document",
)
FETCHES = (
    b"Accept: */*",
    b"Sec-Fetch-Site: same-origin",
    b"Sec-Fetch-Mode: cors",
    b"Sec-Fetch-Dest: empty",
)
TOKEN = b"Authorization: token 0123"


def typed(name: str, password: str) -> bytes:
    """A password as a program shows it."""
    return b"Authorization: Basic " + b64encode(f"{name}:{password}".encode())


def form(name: str, password: str) -> bytes:
    """A password as a browser sends the form."""
    return f"name={quote(name)}&password={quote(password)}".encode()


class Answer:
    """An answer of the proxy's own."""

    def __init__(self, heard: bytes) -> None:
        head, _, body = heard.partition(b"\r\n\r\n")
        start, *self.lines = head.split(b"\r\n")
        self.status = int(start.split(b" ")[1]) if start else 0
        self.body = body.decode()

    def all(self, name: bytes) -> list[bytes]:
        """The values of a field."""
        start = name.lower() + b": "
        return [line[len(start) :] for line in self.lines if line.lower().startswith(start)]

    def one(self, name: bytes) -> bytes:
        """The value of a field that is there once."""
        (value,) = self.all(name)
        return value


class Entrance:
    """The proxy, with a file of users.

    :param rules: path, requirement, and the only users if there are such.
    """

    def __init__(
        self,
        directory: Path,
        *rules: tuple[str, str, str],
        methods: dict[str, Method] | None = None,
        notebook_domain: str = "",
        trusted_origins: tuple[str, ...] = (),
    ) -> None:
        self.directory = directory
        self.clock = Clock()
        self.now = 1_000_000.0
        self.passwords = {"alice": "a", "bob": "b", "zoë": "zë"}
        self.write()
        self.threads = PlayedThreads()
        self.attempts = Counted()
        self.sessions = Sessions(execute, lambda: self.now)
        self.login = self.make_login()
        made = Rules(
            Rule(path.encode(), parse_requirement(require), frozenset(users.split()))
            for path, require, users in rules or [("/ipython", "htpasswd", "")]
        )
        gate = AuthGate(made, {"htpasswd": self.login, **(methods or {})}, prefix="/ipython")
        self.hall = Hall(
            auth=gate,
            reserved=ReservedFields(["X-Remote-User"], basic=True),
            site_cookies=tuple(name.decode() for name in OWN_COOKIES),
            login=LoginPages(self.login, self.sessions, "Example Lab <it@example.org>"),
            notebook_domain=notebook_domain,
            trusted_origins=trusted_origins,
        )

    def make_login(self) -> PasswordLogin:
        """The method, made anew as by a reload."""
        users = watched(user_file(self.directory / "users"), self.clock)
        passwords = Htpasswd(users, self.clock, self.threads, self.attempts)
        return PasswordLogin(passwords, self.sessions, LIFETIME)

    def write(self) -> None:
        """Write the file of users."""
        fresh = self.directory / "users.new"
        salt = bcrypt.gensalt(4)
        lines = [
            f"{name}:{bcrypt.hashpw(password.encode(), salt).decode()}\n"
            for name, password in self.passwords.items()
        ]
        fresh.write_text("".join(lines))
        fresh.replace(self.directory / "users")
        self.look_again()

    def look_again(self) -> None:
        """The file of users is looked at anew."""
        self.clock.advance(FRESH_FOR)

    # What clients send.

    def ask(
        self, target: str, *lines: bytes, host: bytes = HOST, method: bytes = b"GET"
    ) -> tuple[Browser, Answer]:
        """Send a request; the answer's status is 0 if it went to a notebook."""
        browser = self.hall.connect()
        start = b"%b %b HTTP/1.1" % (method, target.encode())
        return browser, Answer(browser.say(message(start, host, *lines)))

    def post(
        self, target: str, body: bytes, *lines: bytes, host: bytes = HOST
    ) -> tuple[Browser, Answer]:
        """Send a form, and do what is waited for in threads."""
        browser = self.hall.connect()
        length = b"Content-Length: %d" % len(body)
        start = b"POST %b HTTP/1.1" % target.encode()
        heard = browser.say(message(start, host, length, *lines, body=body))
        self.threads.work()
        return browser, Answer(heard + browser.hear())

    def log_in(
        self,
        name: str = "alice",
        password: str = "a",
        to: str = "/_ipyproxy/login",
        *lines: bytes,
    ) -> Answer:
        """Send the form of the login page, as a browser does."""
        return self.post(to, form(name, password), ORIGIN, *lines)[1]

    def cookie(self, name: str = "alice", password: str = "a") -> bytes:
        """Log in; gives the line that the browser sends from then on."""
        answer = self.log_in(name, password)
        assert answer.status == 303
        return b"Cookie: " + answer.one(b"set-cookie").partition(b";")[0]

    def passes(self, target: str, *lines: bytes) -> bytes | None:
        """The head that a notebook gets; None if the request is not let through."""
        _, answer = self.ask(target, *lines)
        if answer.status:
            assert self.hall.dialler.attempts == []
            return None
        return self.hall.notebook().hear()
