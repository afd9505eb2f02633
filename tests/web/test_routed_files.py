"""Routes to files, and files that an application names, from the configuration on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipyproxy.config import ConfigError, parse
from tests.files.shelf import Reader, read
from tests.web.routed import Routed


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site" / "docs").mkdir(parents=True)
    (tmp_path / "site" / "index.html").write_text("home")
    (tmp_path / "site" / "app.1a2b.js").write_text("script")
    (tmp_path / "site" / "docs" / "index.html").write_text("docs")
    (tmp_path / "secret").write_text("secret")
    return tmp_path / "site"


def routed(toml: str) -> Routed:
    return Routed(toml, disks=Reader(at_once=True))


def get(made: Routed, path: str, host: str = "www.example.org", *lines: str) -> tuple[int, bytes]:
    head = "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *lines, "", ""])
    answer = read(made.connect().say(head.encode()))
    return answer.status, answer.body


def test_a_site_at_its_host(site: Path) -> None:
    made = routed(
        f'[[routes]]\nhost = "www.example.org"\nfiles = "{site}"\nmax_age = 60\n'
        'immutable = ["*.[0-9a-f]*.js"]\nheaders = { X-Frame-Options = "DENY" }\n'
        f'[[routes]]\nhost = "www.example.org"\npath = "/manual"\nfiles = "{site}/docs"\n',
    )
    assert get(made, "/") == (200, b"home")
    assert get(made, "/manual/") == (200, b"docs")
    assert get(made, "/manual")[0] == 308
    assert get(made, "/../secret")[0] == 400
    assert get(made, "/nothing")[0] == 404
    assert get(made, "/", "other.example.org")[0] == 421
    heard = made.connect().say(b"GET /app.1a2b.js HTTP/1.1\r\nHost: www.example.org\r\n\r\n")
    fields = read(heard).fields
    assert fields["cache-control"] == "max-age=31536000, immutable"
    assert fields["x-frame-options"] == "DENY"


def test_an_application_names_a_file(site: Path) -> None:
    made = routed(
        f'site.hosts = ["www.example.org"]\n[[routes]]\nto = "unix:/a.sock"\nsendfile = ["{site}"]',
    )
    browser = made.connect()
    browser.say(b"GET /download HTTP/1.1\r\nHost: www.example.org\r\nRange: bytes=1-2\r\n\r\n")
    _, application = made.accept()
    made.tell(
        application,
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Type: a/b\r\n"
        b"X-Accel-Redirect: /_x_accel_redirect%b/index.html\r\n\r\n" % bytes(site),
    )
    answer = read(browser.hear())
    assert (answer.status, answer.body, answer.fields["content-type"]) == (206, b"om", "a/b")
    assert "x-accel-redirect" not in answer.fields
    browser.say(b"GET /download HTTP/1.1\r\nHost: www.example.org\r\n\r\n")
    made.tell(
        application,
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Sendfile: %b/../secret\r\n\r\n" % bytes(site),
    )
    assert read(browser.hear()).status == 502


@pytest.mark.parametrize(
    ("toml", "why"),
    [
        (
            'files = "/srv"\nto = "unix:/a"',
            "needs one of to, files, redirect, and no more than one",
        ),
        ('files = "/srv"\nsendfile = ["/srv"]', "means nothing without to"),
        ('to = "unix:/a"\nmax_age = 3', "means nothing without files"),
        ('to = "unix:/a"\nsendfile = ["/"]', "is all there is"),
        ('to = "unix:/a"\nsendfile = ["srv"]', "is no absolute path"),
        ('to = "unix:/a"\nsendfile = ["/srv/.."]', "is no absolute path"),
    ],
)
def test_what_makes_no_sense(toml: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse(f"[[routes]]\n{toml}", {}, "")


def test_an_error_names_the_route_that_is_meant() -> None:
    with pytest.raises(ConfigError) as caught:
        parse('[[routes]]\nto = "unix:/a"\n[[routes]]\npath = "/b"\nto = 3\n', {}, "i.toml")
    assert caught.value.problems[0].startswith("i.toml:5: routes.to: 3 is no address")
