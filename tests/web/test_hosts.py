"""Each notebook at a host of its own: what is served where, and that neighbours stay apart."""

from __future__ import annotations

import pytest

from tests.web.gate import Gate, head_of, message

HUB = b"Host: hub.example"
ITS_OWN = b"Host: 10000.nb.example"
WEBSOCKET = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)


@pytest.fixture
def gate() -> Gate:
    return Gate(notebook_domain="nb.example")


def answer_to(gate: Gate, start: bytes, *lines: bytes) -> tuple[int, set[bytes]]:
    """Status and field lines; 0 if the request went to a notebook."""
    heard = gate.connect().say(message(start + b" HTTP/1.1", *lines))
    if not heard:
        return 0, set()
    start, fields = head_of(heard)
    return int(start.split(b" ")[1]), fields


def test_a_notebook_is_served_at_its_own_host(gate: Gate) -> None:
    assert answer_to(gate, b"GET /ipython/10000/lab", ITS_OWN)[0] == 0
    start, lines = head_of(gate.notebook().hear())
    assert start == b"GET /ipython/10000/lab HTTP/1.1"
    assert b"Host: 127.0.0.1:10000" in lines


def test_elsewhere_a_browser_is_sent_there(gate: Gate) -> None:
    status, lines = answer_to(gate, b"GET /ipython/10000/lab?a=b", HUB)
    assert status == 303
    assert b"Location: https://10000.nb.example/ipython/10000/lab?a=b" in lines
    status, lines = answer_to(gate, b"GET /", ITS_OWN)
    assert status == 303
    assert b"Location: /ipython/10000/" in lines
    assert gate.dialler.attempts == []


def test_its_state_is_told_at_its_own_host_only(gate: Gate) -> None:
    assert answer_to(gate, b"GET /_ipyproxy/state/10000", ITS_OWN)[0] == 200
    status, lines = answer_to(gate, b"GET /_ipyproxy/state/10000", HUB)
    assert status == 303
    assert b"Location: https://10000.nb.example/_ipyproxy/state/10000" in lines
    assert answer_to(gate, b"GET /_ipyproxy/state/10001", ITS_OWN)[0] == 421


@pytest.mark.parametrize(
    ("start", "lines", "status"),
    [
        (b"POST /ipython/10000/login", [HUB], 421),
        (b"GET /ipython/10000/api/kernels/1/channels", [HUB, *WEBSOCKET], 421),
        (b"GET /ipython/10001/lab", [ITS_OWN], 421),
        (b"GET /ipython/10001/api/kernels/1/channels", [ITS_OWN, *WEBSOCKET], 421),
        (b"GET /ipython/10000/", [b"Host: other.nb.example"], 421),
        (b"GET /ipython/10000/", [b"Host: a.10000.nb.example"], 421),
        (b"GET /ipython/10000/", [b"Host: nb.example"], 421),
        (b"GET /nowhere", [ITS_OWN], 404),
        (b"GET /ipython/22/", [b"Host: 22.nb.example"], 404),
    ],
)
def test_nothing_is_served_at_another_s(
    gate: Gate, start: bytes, lines: list[bytes], status: int
) -> None:
    assert answer_to(gate, start, *lines)[0] == status
    assert gate.dialler.attempts == []


@pytest.mark.parametrize("websocket", [(), WEBSOCKET])
@pytest.mark.parametrize(
    "origin", [b"https://10001.nb.example", b"https://hub.example", b"https://nb.example"]
)
def test_a_neighbour_s_page_is_another_origin(
    gate: Gate, origin: bytes, websocket: tuple[bytes, ...]
) -> None:
    lines = [ITS_OWN, b"Origin: " + origin, *websocket]
    assert answer_to(gate, b"GET /ipython/10000/", *lines)[0] == 403
    assert gate.dialler.attempts == []


def test_its_own_page_may(gate: Gate) -> None:
    lines = [ITS_OWN, b"Origin: https://10000.nb.example", *WEBSOCKET]
    assert answer_to(gate, b"GET /ipython/10000/", *lines)[0] == 0
    assert b"Origin: http://127.0.0.1:10000" in head_of(gate.notebook().hear())[1]


def test_its_cookies_stay_at_its_host(gate: Gate) -> None:
    browser = gate.connect()
    browser.say(message(b"GET /ipython/10000/ HTTP/1.1", ITS_OWN))
    cookie = b"Set-Cookie: a=b; Domain=nb.example; Path=/"
    gate.tell(gate.notebook(), message(b"HTTP/1.1 200 OK", b"Content-Length: 0", cookie))
    lines = head_of(browser.hear())[1]
    assert b"Set-Cookie: a=b; Path=/ipython/10000/; Secure" in lines


def test_where_it_says_it_is_becomes_its_host(gate: Gate) -> None:
    browser = gate.connect()
    browser.say(message(b"GET /ipython/10000/ HTTP/1.1", ITS_OWN))
    location = b"Location: http://127.0.0.1:10000/ipython/10000/lab"
    gate.tell(gate.notebook(), message(b"HTTP/1.1 302 Found", b"Content-Length: 0", location))
    lines = head_of(browser.hear())[1]
    assert b"Location: https://10000.nb.example/ipython/10000/lab" in lines
