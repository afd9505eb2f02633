"""Trusted pages: what pages of trusted origins may read and frame, and that no other page gains."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyproxy.access.cors import TrustedPages
from ipyproxy.http1.head import HeadLimits, RequestHead, parse_request

GALAXY = b"https://galaxy.example"
PAGES = TrustedPages(["https://galaxy.example", "http://plain.example:8080"])
TRUSTED = b"https://galaxy.example http://plain.example:8080"
JUPYTER = b"Content-Security-Policy: frame-ancestors 'self'; report-uri /api/security/csp-report"


def request(*lines: bytes, method: bytes = b"GET") -> RequestHead:
    return parse_request(b"\r\n".join([method + b" /x HTTP/1.1", *lines]), HeadLimits())


def extra_lines(*lines: bytes) -> tuple[bytes, ...]:
    return PAGES.extra_lines(request(*lines).fields.special)


class TestExtraLines:
    def test_a_trusted_page_may_read_answers_with_its_user_s_credentials(self) -> None:
        assert extra_lines(b"Origin: " + GALAXY) == (
            b"Access-Control-Allow-Origin: https://galaxy.example",
            b"Access-Control-Allow-Credentials: true",
            b"Vary: Origin",
        )

    @pytest.mark.parametrize(
        "lines",
        [
            [],
            [b"Origin: https://hub.example"],
            [b"Origin: null"],
            [b"Origin: https://evil.example"],
            [b"Origin: https://galaxy.example.evil"],
            [b"Origin: https://galaxy.example, https://evil.example"],
            [b"Origin: https://galaxy.example", b"Origin: https://evil.example"],
        ],
    )
    def test_no_other_page_may_but_caches_learn_that_it_depends(self, lines: list[bytes]) -> None:
        assert extra_lines(*lines) == (b"Vary: Origin",)


class TestPreflight:
    def test_it_is_answered_with_what_it_asks_for(self) -> None:
        lines = PAGES.preflight(
            request(
                b"Origin: " + GALAXY,
                b"Access-Control-Request-Method: PATCH",
                b"access-control-request-headers: content-type, x-xsrftoken",
                method=b"OPTIONS",
            )
        )
        assert lines is not None
        assert b"Access-Control-Allow-Methods: PATCH" in lines
        assert b"Access-Control-Allow-Headers: content-type, x-xsrftoken" in lines
        assert b"Access-Control-Max-Age: 600" in lines

    @pytest.mark.parametrize(
        ("method", "origin", "asks"),
        [
            (b"GET", GALAXY, True),
            (b"OPTIONS", b"https://evil.example", True),
            (b"OPTIONS", b"https://hub.example", True),
            (b"OPTIONS", GALAXY, False),
        ],
    )
    def test_whatever_is_none_goes_its_way(self, method: bytes, origin: bytes, asks: bool) -> None:
        asked = [b"Access-Control-Request-Method: GET"] if asks else []
        assert PAGES.preflight(request(b"Origin: " + origin, *asked, method=method)) is None

    @given(st.binary(max_size=20).filter(lambda value: not set(value) & set(b"\r\n\0")))
    def test_nothing_that_is_no_token_is_said_back(self, value: bytes) -> None:
        try:
            head = request(
                b"Origin: " + GALAXY,
                b"Access-Control-Request-Method: " + value,
                b"Access-Control-Request-Headers: " + value,
                method=b"OPTIONS",
            )
        except Exception:
            return
        for line in PAGES.preflight(head) or []:
            assert not set(line) & set(b'<>"\\()\x7f\xff')


class TestFrames:
    @pytest.mark.parametrize(
        ("said", "passed"),
        [
            (
                [JUPYTER],
                [
                    b"Content-Security-Policy: frame-ancestors 'self' %b; "
                    b"report-uri /api/security/csp-report" % TRUSTED
                ],
            ),
            (
                [
                    b"content-security-policy: default-src 'none'; Frame-Ancestors 'self' https://a.b"
                ],
                [
                    b"Content-Security-Policy: default-src 'none'; "
                    b"Frame-Ancestors 'self' https://a.b %b" % TRUSTED
                ],
            ),
            (
                [b"Content-Security-Policy: frame-ancestors 'self', frame-ancestors a;b c"],
                [
                    b"Content-Security-Policy: frame-ancestors 'self' %b, frame-ancestors a %b;b c"
                    % (TRUSTED, TRUSTED)
                ],
            ),
            (
                [b"X-Frame-Options: SAMEORIGIN"],
                [b"Content-Security-Policy: frame-ancestors 'self' " + TRUSTED],
            ),
            (
                [b"x-frame-options: sameorigin", b"Content-Security-Policy: default-src 'self'"],
                [
                    b"Content-Security-Policy: default-src 'self'",
                    b"Content-Security-Policy: frame-ancestors 'self' " + TRUSTED,
                ],
            ),
            (
                [
                    b"X-Frame-Options: SAMEORIGIN",
                    b"Content-Security-Policy: frame-ancestors 'self'",
                ],
                [b"Content-Security-Policy: frame-ancestors 'self' " + TRUSTED],
            ),
        ],
    )
    def test_trusted_pages_may_frame_whatever_may_be_framed(
        self, said: list[bytes], passed: list[bytes]
    ) -> None:
        others = [b"Date: x", b"Content-Type: text/html", b"X-Other: 1"]
        assert PAGES.opened(others + said) == others + passed

    @pytest.mark.parametrize(
        "line",
        [
            b"Content-Security-Policy: frame-ancestors 'none'",
            b"Content-Security-Policy: default-src 'self'; script-src 'self'",
            b"Content-Security-Policy-Report-Only: frame-ancestors 'self'",
            b"Content-Security-Policy: frame-ancestors 'NONE'",
            b"Content-Security-Policy: default-src 'self';\tFRAME-ANCESTORS  'None' ",
            b"Content-Security-Policy: frame-ancestors",
            b"Content-Security-Policy: frame-ancestors 'None', default-src 'self'",
            b"X-Frame-Options: DENY",
            b"X-Frame-Options: deny",
            b"X-Frame-Options: SAMEORIGIN, DENY",
            b"X-Frame-Options: SAMEORIGIN, ALLOWALL",
            b"X-Frame-Options: SAMEORIGIN,",
            b"X-Frame-Options: ALLOW-FROM https://a.example",
        ],
    )
    def test_what_says_nothing_of_frames_or_forbids_them_stays(self, line: bytes) -> None:
        assert PAGES.opened([line]) == [line]

    @pytest.mark.parametrize(
        "lines",
        [
            [b"X-Frame-Options: DENY", b"X-Frame-Options: SAMEORIGIN"],
            [b"X-Frame-Options: SAMEORIGIN", b"X-Frame-Options: DENY"],
            [b"X-Frame-Options: SAMEORIGIN", b"X-Frame-Options: nonsense"],
        ],
    )
    def test_two_fields_of_different_values_forbid(self, lines: list[bytes]) -> None:
        assert PAGES.opened(lines) == lines

    def test_two_fields_of_one_value_are_one(self) -> None:
        lines = [b"X-Frame-Options: SAMEORIGIN", b"x-frame-options: sameorigin, SameOrigin"]
        assert PAGES.opened(lines) == [
            b"Content-Security-Policy: frame-ancestors 'self' " + TRUSTED
        ]

    def test_a_policy_that_only_looks_as_if_it_spoke_of_frames_does_not_open_them(self) -> None:
        policy = b"Content-Security-Policy: default-src 'self'; report-uri /frame-ancestors"
        assert PAGES.opened([policy, b"X-Frame-Options: SAMEORIGIN"]) == [
            policy,
            b"Content-Security-Policy: frame-ancestors 'self' " + TRUSTED,
        ]

    def test_what_the_notebook_says_of_origins_is_not_passed_on(self) -> None:
        lines = [
            b"Access-Control-Allow-Origin: *",
            b"access-control-allow-credentials: true",
            b"Access-Control-Expose-Headers: X-Mark",
        ]
        assert PAGES.opened(lines) == [b"Access-Control-Expose-Headers: X-Mark"]

    @given(st.lists(st.sampled_from([b"frame-ancestors 'self'", b"default-src x", b"", b" "])))
    def test_other_directives_stay_as_they_are(self, directives: list[bytes]) -> None:
        (line,) = PAGES.opened([b"Content-Security-Policy: " + b";".join(directives)])
        value = line.removeprefix(b"Content-Security-Policy: ")
        assert value.replace(b" " + TRUSTED, b"") == b";".join(directives)
        assert value.count(TRUSTED) == directives.count(b"frame-ancestors 'self'")
