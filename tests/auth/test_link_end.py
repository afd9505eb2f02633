"""How what a link opened ends: by a log-out, with the link, or with its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipyproxy.access.sessions import BROWSER_COOKIE
from ipyproxy.auth.lookout import FRESH_FOR
from tests.auth.door import KEYS, Door, cookie, link
from tests.front import Browser
from tests.gateway.hall import Head, accept_for
from tests.web.gate import HOST, head_of, message
from tests.web.test_admission import WEBSOCKET


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


class Jar:
    """A browser's cookies, by the paths that they are shown at."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.cookies: dict[tuple[bytes, bytes], bytes] = {}

    def follow(self, token: bytes, port: int = 10000) -> None:
        """Open a link, and take what is given."""
        target = b"/ipython/%d/?token=%b" % (port, token)
        _, heard = self.door.knock(target, self.line(target))
        assert heard.startswith(b"HTTP/1.1 303 ")
        self.take(heard)

    def take(self, heard: bytes) -> None:
        for line in head_of(heard)[1]:
            if line.startswith(b"Set-Cookie: "):
                pair, path, *_ = line.removeprefix(b"Set-Cookie: ").split(b"; ")
                name, _, value = pair.partition(b"=")
                self.cookies[name, path.removeprefix(b"Path=")] = value

    def line(self, target: bytes) -> bytes:
        """What the browser shows at ``target``."""
        shown = [
            b"%b=%b" % (name, value)
            for (name, path), value in self.cookies.items()
            if value and target.startswith(path)
        ]
        return b"Cookie: " + b"; ".join(shown or [b"a=b"])

    def status(self, target: bytes) -> int:
        return self.door.status(target, self.line(target))

    def log_out(self) -> None:
        path = b"/_ipyproxy/logout"
        browser = self.door.gate.connect()
        lines = [HOST, b"Origin: https://hub.example", self.line(path), b"Content-Length: 0"]
        heard = browser.say(message(b"POST %b HTTP/1.1" % path, *lines))
        assert heard.startswith(b"HTTP/1.1 200 ")
        self.take(heard)


class TestLoggingOut:
    def test_a_browser_leaves_all_notebooks_at_once(self, door: Door) -> None:
        mine, other = Jar(door), Jar(door)
        for jar in (mine, other):
            jar.follow(link())
        mine.follow(link(port=10003), port=10003)
        paths = (b"/ipython/10000/", b"/ipython/10003/", b"/_ipyproxy/state/10000")
        assert [mine.status(path) for path in paths] == [200] * 3
        mine.log_out()
        assert [mine.status(path) for path in paths] == [403] * 3
        assert other.status(b"/ipython/10000/") == 200

    def test_a_cookie_that_somebody_has_kept_is_worth_nothing(self, door: Door) -> None:
        jar = Jar(door)
        jar.follow(link())
        kept = dict(jar.cookies)
        jar.log_out()
        jar.cookies = kept
        assert jar.status(b"/ipython/10000/") == 403

    def test_the_link_itself_is_as_good_as_before(self, door: Door) -> None:
        jar = Jar(door)
        jar.follow(link())
        jar.log_out()
        jar.follow(link())
        assert jar.status(b"/ipython/10000/") == 200

    def test_nobody_else_can_say_who_a_browser_is(self, door: Door) -> None:
        jar = Jar(door)
        jar.follow(link())
        name, path = next(key for key in jar.cookies if key[0] == BROWSER_COOKIE)
        known = jar.cookies[name, path]
        for value in (known[:-1] + b"x", known.replace(b"v1.", b"v2."), b"v1.k." + known[-97:]):
            forger = Jar(door)
            forger.cookies[name, path] = value
            forger.log_out()
        assert jar.status(b"/ipython/10000/") == 200

    def test_there_is_no_page_to_log_in_on(self, door: Door) -> None:
        assert door.status(b"/_ipyproxy/login") == 404
        heard = door.knock(b"/_ipyproxy/logout")[1]
        assert heard.startswith(b"HTTP/1.1 200 ")

    def test_open_websockets_end(self, door: Door) -> None:
        jar = Jar(door)
        jar.follow(link())
        browser = TestAWebSocketThatIsOpen().open(door, jar.line(b"/ipython/10000/"))
        door.gate.wait(1)
        assert browser.is_connected
        jar.log_out()
        door.gate.wait(1)
        assert not browser.is_connected


class TestAWebSocketThatIsOpen:
    def open(self, door: Door, line: bytes) -> Browser:
        browser, heard = door.knock(b"/ipython/10000/ws", line, *WEBSOCKET)
        assert heard == b""
        notebook = door.gate.notebook()
        request = Head(notebook.hear())
        accept = accept_for(request.one(b"sec-websocket-key"))
        answer = message(
            b"HTTP/1.1 101 Switching Protocols",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Accept: " + accept,
        )
        door.gate.tell(notebook, answer)
        assert browser.hear().startswith(b"HTTP/1.1 101 ")
        return browser

    def test_it_ends_with_the_link(self, door: Door) -> None:
        browser = self.open(door, cookie())
        door.now += 49
        door.gate.wait(1)
        assert browser.is_connected
        door.now += 1
        door.gate.wait(1)
        assert not browser.is_connected

    def test_and_with_the_key(self, door: Door) -> None:
        browser = self.open(door, cookie())
        door.write("k2:" + "t" * 40 + "\n" + KEYS)
        door.gate.wait(1)
        assert browser.is_connected
        door.file.unlink()
        door.clock.advance(FRESH_FOR)
        door.gate.wait(1)
        assert browser.is_connected, "it can't be told"
        door.write("k2:" + "t" * 40 + "\n")
        door.gate.wait(1)
        assert not browser.is_connected
