"""The page on security names tests that exist, and has a row with tests for every threat."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Of the table at the beginning; others on the page have figures.
ROWS = [
    line.strip("|").split(" | ")
    for line in (ROOT / "docs" / "security.md").read_text().partition("\n## ")[0].splitlines()
    if line.startswith("| ")
][1:]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::((?:\w+::)?test_\w+)`")


@cache
def held_by(path: str) -> set[str]:
    """The tests in a file, as pytest calls them."""
    found = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        within = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {within + one.name for one in inner if isinstance(one, ast.FunctionDef)}
    return found


def test_every_row_names_tests_that_exist() -> None:
    missing = []
    for attempt, _, tests in ROWS:
        named = NAMED.findall(tests)
        # Nothing in the column is passed over.
        assert len(named) == tests.count("`") // 2, attempt
        assert named, attempt
        missing += [f"{path}::{name}" for path, name in named if name not in held_by(path)]
    assert missing == []


def test_no_threat_is_left_out() -> None:
    told = " ".join(attempt + what for attempt, what, _ in ROWS).lower()
    threats = (
        "local service", "spellings of a port", "climb out", "opens a kernel channel",
        "slips past", "without an upgrade", "smuggling", "connection: cookie", "identity", "host:",
        "location:", "cookies leak", "whole origin", "error page", "slow heads", "memory",
        "old or weak tls", "secrets in logs", "changes hands", "another user of the host",
    )  # fmt: skip
    assert [threat for threat in threats if threat not in told] == []
