"""Whom Apache's directives keep out: what ``ipyproxy import-apache`` makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.imported import taken


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
