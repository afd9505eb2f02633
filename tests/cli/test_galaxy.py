"""What ``ipyproxy galaxy check`` says to Galaxy's configuration."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from ipyproxy.cli import main
from ipyproxy.config import parse

READY = """\
gravity:
  galaxy_root: /srv/galaxy/server
galaxy:
  interactivetools_enable: true
  interactivetools_map: /srv/galaxy/database/interactivetools_map.sqlite
  galaxy_infrastructure_url: https://galaxy.example.org
"""


class Check:
    """The command, run on a galaxy.yml of the test's."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.file = directory / "galaxy.yml"
        self._capsys = capsys

    def __call__(self, text: str) -> tuple[int, str, list[str]]:
        """The status, what to put in here, and what to change there."""
        self.file.write_text(text)
        status = main(["galaxy", "check", str(self.file)])
        told = self._capsys.readouterr()
        return (
            status,
            told.out,
            [line.replace(f"{self.file}:", "") for line in told.err.splitlines()],
        )


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    return Check(tmp_path, capsys)


def test_nothing_to_change(check: Check) -> None:
    status, toml, changes = check(READY)
    assert (status, changes) == (0, [])
    assert 'host = "galaxy.example.org"' in toml
    galaxy = parse(toml, {}, "here").galaxy
    assert str(galaxy.map) == "/srv/galaxy/database/interactivetools_map.sqlite"
    assert galaxy.path == "/interactivetool/ep"


def test_everything_to_change(check: Check) -> None:
    status, toml, changes = check(
        """\
gravity:
  galaxy_root: /srv/galaxy/server
  gx_it_proxy:
    enable: true
    port: 4002
galaxy:
  interactivetools_map: database/interactivetools_map.sqlite
  interactivetools_upstream_proxy: false
  interactivetools_proxy_host: localhost:4002
  interactivetools_base_path: galaxy/
  interactivetools_prefix: gxit
"""
    )
    assert status == 1
    assert changes == [
        "4: set enable: false below gx_it_proxy:, since ipyproxy takes its place",
        "6: set galaxy_infrastructure_url: to the public address, such as "
        "https://galaxy.example.org: tools fetch and send their data there",
        "6: set interactivetools_enable: true, or Galaxy runs no interactive tools",
        "7: set interactivetools_map: /srv/galaxy/server/database/interactivetools_map.sqlite: a "
        "path that is not absolute starts at another directory for each program",
        "8: take out interactivetools_upstream_proxy: false, which leads people past ipyproxy",
    ]
    galaxy = parse(toml, {}, "here").galaxy
    assert str(galaxy.map) == "/srv/galaxy/server/database/interactivetools_map.sqlite"
    assert galaxy.path == "/galaxy/gxit/ep"


@pytest.mark.parametrize(
    ("line", "place", "change"),
    [
        ("", "/srv/galaxy/server/database/interactivetools_map.sqlite",
         "3: set interactivetools_map: /srv/galaxy/server/database/interactivetools_map.sqlite, so "
         "that it is the same for everybody"),
        ("interactivetoolsproxy_map: postgresql+psycopg2://g:secret@db/tools",
         "postgresql://g:secret@db/tools", ""),
        ("interactivetoolsproxy_map: sqlite:////srv/m.sqlite", "/srv/m.sqlite", ""),
        ("interactivetoolsproxy_map: sqlite:///m.sqlite", "/srv/galaxy/server/m.sqlite",
         "5: set interactivetoolsproxy_map: sqlite:////srv/galaxy/server/m.sqlite: a path that is "
         "not absolute starts at another directory for each program"),
        ("interactivetools_map: postgresql://db/tools", "postgresql://db/tools",
         "5: move the URL to interactivetoolsproxy_map: this one is for a path"),
        ("interactivetools_proxy_host: localhost:4002\n  interactivetools_map: /m",
         "/m",
         "5: take out interactivetools_proxy_host: tools are at Galaxy's own host now"),
    ],
)  # fmt: skip
def test_each_spelling_of_the_map(check: Check, line: str, place: str, change: str) -> None:
    text = READY.replace(
        "interactivetools_map: /srv/galaxy/database/interactivetools_map.sqlite", line
    )
    _, toml, changes = check(text)
    assert tomllib.loads(toml)["galaxy"]["map"] == place
    assert changes == ([change] if change else [])


def test_where_galaxy_is_without_gravity(check: Check) -> None:
    _, toml, _ = check("galaxy:\n  interactivetools_enable: true\n")
    root = check.file.parent.parent
    assert tomllib.loads(toml)["galaxy"]["map"] == f"{root}/database/interactivetools_map.sqlite"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("galaxy: [", "galaxy.yml:1: "),
        ("tool_shed: {}\n", "there is no section galaxy: in it"),
        ("galaxy:\n  interactivetoolsproxy_map: mysql://db/x\n",
         "galaxy.yml:2: interactivetoolsproxy_map: what it says is of a kind that is not read"),
        ("galaxy:\n  a: b\n  since: 2026-13-45\n",
         "galaxy.yml:3: since: 2026-13-45 is no timestamp; if it is text, put it in quotes"),
        ("galaxy:\n  ids:\n  - 1\n  - 0b_\n", "galaxy.yml:4: ids: 0b_ is no int"),
        ("galaxy:\n  a: !!bool maybe\n", "galaxy.yml:2: a: maybe is no bool"),
        ("galaxy:\n  ? [a]\n  : b\n", "galaxy.yml:2: "),
        ("- !!int x\n", "galaxy.yml:1: x is no int"),
        ("galaxy:\n  galaxy_infrastructure_url: http://[::1\n",
         "galaxy.yml:2: galaxy_infrastructure_url: http://[::1 is no URL (Invalid IPv6 URL)"),
        ("galaxy: " + "[" * 3000, "galaxy.yml: it is nested too deeply"),
        ("", "there is no section galaxy: in it"),
    ],
)  # fmt: skip
def test_what_is_no_configuration_of_galaxys(
    check: Check, capsys: pytest.CaptureFixture[str], text: str, why: str
) -> None:
    check.file.write_text(text)
    assert main(["galaxy", "check", str(check.file)]) == 2
    assert why in capsys.readouterr().err


def test_a_password_in_a_wrong_url_is_not_shown(
    check: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    check.file.write_text("galaxy:\n  interactivetoolsproxy_map: postgresql://g:s3cr@et@db/x\n")
    assert main(["galaxy", "check", str(check.file)]) == 2
    told = capsys.readouterr()
    assert "galaxy.yml:2: interactivetoolsproxy_map: " in told.err
    assert "s3cr" not in told.err + told.out
