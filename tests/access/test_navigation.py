"""Who may be sent to a login page, by what browsers tell of a request."""

from __future__ import annotations

import pytest

from ipyproxy.access.basic import CHALLENGE
from ipyproxy.access.navigation import answer_lines, is_navigation, login_address
from ipyproxy.http1.head import HeadLimits, RequestHead, parse_request

HTML = b"Accept: text/html,application/xhtml+xml,*/*;q=0.8"
NAVIGATES = b"Sec-Fetch-Mode: navigate"
DOCUMENT = b"Sec-Fetch-Dest: document"


def head(*lines: bytes, method: bytes = b"GET") -> RequestHead:
    return parse_request(b"\r\n".join([method + b" / HTTP/1.1", b"Host: a", *lines]), HeadLimits())


@pytest.mark.parametrize(
    ("lines", "method", "navigates"),
    [
        ([HTML, NAVIGATES, DOCUMENT], b"GET", True),
        ([HTML, NAVIGATES, DOCUMENT], b"HEAD", True),
        ([HTML.upper(), b"sec-fetch-mode:navigate"], b"GET", True),
        ([HTML], b"GET", True),
        ([HTML, NAVIGATES, DOCUMENT], b"POST", False),
        ([HTML, NAVIGATES, b"Sec-Fetch-Dest: iframe"], b"GET", False),
        ([HTML, NAVIGATES, b"Sec-Fetch-Dest: object"], b"GET", False),
        ([HTML, b"Sec-Fetch-Mode: cors", b"Sec-Fetch-Dest: empty"], b"GET", False),
        ([HTML, b"Sec-Fetch-Mode: no-cors", b"Sec-Fetch-Dest: image"], b"GET", False),
        ([HTML, b"Connection: Upgrade", b"Upgrade: websocket"], b"GET", False),
        ([b"Accept: */*", NAVIGATES, DOCUMENT], b"GET", False),
        ([b"Accept: application/json"], b"GET", False),
        ([], b"GET", False),
    ],
)
def test_only_who_opens_a_page_is_sent(lines: list[bytes], method: bytes, navigates: bool) -> None:
    assert is_navigation(head(*lines, method=method)) == navigates


def test_a_script_gets_no_challenge_that_opens_a_window() -> None:
    lines = [CHALLENGE, b"WWW-Authenticate: Bearer"]
    for said in ([], [NAVIGATES]):
        assert answer_lines(head(*said), lines) == lines
    for mode in (b"cors", b"same-origin", b"no-cors", b"websocket"):
        assert answer_lines(head(b"Sec-Fetch-Mode: " + mode), lines) == [
            b'WWW-Authenticate: Cookie realm="notebooks"',
            b"WWW-Authenticate: Bearer",
        ]


@pytest.mark.parametrize(
    ("template", "address"),
    [
        ("/login?to={path}", b"/login?to=/a%2520b%3Fx%3D1%26y%25"),
        (
            "https://l.example/?rd={url}&x=1",
            b"https://l.example/?rd=https%3A%2F%2Fhub.example%3A8443%2Fa%2520b%3Fx%3D1%26y%25&x=1",
        ),
    ],
)
def test_the_address_says_where_to_come_back_to(template: str, address: bytes) -> None:
    assert login_address(template, b"https://hub.example:8443", b"/a%20b?x=1&y%") == address


def test_no_byte_of_a_target_gets_out_of_its_place() -> None:
    target = bytes(range(0x21, 0x100))
    for template in ("/login?to={path}", "/login?to={url}"):
        found = login_address(template, b"https://hub.example", b"/" + target)
        assert not set(found.partition(b"to=")[2]) & set(b"&#+\"'<>?=;\\\r\n ")
        assert found.isascii()


def test_what_is_very_long_comes_back_to_the_front_page() -> None:
    assert login_address("/l?{path}", b"https://a", b"/" + b"x" * 3000) == b"/l?/"
