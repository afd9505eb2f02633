"""How long a refusal takes does not tell whether there is such a user."""

from __future__ import annotations

import math
import random
import socket
import time
from pathlib import Path

import pytest

from .guarded import Guarded, basic

pytestmark = [pytest.mark.integration, pytest.mark.soak]

TRIES = 1000
ROUNDS = 3


def is_told_apart(ours: list[float], theirs: list[float]) -> bool:
    """Whether a rank-sum test (Mann-Whitney) tells the two apart at the 1 % level."""
    ranked = sorted([(value, True) for value in ours] + [(value, False) for value in theirs])
    n, m = len(ours), len(theirs)
    u = sum(rank for rank, (_, is_ours) in enumerate(ranked, 1) if is_ours) - n * (n + 1) / 2
    z = (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    return math.erfc(abs(z) / math.sqrt(2)) < 0.01


def test_the_test_tells_different_things_apart() -> None:
    draw = random.Random(1).gauss
    slow = [draw(3.1, 1) for _ in range(TRIES)]
    assert is_told_apart(slow, [draw(2.9, 1) for _ in range(TRIES)])
    assert not is_told_apart(slow, [draw(3.1, 1) for _ in range(TRIES)])


def test_an_unknown_user_takes_as_long_as_a_known_one(tmp_path: Path) -> None:
    # One round in a hundred would tell equals apart, three in a row do not.
    with Guarded(tmp_path) as site:
        assert not all(is_told_apart(*_round(site, number)) for number in range(ROUNDS))


def _round(site: Guarded, number: int) -> tuple[list[float], list[float]]:
    """Seconds of refusals, of a user that there is, and of one that there is not, taken in turn."""
    times: dict[str, list[float]] = {"alice": [], "ecila": []}
    order = list(times) * TRIES
    random.Random(number).shuffle(order)
    with (
        _connect(site.proxy.port) as tcp,
        site.proxy.client_tls().wrap_socket(tcp, server_hostname="localhost") as tls,
    ):
        for place, name in enumerate(order):
            head = (
                f"HEAD {site.path('htpasswd')}/ HTTP/1.1\r\nHost: localhost:{site.proxy.port}\r\n"
                f"Authorization: {basic(name, f'guess {number} {place:06}')}\r\n\r\n"
            )
            begun = time.perf_counter()
            tls.sendall(head.encode())
            answer = tls.recv(65536)
            times[name].append(time.perf_counter() - begun)
            assert answer.startswith(b"HTTP/1.1 401 ")
    return times["alice"], times["ecila"]


def _connect(port: int) -> socket.socket:
    tcp = socket.create_connection(("127.0.0.1", port), timeout=30)
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tcp
