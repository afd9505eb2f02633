"""The table ``[galaxy]``: what it takes, and what stands in its way."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipyproxy.config import Config, ConfigError, anchored, parse
from ipyproxy.database.place import PostgreSQL
from ipyproxy.galaxy.spelling import JSONMap, SQLiteMap
from tests.config.reading import with_psycopg

MAP = '[galaxy]\nmap = "sqlite:////srv/map.sqlite"\n'


def read(toml: str) -> Config:
    return parse(toml, {}, "test")


def problem(toml: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(toml)
    (said,) = caught.value.problems
    return said


def test_nothing_of_it_has_to_be_said() -> None:
    galaxy = read("").galaxy
    assert galaxy.map is None
    assert galaxy.domain == ""
    assert [str(each) for each in galaxy.networks] == ["127.0.0.0/8", "::1/128"]


def test_as_galaxy_says_it() -> None:
    galaxy = read(
        MAP + 'base = "/galaxy/"\nprefix = "gxit"\nhost = "Galaxy.Example.org"\n'
        'networks = ["10.1.0.0/16"]\n'
    ).galaxy
    assert galaxy.map == SQLiteMap(Path("/srv/map.sqlite"))
    assert galaxy.path == "/galaxy/gxit/ep"
    assert galaxy.domain == "ep.gxit.galaxy.example.org"
    assert [str(each) for each in galaxy.networks] == ["10.1.0.0/16"]


def test_a_relative_path_starts_where_the_configuration_is() -> None:
    config = anchored(read('galaxy.map = "map.json"'), Path("/etc/ipyproxy"))
    assert config.galaxy.map == JSONMap(Path("/etc/ipyproxy/map.json"))
    assert anchored(read(""), Path("/etc")).galaxy.map is None


class TestPostgreSQL:
    @pytest.fixture(params=[True, False])
    def installed(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
        with_psycopg(monkeypatch, installed=request.param)
        return bool(request.param)

    def test_it_takes_psycopg(self, installed: bool) -> None:
        toml = 'galaxy.map = "postgresql+psycopg2://g:secret@db/tools"'
        if installed:
            place = read(toml).galaxy.map
            assert place == PostgreSQL("postgresql://g:secret@db/tools")
        else:
            assert "needs psycopg" in problem(toml)

    def test_a_file_takes_nothing(self, installed: bool) -> None:
        assert read(MAP).galaxy.map == SQLiteMap(Path("/srv/map.sqlite"))


@pytest.mark.parametrize(
    ("toml", "why"),
    [
        ('galaxy.map = "mysql://u:secret@db/x"', "of a kind that is not read"),
        ("galaxy.map = 5", "is neither a path nor a URL"),
        ('galaxy.prefix = "a/b"', "is not a word such as interactivetool"),
        ('galaxy.base = "galaxy"', "is not a path such as / or /galaxy"),
        ('galaxy.host = "https://galaxy.example.org"', "is not a domain"),
        ('galaxy.networks = ["node7"]', "is not a network"),
        (MAP + 'base = "/ipython"', "meets /ipython, which is another's"),
        (MAP + '[[routes]]\npath = "/interactivetool/ep/x"\nto = "http://127.0.0.1:1"',
         "belongs to the interactive tools"),
        (MAP + 'host = "g.org"\n[[routes]]\nhost = "x.ep.interactivetool.g.org"\n'
         'to = "http://127.0.0.1:1"', "belongs to an interactive tool"),
    ],
)  # fmt: skip
def test_what_is_refused(toml: str, why: str) -> None:
    said = problem(toml)
    assert why in said
    assert "secret" not in said


class TestAskingWhoMay:
    FORWARD = '[auth]\nforward_url = "http://127.0.0.1:8080/api/entry_points/{tool}/access"\n'

    def rule(self, path: str) -> str:
        return f'{self.FORWARD}rules = [{{ path = "{path}", require = "forward" }}]\n'

    @pytest.mark.parametrize(
        "path", ["/interactivetool", "/interactivetool/ep", "/interactivetool/ep/abc"]
    )
    def test_about_tools(self, path: str) -> None:
        assert "{tool}" in read(self.rule(path) + MAP).auth.forward_url

    @pytest.mark.parametrize("path", ["/", "/ipython", "/inter", "/interactivetool2"])
    def test_about_nothing_else(self, path: str) -> None:
        assert "is more than /interactivetool" in problem(self.rule(path) + MAP)

    def test_not_without_tools(self) -> None:
        assert "needs galaxy.map" in problem(self.rule("/interactivetool"))

    @pytest.mark.parametrize(
        "url", ["http://{tool}/x", "http://{tool}.example.org/", "http://h/x{tool}",
                "http://h/?a={tool}", "http://h/{tool}/{tool}"]
    )  # fmt: skip
    def test_the_tool_is_a_segment_of_the_path(self, url: str) -> None:
        assert "is not a URL" in problem(f'auth.forward_url = "{url}"')
