"""Files of the service's own: nobody else can have a hand in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ipyproxy import statefiles
from ipyproxy.statefiles import NotOwnError, own_directory


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ours" / "file.json"


def test_what_is_written_is_read_and_nobody_else_may(file: Path) -> None:
    for content in (b"one", b"two"):
        statefiles.write(file, content)
        assert statefiles.read(file) == content
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == file.parents[1].stat().st_mode & 0o777 == 0o700
    assert list(file.parent.iterdir()) == [file]


def test_a_link_in_its_place_is_replaced_and_not_followed(file: Path) -> None:
    target = file.parents[2] / "target"
    target.write_text("precious")
    file.parent.mkdir(parents=True, mode=0o700)
    for name in (file.name, "file.new", f".{file.name}"):
        (file.parent / name).symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        statefiles.read(file)
    statefiles.write(file, b"ours")
    assert target.read_text() == "precious"
    assert not file.is_symlink()
    assert statefiles.read(file) == b"ours"


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777, 0o777])
def test_where_others_may_write_nothing_is_read_or_written(file: Path, mode: int) -> None:
    statefiles.write(file, b"ours")
    file.parent.chmod(mode)
    for use in (lambda: statefiles.write(file, b"x"), lambda: statefiles.read(file)):
        with pytest.raises(NotOwnError, match="others may write"):
            use()
    file.parent.chmod(0o750)
    assert statefiles.read(file) == b"ours"


def test_a_directory_may_be_a_link_to_one_that_is_ours(file: Path) -> None:
    statefiles.write(file, b"ours")
    link = file.parents[2] / "link"
    link.symlink_to(file.parent, target_is_directory=True)
    assert statefiles.read(link / file.name) == b"ours"


def test_what_fails_leaves_nothing_behind(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    statefiles.write(file, b"ours")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        statefiles.write(file, b"x" * 100)
    assert list(file.parent.iterdir()) == [file]
    assert statefiles.read(file) == b"ours"


def test_a_file_that_is_missing(file: Path) -> None:
    with pytest.raises(FileNotFoundError):
        statefiles.read(file)
    with own_directory(file.parent), pytest.raises(FileNotFoundError):
        statefiles.read(file)
