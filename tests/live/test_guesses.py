"""Passwords that are guessed: abandoned, many at once, and while somebody else logs in."""

from __future__ import annotations

import itertools
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bcrypt
import pytest

from tests.integration.processes import poll
from tests.integration.proxy import Proxy

from .streams import Stream, browse, request

pytestmark = pytest.mark.integration

CHEAP, DEAR = 9, 11  # some hundredths of a second a check, and a tenth
CONFIG = """
health.mode = "off"
limits.login_failures = {failures}
[auth]
htpasswd = "users"
[[auth.rules]]
path = "/ipython"
require = "htpasswd"
"""
ALLOWED = 10
AT_ONCE = 64
GUESSER = "127.0.0.2"


def start(directory: Path, failures: int, cost: int) -> Proxy:
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(cost)).decode()
    (directory / "users").write_text(f"alice:{hashed}\n")
    return Proxy(directory, CONFIG.format(failures=failures))


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    running = start(tmp_path, ALLOWED, CHEAP)
    yield running
    running.child.stop()


@pytest.fixture
def patient_proxy(tmp_path: Path) -> Iterator[Proxy]:
    """One that never makes a guesser wait."""
    running = start(tmp_path, 10_000, DEAR)
    yield running
    running.child.stop()


def login(password: str) -> bytes:
    shown = b64encode(f"alice:{password}".encode())
    return request(b"GET /ipython/10000/", b"Authorization: Basic " + shown)


def guess(proxy: Proxy, password: str, source: str = GUESSER) -> Stream:
    """A connection on which a password has been sent."""
    stream = browse(proxy.port, proxy.client_tls(), source=source)
    stream.say(login(password))
    return stream


def guesses_counted(proxy: Proxy) -> int:
    """How many failed logins fail2ban would find."""
    return proxy.child.log().count(f"[ipyproxy.audit#warn] refused {GUESSER}: 401 login-failed ")


def test_guesses_that_are_abandoned_count(proxy: Proxy) -> None:
    guesses = itertools.count()

    def look() -> bool | None:
        # Gone before the check can have come to its end.
        guess(proxy, f"guess {next(guesses)}").close()
        return guesses_counted(proxy) > ALLOWED or None

    poll(look, seconds=20, waiting_for="the lines of guesses that were abandoned")

    def is_locked() -> bool | None:
        with guess(proxy, f"guess {next(guesses)}") as stream:
            return stream.hear_status() == 429 or None

    poll(is_locked, seconds=20, waiting_for="429")


def test_guesses_at_once_are_not_checked_beyond_what_is_allowed(proxy: Proxy) -> None:
    streams = [guess(proxy, f"guess {number}") for number in range(AT_ONCE)]
    statuses = [stream.hear_status() for stream in streams]
    for stream in streams:
        stream.close()
    assert ALLOWED <= statuses.count(401) <= ALLOWED + 2
    assert set(statuses) == {401, 429}


def test_nobody_waits_because_another_guesses(patient_proxy: Proxy) -> None:
    alone = [log_in(patient_proxy, f"wrong {number}") for number in range(3)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        streams = list(pool.map(lambda number: guess(patient_proxy, str(number)), range(AT_ONCE)))
    flooded = [log_in(patient_proxy, f"wrong too {number}") for number in range(3)]
    waiting = sum(not stream.is_closed_within(0) and not has_answer(stream) for stream in streams)
    for stream in streams:
        stream.close()
    assert waiting, "the flood was over too soon to show anything"
    # One after the other, they would take 32 times as long as one alone.
    assert min(flooded) < 10 * max(alone)


def has_answer(stream: Stream) -> bool:
    stream.socket.settimeout(0.001)
    try:
        return bool(stream.socket.recv(1))
    except OSError:
        return False


def log_in(proxy: Proxy, password: str) -> float:
    """Seconds that it takes somebody else to be told that a password is wrong."""
    begun = time.monotonic()
    with guess(proxy, password, "127.0.0.1") as stream:
        assert stream.hear_status() == 401
    return time.monotonic() - begun
