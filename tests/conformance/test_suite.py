"""No case of Autobahn's test suite comes out worse through the proxy than straight."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.proxy import Proxy

pytest.importorskip("kosoku", reason="Autobahn's cases run on kosoku, which is not installed")

from .suite import GROUPS, QUICK, Verdict, compare

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    running = Proxy(tmp_path_factory.mktemp("proxy"))
    yield running
    running.child.stop()


def check(groups: list[str], proxy: Proxy, directory: Path, at_least: int) -> None:
    cases = compare(groups, proxy, directory)
    assert len(cases) >= at_least
    assert {case.group for case in cases} == set(groups)
    assert not [case for case in cases if case.is_worse]
    # Else the comparison would say nothing.
    fine = [case for case in cases if case.straight.behaviour in ("OK", "INFORMATIONAL")]
    assert len(fine) > 0.9 * len(cases)
    assert "Traceback" not in proxy.child.log()


def test_the_groups_that_take_seconds(proxy: Proxy, tmp_path: Path) -> None:
    check([*QUICK], proxy, tmp_path, at_least=247)


@pytest.mark.soak
def test_all_groups(proxy: Proxy, tmp_path: Path) -> None:
    check([*GROUPS], proxy, tmp_path, at_least=500)


def test_a_verdict_is_worse_if_either_half_is() -> None:
    assert Verdict("OK", "OK").rank < Verdict("OK", "WRONG CODE").rank
    assert Verdict("NON-STRICT", "OK").rank < Verdict("FAILED", "OK").rank
