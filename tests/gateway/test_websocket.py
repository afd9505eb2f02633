"""A WebSocket on its way through the proxy: what each side says, and what the other hears.

The browser and the notebook are played by the test; all between them is real, but for TLS.
"""

from __future__ import annotations

import base64
import errno
import gc
import hashlib
import subprocess
import sys
import weakref
from dataclasses import replace
from typing import Any

import pytest

from ipyproxy.gateway.websocket import BridgeExchange
from ipyproxy.upstream.places import LONGEST_WAIT
from ipyproxy.upstream.upstream import Traffic
from tests.front import Browser
from tests.web.gate import LIMITS, Gate
from tests.wires import Wire
from tests.wsframes import BINARY, TEXT, Frame, close

PORT = 10001
PATH = b"/ipython/10001/api/kernels/1/channels?session_id=a%2Fb&x=1"
ORIGIN = b"Origin: https://hub.example"
# The example of RFC 6455 section 1.3.
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
VERSION = b"Sec-WebSocket-Version: 13"
UPGRADE = (b"Connection: Upgrade", b"Upgrade: websocket")
HANDSHAKE = (*UPGRADE, KEY, VERSION)

MASK = b"\x12\x34\x56\x78"
HELLO = Frame(TEXT, b"hello").wire
HELLO_MASKED = Frame(TEXT, b"hello", key=MASK).wire
DEFLATED = Frame(TEXT, b"xyz", rsv=4).wire
DEFLATED_MASKED = Frame(TEXT, b"xyz", rsv=4, key=MASK).wire


class Notebook:
    """The notebook's end of one connection."""

    def __init__(self, hall: Hall, wire: Wire) -> None:
        self.hall = hall
        self.wire = wire

    def hear(self) -> bytes:
        self.hall.loop.settle()
        return self.wire.hear()

    def say(self, data: bytes) -> None:
        self.wire.say(data)
        self.hall.loop.settle()

    def hear_request(self) -> Head:
        return Head(self.hear())

    def switch(self, request: Head, *lines: bytes, behind: bytes = b"") -> None:
        """Answer 101, as a server does that understands the request."""
        accept = b"Sec-WebSocket-Accept: " + accept_for(request.one(b"sec-websocket-key"))
        self.answer(b"101 Switching Protocols", *UPGRADE, accept, *lines, behind=behind)

    def answer(self, status: bytes, *lines: bytes, behind: bytes = b"") -> None:
        self.say(b"\r\n".join([b"HTTP/1.1 " + status, *lines, b"", behind]))


class Head:
    """A head as it came over the wire."""

    def __init__(self, data: bytes) -> None:
        block, end, self.behind = data.partition(b"\r\n\r\n")
        assert end, data
        self.first, *self.lines = block.split(b"\r\n")

    def all(self, name: bytes) -> list[bytes]:
        pairs = [line.split(b": ", 1) for line in self.lines]
        return [value for found, value in pairs if found.lower() == name]

    def one(self, name: bytes) -> bytes:
        (value,) = self.all(name)
        return value


def accept_for(key: bytes) -> bytes:
    magic = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return base64.b64encode(hashlib.sha1(key + magic).digest())


class Hall(Gate):
    """The whole way from a browser's connection to a notebook's."""

    def dial_succeeds(self) -> Notebook:
        """The notebook's port takes the connection that was asked for."""
        return Notebook(self, self.notebook())

    def ask(self, *lines: bytes) -> tuple[Browser, Notebook, Head]:
        """A browser's handshake on its way to the notebook."""
        browser = self.connect()
        assert ask(browser, *HANDSHAKE, *lines) == b""
        notebook = self.dial_succeeds()
        return browser, notebook, notebook.hear_request()

    def open(self, *lines: bytes) -> tuple[Browser, Notebook]:
        """An open bridge."""
        browser, notebook, request = self.ask(*lines)
        notebook.switch(request)
        assert browser.hear().startswith(b"HTTP/1.1 101 ")
        return browser, notebook


def ask(browser: Browser, *lines: bytes, behind: bytes = b"", start: bytes = b"GET") -> bytes:
    request_line = start + b" " + PATH + b" HTTP/1.1"
    head = [request_line, b"Host: hub.example", ORIGIN, *lines, b"", behind]
    return browser.say(b"\r\n".join(head))


@pytest.fixture
def hall() -> Hall:
    return Hall()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


class TestTheBrowsersHandshake:
    def test_it_reaches_the_notebook_with_all_that_the_browser_said(self, hall: Hall) -> None:
        _, _, request = hall.ask(
            b"Cookie: _xsrf=2|1; username-127-0-0-1-8888=x",
            b"Authorization: token 1234",
            b"Sec-WebSocket-Protocol: v1.kernel.websocket.jupyter.org, other",
            b"User-Agent: Mozilla/5.0",
        )
        assert request.first == b"GET " + PATH + b" HTTP/1.1"
        assert request.one(b"host") == b"127.0.0.1:10001"
        assert request.one(b"origin") == b"http://127.0.0.1:10001"
        assert request.one(b"cookie") == b"_xsrf=2|1; username-127-0-0-1-8888=x"
        assert request.one(b"authorization") == b"token 1234"
        assert request.one(b"user-agent") == b"Mozilla/5.0"
        assert request.one(b"sec-websocket-protocol") == (b"v1.kernel.websocket.jupyter.org, other")

    def test_the_notebook_gets_a_handshake_of_our_own(self, hall: Hall) -> None:
        _, _, request = hall.ask()
        assert request.one(b"upgrade") == b"websocket"
        assert request.one(b"connection") == b"Upgrade"
        assert request.one(b"sec-websocket-version") == b"13"
        assert not request.all(b"sec-websocket-extensions")
        assert not request.all(b"sec-websocket-protocol")
        key = request.one(b"sec-websocket-key")
        assert len(base64.b64decode(key, validate=True)) == 16
        assert key not in KEY
        assert hall.ask()[2].one(b"sec-websocket-key") != key

    @pytest.mark.parametrize(
        "lines",
        [
            (b"Connection: keep-alive, Upgrade", b"Upgrade: websocket"),  # Firefox
            (b"Connection: keep-alive", b"Connection: Upgrade", b"Upgrade: websocket"),
            (b"connection: UPGRADE", b"upgrade: WebSocket"),
            (b"Connection: ,Upgrade,", b"Upgrade: h2c, websocket"),
        ],
    )
    def test_upgrade_may_be_asked_for_in_many_ways(
        self, hall: Hall, lines: tuple[bytes, ...]
    ) -> None:
        browser = hall.connect()
        ask(browser, *lines, KEY, VERSION)
        notebook = hall.dial_succeeds()
        request = notebook.hear_request()
        assert request.one(b"connection") == b"Upgrade"
        assert request.one(b"upgrade") == b"websocket"
        notebook.switch(request)
        assert status(browser.hear()) == 101

    @pytest.mark.parametrize(
        "lines",
        [
            *[
                [b"Sec-WebSocket-Version: " + version]
                for version in b"8 7 0 14 013 +13 1_3".split()
            ],
            [b"Sec-WebSocket-Version: 13, 8"],
            [b"Sec-WebSocket-Version:"],
            [VERSION, VERSION],
            [],
        ],
    )
    def test_another_version_is_told_which_one_we_speak(
        self, hall: Hall, lines: list[bytes]
    ) -> None:
        browser = hall.connect()
        answer = Head(ask(browser, *UPGRADE, KEY, *lines))
        assert answer.first == b"HTTP/1.1 426 Upgrade Required"
        assert answer.one(b"sec-websocket-version") == b"13"
        assert answer.one(b"upgrade") == b"websocket"
        assert not hall.dialler.attempts

    @pytest.mark.parametrize(
        "lines",
        [
            [],
            [KEY, KEY],
            [b"Sec-WebSocket-Key:"],
            [b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"],
            [b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==="],
            [b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j Q=="],
            [b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\xe9Q=="],
            [KEY, b"Sec-WebSocket-Protocol: a, b, a"],
            [KEY, b"Content-Length: 3"],
            [KEY, b"Transfer-Encoding: chunked"],
        ],
    )
    def test_what_is_no_handshake_is_refused(self, hall: Hall, lines: list[bytes]) -> None:
        browser = hall.connect()
        assert status(ask(browser, *UPGRADE, VERSION, *lines)) == 400
        assert not hall.dialler.attempts
        assert hall.upstream(PORT).open_work == 0

    @pytest.mark.parametrize(
        ("start", "lines"),
        [
            (b"GET", (b"Upgrade: websocket", KEY, VERSION)),
            (b"GET", (b"Connection: upgrade", KEY, VERSION)),
            (b"GET", (b"Connection: upgrade", b"Upgrade: h2c", KEY, VERSION)),
            (b"POST", HANDSHAKE),
        ],
    )
    def test_what_asks_for_no_websocket_is_an_ordinary_request(
        self, hall: Hall, start: bytes, lines: tuple[bytes, ...]
    ) -> None:
        browser = hall.connect()
        ask(browser, *lines, start=start)
        notebook = hall.dial_succeeds()
        request = notebook.hear_request()
        assert not request.all(b"upgrade")
        assert not request.all(b"connection")
        assert not request.all(b"sec-websocket-key")
        notebook.answer(b"400 Bad Request", b"Content-Length: 0")
        assert status(browser.hear()) == 400

    def test_a_token_for_a_subprotocol_passes_whole_beside_many_cookies(self, hall: Hall) -> None:
        """Bokeh and Panel put a session's token into the list of subprotocols."""
        token = b"t" * 16000
        offer = b"Sec-WebSocket-Protocol: bokeh, " + token
        cookies = b"Cookie: " + b"; ".join([b"c%d=%b" % (at, b"v" * 990) for at in range(8)])
        browser, notebook, request = hall.ask(offer, cookies)
        assert request.one(b"sec-websocket-protocol") == b"bokeh, " + token
        assert b"Cookie: " + request.one(b"cookie") == cookies
        notebook.switch(request, b"Sec-WebSocket-Protocol: bokeh")
        answer = browser.hear()
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"\r\nSec-WebSocket-Protocol: bokeh\r\n" in answer


class TestExtensions:
    @pytest.mark.parametrize(
        ("offers", "passed"),
        [
            (
                [b"permessage-deflate; client_max_window_bits"],
                b"permessage-deflate; client_max_window_bits",
            ),
            (
                [
                    b"permessage-deflate;server_max_window_bits=10; client_no_context_takeover ,"
                    b"permessage-deflate"
                ],
                b"permessage-deflate;server_max_window_bits=10; client_no_context_takeover, "
                b"permessage-deflate",
            ),
            ([b"x-webkit-deflate-frame", b"Permessage-Deflate;x=y"], b"Permessage-Deflate;x=y"),
        ],
    )
    def test_compression_is_offered_as_the_browser_does(
        self, hall: Hall, offers: list[bytes], passed: bytes
    ) -> None:
        lines = [b"Sec-WebSocket-Extensions: " + offer for offer in offers]
        _, _, request = hall.ask(*lines)
        assert request.one(b"sec-websocket-extensions") == passed

    @pytest.mark.parametrize(
        "offer", [b"x-webkit-deflate-frame", b"permessage-bzip2, permessage-deflated", b""]
    )
    def test_no_other_extension_is_offered(self, hall: Hall, offer: bytes) -> None:
        _, _, request = hall.ask(b"Sec-WebSocket-Extensions: " + offer)
        assert not request.all(b"sec-websocket-extensions")

    @pytest.mark.parametrize(
        "taken",
        [
            b"permessage-deflate",
            b"permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            b"permessage-deflate;server_max_window_bits=8;client_max_window_bits=15",
            b'permessage-deflate; server_max_window_bits="10"',
        ],
    )
    def test_what_the_notebook_takes_is_what_the_browser_gets(
        self, hall: Hall, taken: bytes
    ) -> None:
        offer = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
        browser, notebook, request = hall.ask(offer)
        notebook.switch(request, b"Sec-WebSocket-Extensions: " + taken, behind=DEFLATED)
        answer = Head(browser.hear())
        assert answer.one(b"sec-websocket-extensions") == taken
        assert answer.behind == DEFLATED
        browser.say(DEFLATED_MASKED)
        assert notebook.hear() == DEFLATED_MASKED

    def test_an_offer_that_the_notebook_leaves_is_left(self, hall: Hall) -> None:
        browser, notebook, request = hall.ask(
            b"Sec-WebSocket-Extensions: permessage-deflate; unheard_of=1"
        )
        notebook.switch(request)
        answer = Head(browser.hear())
        assert answer.first.startswith(b"HTTP/1.1 101 ")
        assert not answer.all(b"sec-websocket-extensions")
        notebook.say(DEFLATED)
        assert browser.hear() == close(1002).wire

    @pytest.mark.parametrize(
        ("offer", "taken"),
        [
            (b"", [b"permessage-deflate"]),
            (b"x-other", [b"x-other"]),
            (b"permessage-deflate", [b"permessage-bzip2"]),
            (b"permessage-deflate", [b"x-webkit-deflate-frame"]),
            (b"permessage-deflate", [b"permessage-deflate, permessage-deflate"]),
            (b"permessage-deflate", [b"permessage-deflate", b"x-other"]),
        ],
    )
    def test_the_notebook_cannot_take_what_was_not_offered(
        self, hall: Hall, offer: bytes, taken: list[bytes]
    ) -> None:
        browser, notebook, request = hall.ask(b"Sec-WebSocket-Extensions: " + offer)
        notebook.switch(request, *[b"Sec-WebSocket-Extensions: " + value for value in taken])
        assert status(browser.hear()) == 502
        assert notebook.wire.was_reset


class TestTheNotebooksAnswer:
    def test_it_is_mirrored_to_the_browser(self, hall: Hall) -> None:
        browser, notebook, request = hall.ask(b"Sec-WebSocket-Protocol: a, b")
        notebook.switch(
            request,
            b"Sec-WebSocket-Protocol: b",
            b"Server: TornadoServer/6",
            b"X-Name: caf\xe9\x85caf\xc3\xa9",
            b"Set-Cookie: a=1; Path=/; Domain=evil",
            b"Set-Cookie: b=2",
        )
        answer = Head(browser.hear())
        assert answer.first.startswith(b"HTTP/1.1 101 ")
        assert answer.one(b"upgrade").lower() == b"websocket"
        assert answer.one(b"connection").lower() == b"upgrade"
        assert ACCEPT in answer.lines
        assert answer.one(b"sec-websocket-protocol") == b"b"
        assert answer.one(b"server") == b"TornadoServer/6"
        assert answer.one(b"x-name") == b"caf\xe9\x85caf\xc3\xa9"
        assert [cookie[:3] for cookie in answer.all(b"set-cookie")] == [b"a=1", b"b=2"]
        assert b"evil" not in b"".join(answer.lines)

    def test_no_subprotocol_is_an_answer_too(self, hall: Hall) -> None:
        browser, notebook, request = hall.ask(b"Sec-WebSocket-Protocol: a, b")
        notebook.switch(request)
        assert not Head(browser.hear()).all(b"sec-websocket-protocol")

    @pytest.mark.parametrize(
        ("offered", "chosen"),
        [
            ([b"a, b"], [b"c"]),
            ([b"a, b"], [b"a, b"]),
            ([b"a, b"], [b"a", b"b"]),
            ([b"a"], [b"A"]),
            ([b"a"], [b"a\x85"]),
            ([], [b"a"]),
        ],
    )
    def test_a_subprotocol_that_was_not_offered_is_an_error(
        self, hall: Hall, offered: list[bytes], chosen: list[bytes]
    ) -> None:
        name = b"Sec-WebSocket-Protocol: "
        browser, notebook, request = hall.ask(*[name + value for value in offered])
        notebook.switch(request, *[name + value for value in chosen])
        assert status(browser.hear()) == 502
        assert notebook.wire.was_reset

    def test_subprotocols_may_come_in_several_fields(self, hall: Hall) -> None:
        name = b"Sec-WebSocket-Protocol: "
        browser, notebook, request = hall.ask(name + b"a", name + b"b,c")
        assert request.all(b"sec-websocket-protocol") == [b"a", b"b,c"]
        notebook.switch(request, name + b"c")
        assert Head(browser.hear()).one(b"sec-websocket-protocol") == b"c"

    @pytest.mark.parametrize(
        "answer",
        [
            b"403 Forbidden",
            b"404 Not Found",
            b"426 Upgrade Required",
            b"429 Too Many Requests",
            b"500 Internal Server Error",
            b"503 Service Unavailable",
            b"302 Found",
            b"200 OK",
        ],
    )
    def test_a_refusal_is_passed_on_and_nothing_behind_it_is_a_request(
        self, hall: Hall, answer: bytes
    ) -> None:
        browser, notebook, _ = hall.ask()
        notebook.answer(answer, b"Content-Length: 2", b"X-Why: because", behind=b"no")
        head = Head(browser.hear())
        assert head.first == b"HTTP/1.1 " + answer
        assert head.one(b"x-why") == b"because"
        assert head.one(b"connection") == b"close"
        assert not head.all(b"sec-websocket-accept")
        assert head.behind == b"no"
        assert browser.wire.is_shut
        assert ask(browser) == b""
        assert browser.say(HELLO_MASKED) == b""
        assert notebook.hear() == b""
        assert not hall.dialler.attempts
        assert hall.upstream(PORT).open_work == 0

    def test_a_refusal_reaches_a_client_that_has_sent_ahead(self, hall: Hall) -> None:
        smuggled = b"GET /ipython/10001/ HTTP/1.1\r\nHost: hub.example\r\n\r\n"
        browser = hall.connect()
        ask(browser, *HANDSHAKE, behind=HELLO_MASKED + smuggled)
        notebook = hall.dial_succeeds()
        assert notebook.hear_request().behind == b""
        notebook.answer(b"403 Forbidden", b"Content-Length: 0")
        assert status(browser.hear()) == 403
        assert notebook.hear() == b""
        assert not hall.dialler.attempts

    @pytest.mark.parametrize(
        "lines",
        [
            [*UPGRADE],
            [*UPGRADE, ACCEPT],
            [*UPGRADE, b"Sec-WebSocket-Accept:"],
            [b"Upgrade: websocket", b"{accept}"],
            [b"Connection: Upgrade", b"{accept}"],
            [b"Connection: Upgrade", b"Upgrade: h2c", b"{accept}"],
            [*UPGRADE, b"{accept}", b"{accept}"],
            [*UPGRADE, b"{accept}, {accept}"],
            [*UPGRADE, b"{accept}\xff"],
        ],
    )
    def test_a_101_that_is_none_opens_no_tunnel(self, hall: Hall, lines: list[bytes]) -> None:
        browser = hall.connect()
        ask(browser, *HANDSHAKE, behind=HELLO_MASKED)
        notebook = hall.dial_succeeds()
        request = notebook.hear_request()
        accept = b"Sec-WebSocket-Accept: " + accept_for(request.one(b"sec-websocket-key"))
        lines = [line.replace(b"{accept}", accept) for line in lines]
        notebook.answer(b"101 Switching Protocols", *lines, behind=HELLO)
        heard = browser.hear()
        assert status(heard) == 502
        assert HELLO not in heard
        assert notebook.wire.was_reset
        assert notebook.hear() == b""
        assert hall.upstream(PORT).open_work == 0
        assert not hall.bridges.open

    @pytest.mark.plain
    def test_a_fault_of_our_own_is_an_answer_too(
        self, hall: Hall, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any) -> list[bytes]:
            raise ZeroDivisionError

        browser, notebook, request = hall.ask()
        monkeypatch.setattr("ipyproxy.gateway.websocket.response_fields", fail)
        notebook.switch(request)
        assert status(browser.hear()) == 502
        assert isinstance(hall.loop.failures.pop(), ZeroDivisionError)
        assert notebook.wire.is_closed
        assert hall.upstream(PORT).open_work == 0
        assert not hall.bridges.open

    def test_a_101_of_http_1_0_is_none(self, hall: Hall) -> None:
        browser, notebook, request = hall.ask()
        accept = b"Sec-WebSocket-Accept: " + accept_for(request.one(b"sec-websocket-key"))
        head = [b"HTTP/1.0 101 Switching Protocols", *UPGRADE, accept, b"", b""]
        notebook.say(b"\r\n".join(head))
        assert status(browser.hear()) == 502

    def test_a_101_that_nobody_asked_for_opens_no_tunnel(self, hall: Hall) -> None:
        browser = hall.connect()
        ask(browser)
        notebook = hall.dial_succeeds()
        notebook.hear_request()
        notebook.answer(b"101 Switching Protocols", *UPGRADE, ACCEPT)
        assert status(browser.hear()) == 502
        assert notebook.wire.was_reset

    def test_a_101_may_come_byte_by_byte_and_with_frames_behind_it(self, hall: Hall) -> None:
        browser, notebook, request = hall.ask()
        accept = b"Sec-WebSocket-Accept: " + accept_for(request.one(b"sec-websocket-key"))
        answer = b"\r\n".join([b"HTTP/1.1 101 OK", *UPGRADE, accept, b"", HELLO + HELLO])
        for at in range(len(answer)):
            notebook.say(answer[at : at + 1])
        assert Head(browser.hear()).behind == HELLO + HELLO

    def test_none_within_the_time_is_504(self, hall: Hall) -> None:
        browser, notebook, _ = hall.ask()
        hall.loop.pass_time(61, hall.server.sweep, hall.pool.sweep)
        assert status(browser.hear()) == 504
        assert notebook.wire.was_reset

    def test_a_handshake_has_a_deadline_where_requests_have_none(self) -> None:
        hall = Hall(client_limits=replace(LIMITS, response_timeout=0.0))
        browser, notebook, _ = hall.ask()
        hall.wait(59)
        notebook.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert b" 504 " not in browser.hear()
        hall.wait(2)
        assert status(browser.hear()) == 504
        assert notebook.wire.was_reset

    def test_an_open_bridge_has_no_deadline(self) -> None:
        hall = Hall(client_limits=replace(LIMITS, response_timeout=0.0))
        browser, notebook = hall.open()
        hall.wait(100)
        notebook.say(HELLO)
        assert browser.hear() == HELLO

    def test_a_port_where_nobody_listens_is_503(self, hall: Hall) -> None:
        browser = hall.connect()
        ask(browser, *HANDSHAKE)
        hall.dialler.next().fail(errno.ECONNREFUSED)
        assert status(browser.hear()) == 503

    def test_a_notebook_that_hangs_up_is_502(self, hall: Hall) -> None:
        browser, notebook, _ = hall.ask()
        notebook.wire.hang_up()
        assert status(browser.hear()) == 502

    def test_a_kept_connection_that_was_closed_is_not_the_browsers_affair(self, hall: Hall) -> None:
        browser = hall.connect()
        ask(browser)
        kept = hall.dial_succeeds()
        kept.answer(b"200 OK", b"Content-Length: 0")
        kept.hear()
        ask(browser, *HANDSHAKE)
        assert kept.hear().startswith(b"GET ")
        kept.wire.hang_up()
        hall.loop.settle()
        notebook = hall.dial_succeeds()
        notebook.switch(notebook.hear_request())
        assert b"HTTP/1.1 101 " in browser.hear()


class TestTheBridge:
    def test_frames_pass_verbatim(self, hall: Hall) -> None:
        browser, notebook = hall.open()
        browser.say(HELLO_MASKED)
        assert notebook.hear() == HELLO_MASKED
        notebook.say(HELLO)
        assert browser.hear() == HELLO

    def test_frames_behind_the_browsers_handshake_wait_for_the_answer(self, hall: Hall) -> None:
        browser = hall.connect()
        ask(browser, *HANDSHAKE, behind=HELLO_MASKED)
        notebook = hall.dial_succeeds()
        request = notebook.hear_request()
        assert request.behind == b""
        notebook.switch(request, behind=HELLO)
        assert notebook.hear() == HELLO_MASKED
        assert Head(browser.hear()).behind == HELLO

    def test_any_number_of_bytes_may_come_ahead_of_the_answer(self, hall: Hall) -> None:
        big = Frame(BINARY, bytes(500_000), key=MASK).wire
        browser, notebook, request = hall.ask()
        browser.say(big)
        assert notebook.hear() == b""
        notebook.switch(request)
        assert notebook.hear() == big
        browser.say(HELLO_MASKED)
        assert notebook.hear() == HELLO_MASKED

    def test_what_comes_ahead_is_held_in_bounds(self, hall: Hall) -> None:
        browser, _, _ = hall.ask()
        for _ in range(100):
            browser.say(bytes(65536))
        held = browser.channel._codec.unread
        assert len(held) <= 3 * 65536

    def test_a_violation_in_the_first_segment_is_one(self, hall: Hall) -> None:
        browser = hall.connect()
        ask(browser, *HANDSHAKE, behind=HELLO)  # not masked
        notebook = hall.dial_succeeds()
        notebook.switch(notebook.hear_request(), behind=HELLO + close(1000).wire)
        assert Head(browser.hear()).behind == HELLO + close(1002).wire

    def test_the_notebook_that_dies_ends_the_connection_without_a_close_frame(
        self, hall: Hall
    ) -> None:
        browser, notebook = hall.open()
        notebook.wire.hang_up()
        assert browser.hear() == b""
        browser.hang_up()
        assert [note.partition(";")[0] for _, _, note in hall.log] == [
            "close 1006 after 0.0 s: notebook gone"
        ]
        assert hall.upstream(PORT).open_work == 0

    def test_it_counts_as_work_on_its_port_until_it_is_over(self) -> None:
        hall = Hall(per_port=1)
        browser, notebook = hall.open()
        assert len(hall.upstream(PORT).bridges) == 1
        assert hall.upstream(PORT).exchanges == 0
        other = hall.connect()
        assert ask(other, *HANDSHAKE) == b"", "it waits for a place"
        hall.wait(LONGEST_WAIT + 1)
        assert status(other.hear()) == 503
        browser.hang_up()
        assert len(hall.upstream(PORT).bridges) == 1
        notebook.wire.hang_up()
        hall.loop.settle()
        assert not hall.upstream(PORT).bridges

    def test_it_has_one_line_in_the_log_at_its_end(self, hall: Hall) -> None:
        browser, notebook = hall.open()
        browser.say(HELLO_MASKED * 2 + close(1000, key=MASK).wire)
        notebook.say(HELLO * 3 + close(1000).wire)
        hall.wait(7)
        assert hall.log == []
        browser.hang_up()
        notebook.wire.hang_up()
        hall.loop.settle()
        up, down = 2 * len(HELLO_MASKED) + 8, 3 * len(HELLO) + 4
        note = (
            f"close 1000 after 7.0 s: client closed; 2 messages in {up} bytes up, 3 in {down} down"
        )
        assert hall.log == [(101, "192.0.2.1", note)]
        [request] = hall.recorded
        assert request.body_bytes_sent == down
        assert request.bridge == {
            "close_code": 1000,
            "end": "client closed",
            "bytes_up": up,
            "bytes_down": down,
            "messages_up": 2,
            "messages_down": 3,
        }

    def test_its_upstream_knows_what_it_has_carried(self, hall: Hall) -> None:
        upstream = hall.upstream(PORT)
        browser, notebook = hall.open()
        hall.wait(3)
        browser.say(HELLO_MASKED)
        notebook.say(HELLO * 2)
        carried = Traffic(len(HELLO_MASKED), 2 * len(HELLO), 1, 2)
        (bridge,) = upstream.bridges
        assert bridge.traffic == upstream.traffic == carried
        assert bridge.opened == hall.loop.seconds() - 3
        hall.bridges.sweep()
        assert bridge.last_activity == upstream.person_active_at == hall.loop.seconds()
        browser.hang_up()
        notebook.wire.hang_up()
        hall.loop.settle()
        assert (upstream.bridges, upstream.traffic) == (set(), carried)

    def test_a_browser_that_leaves_while_we_dial_leaves_nothing_behind(self, hall: Hall) -> None:
        browser = hall.connect()
        ask(browser, *HANDSHAKE)
        browser.hang_up()
        assert hall.dialler.next().cancelled
        assert hall.upstream(PORT).open_work == 0
        assert [status for status, _, _ in hall.log] == [499]

    def test_a_browser_that_leaves_before_the_answer_leaves_nothing_behind(
        self, hall: Hall
    ) -> None:
        browser, notebook, _ = hall.ask()
        browser.hang_up()
        assert notebook.wire.was_reset
        assert hall.upstream(PORT).open_work == 0
        assert [status for status, _, _ in hall.log] == [499]

    @pytest.mark.plain
    def test_autobahns_objects_are_let_go_of(
        self, hall: Hall, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[weakref.ref[Any]] = []
        start = BridgeExchange.start

        def watched(exchange: BridgeExchange) -> None:
            start(exchange)
            assert exchange._pair is not None
            made.extend(map(weakref.ref, exchange._pair))

        monkeypatch.setattr(BridgeExchange, "start", watched)
        hall.open()
        gc.collect()
        assert [ref() for ref in made] == [None, None]
        assert len(hall.bridges.open) == 1

    def test_nothing_went_wrong_out_of_sight(self, hall: Hall) -> None:
        browser, notebook = hall.open()
        browser.hang_up()
        notebook.wire.hang_up()
        hall.loop.settle()
        assert not hall.loop.failures
        assert not hall.loop.getDelayedCalls()


def run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_autobahn_brings_neither_its_native_code_nor_a_reactor() -> None:
    modules = run("import ipyproxy.websocket.handshake, sys; print(*sys.modules)").split()
    assert "autobahn.nvx._utf8validator" not in modules
    assert "pycparser" not in modules
    assert "twisted.internet.reactor" not in modules
