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


def taken(*lines: str, host: bool = True) -> tuple[dict[str, Any], dict[int, str]]:
    """The TOML as values, and why a line was left, by its number."""
    text = "\n".join(lines)
    if host:
        text = f"<VirtualHost *:443>\n{text}\n</VirtualHost>"
    toml, remarks = imported({"site.conf": text})
    first = 1 if host else 0
    left = {each.directive.line - first: each.why for each in remarks if each.is_left}
    return tomllib.loads(toml), left


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


class TestAccess:
    """Who was kept out by Apache is kept out by what is written, whatever else is left."""

    APP = "ProxyPass / http://127.0.0.1:80/"

    def allow(self, *lines: str) -> dict[str, list[str]]:
        document, _ = taken(self.APP, *lines)
        return {each.get("path", "/"): each.get("allow", []) for each in document["routes"]}

    def test_networks(self) -> None:
        lines = ("<Location /admin>", "Require ip 10.1 192.0.2.7 2001:db8::/32", "</Location>")
        assert self.allow(*lines) == {
            "/": [],
            "/admin": ["10.1.0.0/16", "192.0.2.7", "2001:db8::/32"],
        }

    @pytest.mark.parametrize(
        "lines",
        [
            ("Require host example.org",),
            ("Require ldap-group cn=a",),
            ("Require all denied",),
            ("AuthType Digest",),
            ("Order deny,allow", "Deny from all"),
            ("Satisfy any",),
            ("<Limit POST>", "Require ip 10.0.0.1", "</Limit>"),
            ("<RequireNone>", "Require ip 10.0.0.1", "</RequireNone>"),
        ],
    )
    def test_what_is_not_understood_keeps_everybody_out(self, lines: tuple[str, ...]) -> None:
        within = ("<Location /admin>", *lines, "</Location>")
        assert self.allow(*within) == {"/": [], "/admin": ["127.0.0.1"]}
        _, left = taken(self.APP, *within)
        assert any("only this host itself may" in why for why in left.values())

    def test_in_a_place_that_is_not_understood_it_is_all_paths(self) -> None:
        lines = ('<LocationMatch "^/(a|b)">', "Require user alice", "</LocationMatch>")
        assert self.allow(*lines) == {"/": ["127.0.0.1"]}

    def test_a_directory(self) -> None:
        document, left = taken(
            "Alias /docs /srv/docs",
            "Alias /open /srv/open",
            "<Directory /srv/docs>",
            "Require ip 10.0.0.0/8",
            "</Directory>",
        )
        assert left == {}
        allowed = {each["path"]: each.get("allow") for each in document["routes"]}
        assert allowed == {"/docs": ["10.0.0.0/8"], "/open": None}

    def test_passwords(self) -> None:
        document, left = taken(
            self.APP,
            "<Location /reports>",
            "AuthType Basic",
            "AuthUserFile /etc/htpasswd",
            "Require valid-user",
            "</Location>",
        )
        assert left == {}
        assert document["auth"] == {
            "htpasswd": "/etc/htpasswd",
            "rules": [{"path": "/reports", "require": "htpasswd"}],
        }

    SECURE = ("AuthType Basic", "AuthUserFile /etc/htpasswd")

    def rules(self, *lines: str, host: bool = True) -> list[dict[str, Any]]:
        document, left = taken(*lines, host=host)
        assert left == {}
        found = document.get("auth", {}).get("rules", [])
        assert isinstance(found, list)
        return found

    def test_passwords_of_one_host(self) -> None:
        """What stands in one VirtualHost guards no other."""
        rules = self.rules(
            "<VirtualHost *:443>", "SSLEngine on", "ServerName a.example", "ServerAlias b.example",
            "ProxyPass / http://127.0.0.1:1/", *self.SECURE,
            "<Location />", "Require valid-user", "</Location>",
            "</VirtualHost>",
            "<VirtualHost *:443>", "SSLEngine on", "ServerName c.example",
            "ProxyPass / http://127.0.0.1:2/",
            "</VirtualHost>",
            host=False,
        )  # fmt: skip
        assert rules == [
            {"path": "/", "require": "htpasswd", "host": "a.example"},
            {"path": "/", "require": "htpasswd", "host": "b.example"},
        ]

    def test_passwords_of_a_host_with_notebooks(self) -> None:
        """Notebooks are at every host, so what guards them is too."""
        rule = "RewriteRule ^/ipython/([0-9]+)/(.*)$ http://localhost:$1/ipython/$1/$2 [P,L]"
        rules = self.rules(
            "<VirtualHost *:443>", "SSLEngine on", "ServerName a.example", rule, *self.SECURE,
            "<Location />", "Require valid-user", "</Location>",
            "</VirtualHost>",
            "<VirtualHost *:443>", "SSLEngine on", "ServerName c.example",
            "Alias /docs /srv/docs",
            "</VirtualHost>",
            host=False,
        )  # fmt: skip
        assert rules == [
            {"path": "/", "require": "htpasswd", "host": "a.example"},
            {"path": "/ipython", "require": "htpasswd"},
        ]

    def test_a_part_that_is_open(self) -> None:
        """Galaxy's API has keys of its own."""
        lines = (
            "<Location />", "Require valid-user", "</Location>",
            "<Location /api>", "Require all granted", "</Location>",
        )  # fmt: skip
        assert self.rules(self.APP, *self.SECURE, *lines) == [
            {"path": "/", "require": "htpasswd"},
            {"path": "/api", "require": "none"},
        ]
        # The last that says something of a place counts, and where nobody has to log in, nothing
        # has to be said.
        assert self.rules(self.APP, *self.SECURE, *lines[3:], *lines[:3]) == [
            {"path": "/", "require": "htpasswd"}
        ]
        assert self.rules(self.APP, *lines[3:]) == []
        networks = ("<Location />", "Require ip 10.0.0.0/8", "</Location>")
        assert self.allow(*networks, *lines[3:]) == {"/": ["10.0.0.0/8"], "/api": []}

    def test_the_networks_of_a_part_are_its_own(self) -> None:
        """They are not added to those of the whole."""
        lines = (
            "<Location />", "Require ip 10.0.0.0/8", "</Location>",
            "<Location /admin>", "Require ip 10.1.0.0/16", "Require ip 10.2.0.0/16", "</Location>",
        )  # fmt: skip
        assert self.allow(*lines) == {
            "/": ["10.0.0.0/8"],
            "/admin": ["10.1.0.0/16", "10.2.0.0/16"],
        }

    def test_a_part_of_a_directory(self) -> None:
        document, left = taken(
            "DocumentRoot /srv/www",
            *self.SECURE,
            "<Directory /srv/www>", "Require all granted", "</Directory>",
            "<Directory /srv/www/private>", "Require valid-user", "</Directory>",
            "<Directory /srv/www/inner>", "Require ip 10.0.0.0/8", "</Directory>",
        )  # fmt: skip
        assert left == {}
        assert document["auth"]["rules"] == [{"path": "/private", "require": "htpasswd"}]
        assert document["routes"] == [
            {"files": "/srv/www"},
            {"path": "/inner", "files": "/srv/www/inner", "allow": ["10.0.0.0/8"]},
        ]

    def test_what_stands_outside_of_hosts_is_for_all(self) -> None:
        document, left = taken(
            "<Directory /srv/www>", "Require ip 10.0.0.0/8", "</Directory>",
            "Header set X-Frame-Options DENY",
            "<VirtualHost *:443>", "SSLEngine on", "DocumentRoot /srv/www", "</VirtualHost>",
            host=False,
        )  # fmt: skip
        assert left == {}
        assert document["routes"] == [
            {
                "files": "/srv/www",
                "allow": ["10.0.0.0/8"],
                "headers": {"X-Frame-Options": "DENY"},
            }
        ]

    @pytest.mark.parametrize("who", ["Require valid-user", "Require ip 10.0.0.0/8"])
    def test_files_that_are_not_for_all(self, who: str) -> None:
        """Which they are cannot be said, so nobody gets any."""
        document, left = taken("DocumentRoot /srv", "<Files secret.html>", who, "</Files>")
        assert [each["allow"] for each in document["routes"]] == [["127.0.0.1"]]
        assert "only this host itself may" in left[3]
        document, _ = taken("DocumentRoot /srv", "<Directory /srv/*/b>", who, "</Directory>")
        assert [each["allow"] for each in document["routes"]] == [["127.0.0.1"]]

    def test_files_that_nothing_opens(self) -> None:
        document, left = taken(
            "<Directory />", "Require all denied", "</Directory>",
            '<FilesMatch "^\\.ht">', "Require all denied", "</FilesMatch>",
            '<Files ".ht*">', "Require all denied", "</Files>",
            "Alias /docs /srv/docs",
            "Alias /open /srv/open",
            "<Directory /srv/open>", "Require all granted", "</Directory>",
        )  # fmt: skip
        assert left == {}
        allowed = {each["path"]: each.get("allow") for each in document["routes"]}
        assert allowed == {"/docs": ["127.0.0.1"], "/open": None}

    def test_files_whose_names_end_alike_are_not_hidden_ones(self) -> None:
        lines = ('<FilesMatch "\\.html$">', "Require all denied", "</FilesMatch>")
        document, _ = taken("DocumentRoot /srv", *lines)
        assert [each["allow"] for each in document["routes"]] == [["127.0.0.1"]]

    def test_users_of_another_file_are_not_let_in(self) -> None:
        document, left = taken(
            "ProxyPass / http://127.0.0.1:1/",
            "<Location /a>", "AuthUserFile /etc/a", "Require valid-user", "</Location>",
            "<Location /b>", "AuthUserFile /etc/b", "Require valid-user", "</Location>",
        )  # fmt: skip
        assert "one file of users" in left[7]
        allowed = {each.get("path", "/"): each.get("allow") for each in document["routes"]}
        assert allowed == {"/": None, "/b": ["127.0.0.1"]}

    def test_one_or_the_other_is_both(self) -> None:
        lines = ("Require ip 10.0.0.0/8", "Require valid-user")
        _, left = taken(self.APP, *self.SECURE, "<Location />", *lines, "</Location>")
        assert list(left) == [6]
        both = ("<RequireAll>", *lines, "</RequireAll>")
        _, left = taken(self.APP, *self.SECURE, "<Location />", *both, "</Location>")
        assert left == {}

    def test_the_user_and_a_secret_for_the_application(self) -> None:
        lines = (
            "AuthType Basic", "AuthUserFile /etc/htpasswd",
            "<Location />", "Require valid-user",
            "RequestHeader set REMOTE_USER %{REMOTE_USER}s",
            'RequestHeader set GX-SECRET "a b"', "</Location>",
            "<Location /api>", "AuthType None", "Require all granted", "</Location>",
        )  # fmt: skip
        document, left = taken(self.APP, *lines)
        assert left == {}
        (found,) = document["routes"]
        assert found["send"] == {"REMOTE-USER": "{user}", "GX-SECRET": "a b"}
        _, left = taken(self.APP, "RequestHeader set X-Time %t%{x}e", "RequestHeader unset Cookie")
        assert list(left) == [2, 3]

    @pytest.mark.parametrize(
        "lines",
        [
            ("<RequireAll>", "Require all granted", "Require not ip 10.1.2.3", "</RequireAll>"),
            ("<RequireAll>", "Require ip 10.0.0.0/8", "Require not ip 10.1.2.3", "</RequireAll>"),
            ("<RequireAll>", "Require ip 10.0.0.0/8", "Require ldap-group cn=a", "</RequireAll>"),
            ("<RequireAll>", "Require ip 10.0.0.0/8", "Require ip 10.1.0.0/16", "</RequireAll>"),
            ("<RequireAll>", "<RequireNone>", "Require ip ::1", "</RequireNone>",
             "Require ip 10.0.0.0/8", "</RequireAll>"),
            ("Require all granted", "<If true>", "Require ip 10.0.0.0/8", "</If>"),
            ("Require all granted", "Order allow,deny", "Allow from all", "Deny from 10.1.2.3"),
            ("AuthMerging And", "Require all granted"),
            ("SSLVerifyClient require",),
            (
                "<RequireAll>", "Require ip 10.1.0.0/16", "Require user a", "</RequireAll>",
                "<RequireAll>", "Require ip 10.2.0.0/16", "Require user b", "</RequireAll>",
            ),
        ],
    )  # fmt: skip
    def test_what_is_known_does_not_open_what_is_not(self, lines: tuple[str, ...]) -> None:
        """Also where the part that is understood would let somebody in by itself."""
        within = ("<Location /admin>", *lines, "</Location>")
        assert self.allow(*self.SECURE, *within)["/admin"] == ["127.0.0.1"]
        _, left = taken(self.APP, *self.SECURE, *within)
        assert any("only this host itself may" in why for why in left.values())

    def test_one_of_several_that_is_not_known(self) -> None:
        """Any would do in Apache, so the others still get in."""
        lines = ("<Location /admin>", "Require ip 10.0.0.0/8", "Require host a.example")
        assert self.allow(*lines, "</Location>")["/admin"] == ["10.0.0.0/8", "127.0.0.1"]

    def test_all_granted_beside_another_condition(self) -> None:
        both = ("Require all granted", "Require valid-user")
        together = ("<Location />", "<RequireAll>", *both, "</RequireAll>", "</Location>")
        assert self.rules(self.APP, *self.SECURE, *together) == [
            {"path": "/", "require": "htpasswd"}
        ]
        assert self.rules(self.APP, *self.SECURE, "<Location />", *both, "</Location>") == []

    def test_a_pattern_of_paths_counts_after_what_stands_before_it(self) -> None:
        lines = (
            "<Location />", "Require all granted", "</Location>",
            '<Location ~ "^/admin">', "Require valid-user", "</Location>",
        )  # fmt: skip
        assert self.allow(*self.SECURE, *lines) == {"/": ["127.0.0.1"]}

    def test_several_users_of_one_place(self) -> None:
        lines = ("<Location /a>", "Require user x", "Require user y", "</Location>")
        assert self.rules(self.APP, *self.SECURE, *lines) == [
            {"path": "/a", "require": "htpasswd", "users": ["x", "y"]}
        ]


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
