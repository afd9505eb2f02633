"""The table ``[jupyterhub]``: the database that a fleet shares."""

from __future__ import annotations

import pytest

from ipyproxy.config import ConfigError, parse
from ipyproxy.database.place import PostgreSQL
from tests.config.reading import with_psycopg

API = '[jupyterhub]\napi = "unix:/run/ipyproxy/hub.sock"\n'


def problem(toml: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(toml, {}, "test")
    (said,) = caught.value.problems
    return said


def test_by_itself_there_is_none() -> None:
    assert parse(API, {}, "test").jupyterhub.routes is None
    assert parse(API + 'routes = ""', {}, "test").jupyterhub.routes is None


@pytest.mark.parametrize("installed", [True, False])
def test_a_database_takes_psycopg(installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with_psycopg(monkeypatch, installed=installed)
    toml = API + 'routes = "postgresql+psycopg2://hub:secret@db/hub?sslmode=verify-full"'
    if installed:
        place = parse(toml, {}, "test").jupyterhub.routes
        assert place == PostgreSQL("postgresql://hub:secret@db/hub?sslmode=verify-full")
        assert "secret" not in str(place)
    else:
        assert "needs psycopg" in problem(toml)


@pytest.mark.parametrize(
    ("routes", "why"),
    [
        ('"sqlite:////srv/x"', "is no URL such as postgresql://"),
        ('"mysql://u:secret@db/x"', "is no URL such as postgresql://"),
        ('"postgresql://db/x?password=a%secret"', "has a % that is not percent-encoded"),
        ('"postgresql://u:sec@ret@db/x"', "@ or / is not percent-encoded"),
        ('"postgresql://"', "names no database"),
        ("5", "is no URL such as postgresql://"),
    ],
)
def test_what_names_none(routes: str, why: str) -> None:
    said = problem(API + f"routes = {routes}")
    assert why in said
    assert "jupyterhub.routes" in said
    assert "secret" not in said


def test_it_means_nothing_without_an_api() -> None:
    assert "means nothing without" in problem('jupyterhub.routes = "postgresql://db/x"')
