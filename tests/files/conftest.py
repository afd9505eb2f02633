"""A directory of files, what serves it, and that no descriptor is left open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.files.shelf import Shelf, let_all_wait, open_descriptors, site_in


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return site_in(tmp_path)


@pytest.fixture(params=["at once", "by the disk"])
def shelf(tree: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    if request.param == "by the disk":
        let_all_wait(monkeypatch)
    return Shelf(tree)


@pytest.fixture
def nothing_stays_open() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert open_descriptors() - before == set()
