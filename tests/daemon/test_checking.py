"""What is said of a configuration that is not wrong, but may not do what somebody wants."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipyproxy.config import parse
from ipyproxy.daemon.settings import check
from tests.certificates import Authority


def said(directory: Path, routes: str) -> list[str]:
    certificate, key = Authority().issue("example.org").write(directory)
    named = {"tls.certificate": str(certificate), "tls.key": str(key)}
    words = check(parse(routes, named, "test"), directory)
    return [line for line in words if line.startswith(("routes", "galaxy"))]


@pytest.mark.parametrize(
    ("routes", "warning"),
    [
        (
            '[[routes]]\nhost = "example.org"\nto = "unix:/app"',
            "routes: at example.org no notebook can be reached, for example.org/ takes all paths "
            "of that host, /ipython too; leave host out to have both",
        ),
        (
            '[[routes]]\nhost = "b.org"\npath = "/x"\nto = "unix:/app"',
            "routes: no certificate bears the name b.org",
        ),
        (
            '[[routes]]\npath = "/x"\nto = "http://127.0.0.1:12000"',
            "routes: http://127.0.0.1:12000 is one of notebooks.ports, so it can be reached at "
            "/ipython/12000/ as well; leave 12000 out there",
        ),
        (
            '[galaxy]\nmap = "/m.sqlite"\nhost = "g.org"',
            "galaxy.host: no certificate bears the name *.ep.interactivetool.g.org, so browsers "
            "warn of tools that need a host of their own; those at a path need none",
        ),
    ],
)
def test_what_routes_stand_in_the_way_of(tmp_path: Path, routes: str, warning: str) -> None:
    assert said(tmp_path, routes) == [warning]


def test_nothing_is_said_of_what_serves_both(tmp_path: Path) -> None:
    assert said(tmp_path, '[[routes]]\nto = "unix:/app"') == []
    assert said(tmp_path, 'galaxy.map = "/m.sqlite"') == []
