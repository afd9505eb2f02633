"""A browser's WebSocket handshake: what reaches the notebook, and what is refused before."""

from __future__ import annotations

import base64

import pytest

from tests.front import status_of
from tests.gateway.hall import (
    HANDSHAKE,
    KEY,
    MASK,
    PATH,
    PORT,
    UPGRADE,
    VERSION,
    Hall,
    Head,
    ask,
)
from tests.wsframes import TEXT, Frame, close

DEFLATED = Frame(TEXT, b"xyz", rsv=4).wire
DEFLATED_MASKED = Frame(TEXT, b"xyz", rsv=4, key=MASK).wire


@pytest.fixture
def hall() -> Hall:
    return Hall()


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
        assert status_of(browser.hear()) == 101

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
        assert status_of(ask(browser, *UPGRADE, VERSION, *lines)) == 400
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
        assert status_of(browser.hear()) == 400

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
        assert status_of(browser.hear()) == 502
        assert notebook.wire.was_reset
