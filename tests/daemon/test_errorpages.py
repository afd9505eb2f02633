"""Pages of a site's own: which files are taken, and what a client then sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipyproxy.access.origins import Policy
from ipyproxy.config import ConfigError
from ipyproxy.daemon.errorpages import LARGEST, read_error_pages
from ipyproxy.web.resources import Branch
from ipyproxy.web.site import PublicSite
from tests.files.shelf import read
from tests.front import House, mounts_of


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "404.html").write_text("<h1>Nothing here</h1>")
    (tmp_path / "logo.png").write_bytes(b"")
    return tmp_path


def test_they_are_shown(directory: Path) -> None:
    pages = read_error_pages(directory)
    house = House(site=PublicSite(mounts_of(Branch()), Policy(["here"], []), error_pages=pages))
    answer = read(house.connect().get(b"/nothing"))
    assert (answer.status, answer.body) == (404, b"<h1>Nothing here</h1>")
    assert answer.fields["content-type"] == "text/html; charset=utf-8"
    assert answer.fields["cache-control"] == "no-store"
    assert "content-security-policy" not in answer.fields
    # Programs are told in JSON, and every other status has the proxy's page.
    assert b'"status": 404' in house.connect().get(b"/nothing", b"Accept: application/json")
    other = read(house.connect().get(b"/../x"))
    assert (other.status, "content-security-policy" in other.fields) == (400, True)


def test_what_could_not_be_read_gets_them_too(directory: Path) -> None:
    (directory / "400.html").write_text("Bad")
    pages = read_error_pages(directory)
    house = House(site=PublicSite(mounts_of(Branch()), Policy(["here"], []), error_pages=pages))
    assert read(house.connect().say(b"nonsense\r\n\r\n")).body == b"Bad"


def test_where_there_are_none() -> None:
    assert read_error_pages(None) == {}


@pytest.mark.parametrize("name", ["200.html", "499.html", "index.html", "404.x.html"])
def test_what_would_never_be_shown_is_told(directory: Path, name: str) -> None:
    (directory / name).write_text("")
    with pytest.raises(ConfigError, match="is named by no status"):
        read_error_pages(directory)


def test_what_is_too_large(directory: Path) -> None:
    (directory / "502.html").write_bytes(b"x" * (LARGEST + 1))
    with pytest.raises(ConfigError, match="larger than"):
        read_error_pages(directory)


def test_a_directory_that_is_not_there(directory: Path) -> None:
    with pytest.raises(ConfigError, match="is no directory"):
        read_error_pages(directory / "404.html")
    with pytest.raises(ConfigError, match="is no directory"):
        read_error_pages(directory / "nothing")
