"""``ipyproxy import-apache``: directives in, TOML and remarks out."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from ipyproxy.cli import main
from ipyproxy.cli.apache.parsing import parse
from ipyproxy.cli.import_apache import imported
from ipyproxy.config import ConfigError
from tests.cli.imported import taken


def route(*lines: str) -> dict[str, Any]:
    """The only route, where nothing is left."""
    document, left = taken(*lines)
    assert left == {}
    (found,) = document["routes"]
    assert isinstance(found, dict)
    return found


class TestParsing:
    def test_quotes_continued_lines_comments_and_variables(self) -> None:
        text = (
            "# a comment \\\n"
            "Define root /srv/a\n"
            'Alias "/a b" \\\n'
            "   '${root}/c'   \n"
            "\n"
            "<Location /x>\n"
            "\tRequire  ip 10.1 ${unknown}\n"
            "</Location>\n"
        )
        directives = parse(text, "f", {})
        # As in Apache, the backslash makes the line behind a comment part of it.
        assert [(each.name, each.arguments, each.line) for each in directives] == [
            ("alias", ["/a b", "${root}/c"], 3),
            ("location", ["/x"], 6),
        ]
        (child,) = directives[1].children
        assert (child.arguments, child.place) == (["ip", "10.1", "${unknown}"], "f:7")

    def test_defined_variables_are_put_in(self) -> None:
        (_, alias) = parse("Define root /srv\nAlias /a ${root}/b", "f", {})
        assert alias.arguments == ["/a", "/srv/b"]

    @pytest.mark.parametrize("text", ["<Location /a>", "</Location>", "<If x>\n</Else>"])
    def test_what_is_no_configuration(self, text: str) -> None:
        with pytest.raises(ConfigError, match=r"f:[12]: "):
            imported({"f": text})


class TestProxies:
    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("ProxyPass / http://localhost:8080/", {"to": "http://localhost:8080"}),
            ("ProxyPass / unix:/run/a.sock|http://localhost/", {"to": "unix:/run/a.sock"}),
            (
                "ProxyPass /galaxy http://10.0.0.1:80/galaxy",
                {"path": "/galaxy", "to": "http://10.0.0.1:80"},
            ),
            (
                "ProxyPass /r/ http://127.0.0.1:9001/ timeout=60 retry=0 nocanon",
                {"path": "/r", "to": "http://127.0.0.1:9001", "strip": True, "timeout": 60},
            ),
            (
                "RewriteRule ^/hub/(.*)$ http://127.0.0.1:8000/hub/$1 [P,L]",
                {"path": "/hub", "to": "http://127.0.0.1:8000"},
            ),
        ],
    )
    def test_an_application(self, line: str, expected: dict[str, Any]) -> None:
        assert route(line) == expected

    def test_websockets_need_no_route_of_their_own(self) -> None:
        assert route(
            "RewriteCond %{HTTP:Upgrade} =websocket",
            "RewriteRule /(.*) ws://127.0.0.1:8000/$1 [P,L]",
            "ProxyPass / http://127.0.0.1:8000/",
        ) == {"to": "http://127.0.0.1:8000"}
        assert (
            route(
                "ProxyPass /api/kernels/ ws://127.0.0.1:8888/api/kernels/",
                "ProxyPass / http://127.0.0.1:8888/",
            )["to"]
            == "http://127.0.0.1:8888"
        )

    @pytest.mark.parametrize(
        "line",
        [
            "ProxyPass /a http://127.0.0.1:80/b",
            "ProxyPass / balancer://cluster",
            "ProxyPass /a !",
            "ProxyPassMatch ^/(.*)$ http://127.0.0.1:80/$1",
            "RewriteRule ^/a/(.*)/(.*)$ http://127.0.0.1:80/$2/$1 [P]",
            "RewriteRule ^/a$ /b [R=301]",
            "RewriteRule ^/admin - [F]",
        ],
    )
    def test_what_no_route_does(self, line: str) -> None:
        document, left = taken(line)
        assert list(left) == [1]
        assert "routes" not in document

    def test_a_condition_goes_with_its_rule(self) -> None:
        _, left = taken(
            "RewriteCond %{REMOTE_ADDR} !^10\\.",
            "RewriteRule ^/a/(.*)$ http://127.0.0.1:80/a/$1 [P]",
        )
        assert sorted(left) == [1, 2]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "site.conf"
    file.write_text("Listen 443\nDocumentRoot /srv\nUnheard of\nServerTokens Prod\n")
    assert main(["import-apache", str(file)]) == 1
    out, err = capsys.readouterr()
    assert f"#   {file}:3: Unheard of: LEFT: it has no counterpart that is known here\n" in out
    assert tomllib.loads(out) == {"listen": {"https": 443}, "routes": [{"files": "/srv"}]}
    assert f"{file}:4: ServerTokens Prod: not needed: the proxy says nothing of itself\n" in err
    file.write_text("Listen 443\n")
    assert main(["import-apache", str(file)]) == 0
    assert main(["import-apache", str(tmp_path / "nothing")]) == 2
