"""While one client attacks, others hardly notice: the short form of ``python -m tests.attacks``.

Attackers run below everybody's priority, so that the machine's processors go to the daemon and the
good user first. What the machine took of a wait all the same (others that run there) is not the
daemon's doing and is left out; where a wait is too long, the attack is run once more.

The bounds are those of docs/security.md, which `make attacks` measures on a machine that does
nothing else. These tests run on any machine, whose processors other tests use too, so they allow
three times as much (:data:`SLACK`). That still tells code with the bounds from code without: there
the good user waits for the whole attack.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.attacks.attacks import ATTACKS, Attack
from tests.attacks.measure import Measurement, Result, libfaketime
from tests.attacks.targets import Checkout

pytestmark = pytest.mark.integration

SECONDS = 2.0
NICE = 19
SLACK = 3.0
"""A wait may be so many times its bound, and as long again as the longest on the idle proxy."""
BYTES_A_REQUEST = 4096
"""What one request may add to the access log: a field is cut to 1 to 2 KiB."""
BURST, RATE = 20_000, 500
STEPS = (-90.0, -3600.0, 3600.0)

ROOT = Path(__file__).parents[2]
NAMED = {attack.name: attack for attack in ATTACKS}


def meet(attack: Attack, directory: Path, seconds: float = SECONDS) -> Result:
    """Run an attack; the good user is refused nothing and waits no longer than he may."""
    result = run(attack, directory / "first", seconds)
    if result.during.net > allowed(attack, result):
        result = run(attack, directory / "again", seconds)
    assert result.sent, "there was no attack"
    assert "Traceback" not in result.said, result.said
    during, most = result.during, allowed(attack, result)
    assert during.visits
    assert during.refused == ()
    assert during.net <= most
    return result


def run(attack: Attack, directory: Path, seconds: float) -> Result:
    """Run an attack once, on the code that is tested here."""
    directory.mkdir()
    result = Measurement(attack, Checkout(ROOT), seconds, directory, NICE).run()
    during = result.during
    print(
        f"{attack.title}: waited {during.worst * 1e3:.0f} ms, {during.net * 1e3:.0f} ms without"
        f" the machine's part; allowed are {allowed(attack, result) * 1e3:.0f} ms"
    )
    return result


def allowed(attack: Attack, result: Result) -> float:
    """How long the good user may wait, in seconds."""
    return SLACK * attack.bound + result.before.net


@pytest.mark.parametrize(
    "name",
    ["key-updates", "renegotiation", "key-updates-notebook", "hello-requests", "split-tickets"],
)
def test_records_without_data(name: str, tmp_path: Path) -> None:
    result = meet(NAMED[name], tmp_path)
    assert result.closed, "whoever sends no data is not put up with"


def test_a_handshake_in_tiny_records(tmp_path: Path) -> None:
    result = meet(NAMED["split-hellos"], tmp_path)
    assert result.closed, "whoever draws it out is not put up with"


@pytest.mark.parametrize("name", ["pipelined", "pipelined-unread", "pipelined-429"])
def test_pipelined_requests(name: str, tmp_path: Path) -> None:
    result = meet(NAMED[name], tmp_path)
    if "429" in result.statuses:
        assert result.closed, "whoever is refused for asking too fast is not kept"


@pytest.mark.parametrize("name", ["tiny-chunks", "empty-pings"])
def test_tiny_pieces(name: str, tmp_path: Path) -> None:
    meet(NAMED[name], tmp_path)


def test_slow_uploads_leave_a_notebook_to_its_user(tmp_path: Path) -> None:
    meet(NAMED["slow-uploads"], tmp_path)


@pytest.mark.skipif(libfaketime() is None, reason="libfaketime is not installed")
def test_the_wall_clock_is_stepped(tmp_path: Path) -> None:
    result = meet(replace(NAMED["clock-back-1h"], steps=STEPS), tmp_path, 6.0)
    assert set(result.statuses) == {"200"}, "nobody is refused for it"
    assert not result.closed, "nobody's connection is ended for it"
    assert result.log_pause < 3, "the log goes on being written"
    assert result.silent_for is not None
    assert result.silent_for < 3.5, "deadlines go on"


def test_the_access_log_stays_small(tmp_path: Path) -> None:
    result = meet(NAMED["log-fields"], tmp_path)
    print(f"{result.logged / 1e6:.2f} MB/s into the access log")
    assert result.logged * result.seconds < BYTES_A_REQUEST * (BURST + RATE * result.seconds)
