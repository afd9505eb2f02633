"""What is said of a configuration that protects nothing, or names what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipyproxy.config import Config, parse
from ipyproxy.daemon.doubts import doubts_of, unwritable
from ipyproxy.daemon.gate import read_files
from ipyproxy.daemon.hosts import answered_hosts

HASH = "$2y$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"


def configured(directory: Path, toml: str) -> Config:
    users = directory / "users"
    users.write_text(f"alice:{HASH}\n")
    users.chmod(0o640)
    return parse(f'[auth]\nhtpasswd = "{users}"\n{toml}', {}, "test")


def told_of(config: Config, hosts: set[str] | None = None) -> list[str]:
    return list(doubts_of(config, read_files(config.auth).users, hosts))


def rule(path: str, more: str = "", host: str = "") -> str:
    more += f'\nhost = "{host}"' if host else ""
    return f'[[auth.rules]]\npath = "{path}"\nrequire = "htpasswd"\n{more}\n'


@pytest.mark.parametrize(
    "path", ["/", "/ipython", "/ipython/10000", "/_ipyproxy", "/_ipyproxy/metrics"]
)
def test_a_rule_for_what_is_served_is_passed_over(path: str, tmp_path: Path) -> None:
    assert (told_of(configured(tmp_path, rule(path)))) == []


def test_a_rule_for_a_part_of_the_way_is_one_for_what_lies_below(tmp_path: Path) -> None:
    toml = rule("/lab") + '[notebooks]\nprefix = "/lab/ipython"\n'
    assert (told_of(configured(tmp_path, toml))) == []


def test_a_rule_for_a_route_is_one(tmp_path: Path) -> None:
    route = '[[routes]]\npath = "/galaxy"\nto = ["http://127.0.0.1:8080"]\n'
    assert told_of(configured(tmp_path, rule("/galaxy/admin") + route)) == []
    assert len(told_of(configured(tmp_path, rule("/galxy") + route))) == 1


def test_a_rule_for_interactive_tools_is_one(tmp_path: Path) -> None:
    tools = '[galaxy]\nmap = "/srv/map.sqlite"\n'
    assert told_of(configured(tmp_path, rule("/interactivetool") + tools)) == []
    assert len(told_of(configured(tmp_path, rule("/interactivetool")))) == 1


@pytest.mark.parametrize(
    ("host", "path", "why"),
    [
        ("hub.example.org", "/ipython", ""),
        ("hub.exmaple.org", "/ipython", "no request for hub.exmaple.org is answered (site.hosts)"),
        ("hub.exmaple.org", "/", "no request for hub.exmaple.org is answered (site.hosts)"),
        ("*.example.org", "/ipython", ""),
        ("galaxy.example.org", "/reports", ""),
        ("hub.example.org", "/reports", "notebooks are served below /ipython, and the proxy's own "
         "pages below /_ipyproxy"),
    ],
)  # fmt: skip
def test_a_rule_for_a_host(host: str, path: str, why: str, tmp_path: Path) -> None:
    route = (
        '[[routes]]\nhost = "galaxy.example.org"\npath = "/reports"\nto = "http://127.0.0.1:1"\n'
    )
    site = '[site]\nhosts = ["hub.example.org"]\n'
    config = configured(tmp_path, rule(path, host=host) + route + site)
    told = told_of(config, answered_hosts(config, ()))
    assert told == (
        [f"auth.rules: the rule for {host}{path} protects nothing: {why}"] if why else []
    )


@pytest.mark.parametrize(
    ("host", "path", "why"),
    [
        ("", "/ipython", ""),
        ("*.nb.example.org", "/ipython", ""),
        ("10000.nb.example.org", "/ipython", ""),
        ("10000.nb.example.org", "/ipython/10000", ""),
        ("10000.nb.example.org", "/ipython/10001", "notebook 10001 is at another host"),
        ("9999.nb.example.org", "/ipython", "9999 is none of notebooks.ports (10000-10009)"),
        ("hub.example.org", "/ipython",
         "notebooks have hosts of their own below nb.example.org (site.notebook_domain)"),
        ("hub.example.org", "/", ""),
        ("hub.example.org", "/_ipyproxy/status", ""),
    ],
)  # fmt: skip
def test_a_rule_for_a_host_where_notebooks_have_their_own(
    host: str, path: str, why: str, tmp_path: Path
) -> None:
    toml = (
        rule(path, host=host)
        + '[site]\nhosts = ["hub.example.org"]\n'
        + 'notebook_domain = "nb.example.org"\n[notebooks]\nports = "10000-10009"\n'
    )
    told = told_of(configured(tmp_path, toml), {"hub.example.org", "*.nb.example.org"})
    assert told == (
        [f"auth.rules: the rule for {host}{path} protects nothing: {why}"] if why else []
    )


@pytest.mark.parametrize(("path", "why"), [
    ("/ipyton", "notebooks are served below /ipython, and the proxy's own pages below /_ipyproxy"),
    ("/ipython/9999", "9999 is none of notebooks.ports (10000-10249,10251-11210,11212-14999)"),
    ("/ipython/x", "x is none of notebooks.ports (10000-10249,10251-11210,11212-14999)"),
])  # fmt: skip
def test_a_rule_that_protects_nothing_is_told(path: str, why: str, tmp_path: Path) -> None:
    (told,) = told_of(configured(tmp_path, rule(path)))
    assert told == f"auth.rules: the rule for {path} protects nothing: {why}"


def test_a_method_that_no_rule_asks_for_is_told(tmp_path: Path) -> None:
    (told,) = told_of(configured(tmp_path, ""))
    assert told.startswith('auth.htpasswd: no rule has require = "htpasswd"')


def test_a_user_without_a_line_in_the_file_is_told(tmp_path: Path) -> None:
    (told,) = told_of(configured(tmp_path, rule("/", 'users = ["alice", "bob"]')))
    assert "lets bob pass, who has no line in" in told
    either = '[[auth.rules]]\nrequire = "htpasswd or forward"\nusers = ["bob"]\n'
    more = f'forward_url = "http://127.0.0.1:1/"\n{either}'
    assert (told_of(configured(tmp_path, more))) == []


def test_a_file_of_users_that_lies_open_is_told(tmp_path: Path) -> None:
    config = configured(tmp_path, rule("/"))
    (tmp_path / "users").chmod(0o644)
    (told,) = told_of(config)
    assert told.startswith(f"auth.htpasswd: anybody on this host may read {tmp_path}/users")


def test_directories_that_a_start_needs_are_looked_at(tmp_path: Path) -> None:
    config = parse(f'[log]\naccess = "{tmp_path}"\n', {}, "test")
    (told,) = unwritable(config, tmp_path, keeps_certificate=True)
    assert told == f"log.access: {tmp_path} cannot be written: it is a directory"
    fine = parse(f'[log]\naccess = "{tmp_path}/access.log"\n', {}, "test")
    assert list(unwritable(fine, tmp_path / "to" / "make", keeps_certificate=True)) == []
