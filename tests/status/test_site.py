"""What stands where on the status listener, and who gets to see it."""

from __future__ import annotations

import pytest

from ipyproxy.status.condition import Phase
from tests.front import status_of

from .office import START, Office, certificate


def test_alive_is_whoever_says_so() -> None:
    office = Office()
    office.condition.phase = Phase.DRAINING
    assert office.read(b"healthz") == b"alive\n"


def test_ready_is_a_daemon_that_serves_with_a_valid_certificate() -> None:
    office = Office()
    assert office.read(b"readyz") == b"ready\n"


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.DRAINING])
def test_a_daemon_that_does_not_serve_is_not_ready_and_says_why(phase: Phase) -> None:
    office = Office()
    office.condition.phase = phase
    answer = office.ask(b"readyz")
    assert status_of(answer) == 503
    assert answer.endswith(b"\r\n\r\n" + phase.value.encode() + b"\n")


def test_a_daemon_with_an_expired_certificate_is_not_ready() -> None:
    office = Office()
    office.condition.certificates = (
        certificate("hub.example"),
        certificate("old.example", not_after=START + 60.0),
    )
    assert status_of(office.ask(b"readyz")) == 200
    office.pass_minutes(2)
    answer = office.ask(b"readyz")
    assert status_of(answer) == 503
    assert answer.endswith(b"\r\n\r\ncertificate expired\n")


def test_readiness_has_a_word_on_a_certificate_that_should_have_been_renewed() -> None:
    office = Office()
    soon = certificate("soon.example", not_after=START + 3 * 86400)
    office.condition.certificates = (certificate("hub.example"), soon)
    answer = office.ask(b"readyz")
    assert status_of(answer) == 200
    end = f"{soon.not_after:%Y-%m-%d}".encode()
    assert answer.endswith(
        b"\r\n\r\nready; the certificate for soon.example ends on " + end + b"\n"
    )


@pytest.mark.parametrize("path", [b"healthz", b"readyz", b"status.json", b"metrics"])
def test_nothing_can_be_written_and_nothing_is_stored(path: bytes) -> None:
    office = Office()
    answer = office.ask(path)
    assert status_of(answer) == 200
    assert b"\r\nCache-Control: no-store\r\n" in answer
    assert b"\r\nContent-Security-Policy: default-src 'none'" in answer
    assert b"\r\nX-Content-Type-Options: nosniff\r\n" in answer
    start = b"POST /_ipyproxy/%b HTTP/1.1" % path
    posted = office.connect().say(start + b"\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
    assert status_of(posted) == 405


@pytest.mark.parametrize("path", [b"", b"status.json/", b"metrics/x", b"state/10000", b"../x"])
def test_there_is_nothing_else(path: bytes) -> None:
    assert status_of(Office().ask(b"x/" + path)) in (400, 404)


def test_a_foreign_name_that_leads_here_shows_nothing() -> None:
    """A page of evil.example that has its name resolve to 127.0.0.1 (DNS rebinding)."""
    office = Office()
    for path in (b"status.json", b"metrics", b"healthz"):
        answer = office.ask(path, host=b"evil.example:9000")
        assert status_of(answer) == 421
        assert b"evil" not in answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("path", [b"/", b"/_ipyproxy"])
def test_whoever_knows_the_port_only_is_led_to_the_page(path: bytes) -> None:
    answer = Office().connect().say(b"GET %b HTTP/1.1\r\nHost: localhost:9000\r\n\r\n" % path)
    assert status_of(answer) == 303
    assert b"\r\nLocation: /_ipyproxy/\r\n" in answer
