"""A notebook's answer to a WebSocket handshake: 101, a refusal, or none."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

import pytest

from tests.front import status_of
from tests.gateway.hall import (
    HANDSHAKE,
    HELLO,
    HELLO_MASKED,
    PORT,
    UPGRADE,
    Hall,
    Head,
    accept_for,
    ask,
)
from tests.web.gate import LIMITS

ACCEPT = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.fixture
def hall() -> Hall:
    return Hall()


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
        assert status_of(browser.hear()) == 502
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
        assert status_of(browser.hear()) == 403
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
        assert status_of(heard) == 502
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
        assert status_of(browser.hear()) == 502
        assert isinstance(hall.loop.failures.pop(), ZeroDivisionError)
        assert notebook.wire.is_closed
        assert hall.upstream(PORT).open_work == 0
        assert not hall.bridges.open

    def test_a_101_of_http_1_0_is_none(self, hall: Hall) -> None:
        browser, notebook, request = hall.ask()
        accept = b"Sec-WebSocket-Accept: " + accept_for(request.one(b"sec-websocket-key"))
        head = [b"HTTP/1.0 101 Switching Protocols", *UPGRADE, accept, b"", b""]
        notebook.say(b"\r\n".join(head))
        assert status_of(browser.hear()) == 502

    def test_a_101_that_nobody_asked_for_opens_no_tunnel(self, hall: Hall) -> None:
        browser = hall.connect()
        ask(browser)
        notebook = hall.dial_succeeds()
        notebook.hear_request()
        notebook.answer(b"101 Switching Protocols", *UPGRADE, ACCEPT)
        assert status_of(browser.hear()) == 502
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
        assert status_of(browser.hear()) == 504
        assert notebook.wire.was_reset

    def test_a_handshake_has_a_deadline_where_requests_have_none(self) -> None:
        hall = Hall(client_limits=replace(LIMITS, response_timeout=0.0))
        browser, notebook, _ = hall.ask()
        hall.wait(59)
        notebook.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert b" 504 " not in browser.hear()
        hall.wait(2)
        assert status_of(browser.hear()) == 504
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
        assert status_of(browser.hear()) == 503

    def test_a_notebook_that_hangs_up_is_502(self, hall: Hall) -> None:
        browser, notebook, _ = hall.ask()
        notebook.wire.hang_up()
        assert status_of(browser.hear()) == 502

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
