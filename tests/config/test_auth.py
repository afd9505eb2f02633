"""The table of authentication: rules and methods, and what is refused in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipyproxy.config import Auth, AuthRule, Config, anchored
from tests.config.reading import parsed, problems, refusal, value

METHODS = """
[auth]
htpasswd = "users"
forward_url = "http://127.0.0.1:4180/oauth2/auth"
link_keys = "keys"
certificates = ["CN={user},O=Example"]
"""
CLIENTS = "[tls]\nclient_ca = 'clients.pem'\n"


def why(rule: str) -> str:
    """Why a rule is refused."""
    (problem,) = problems(METHODS + f"rules = [{rule}]\n")
    return problem.partition(": auth.")[2]


def test_unless_configured_nobody_is_asked() -> None:
    assert Config().auth == Auth()
    assert Auth().methods == frozenset()


def test_rules_in_one_line_or_as_tables() -> None:
    rules = (
        AuthRule("/ipython", (("link",), ("certificate", "htpasswd"))),
        AuthRule("/ipython/10001", (("forward",),), ("alice", "bob")),
    )
    inline = parsed(
        CLIENTS
        + METHODS
        + "rules = [{path = '/ipython', require = 'link or certificate and htpasswd'}, "
        "{path = '/ipython/10001', require = 'forward', users = ['alice', 'bob']}]\n"
    )
    tables = parsed(
        CLIENTS
        + METHODS
        + "[[auth.rules]]\npath = '/ipython'\nrequire = 'link or certificate and htpasswd'\n"
        "[[auth.rules]]\npath = '/ipython/10001'\nrequire = 'forward'\nusers = ['alice', 'bob']\n"
    )
    assert inline.auth.rules == tables.auth.rules == rules
    assert inline.auth.methods == {"link", "certificate", "htpasswd", "forward"}


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("{require = 'password'}", "rules.require: \"password\" holds 'password', which is none"),
        ("{require = 'link htpasswd'}", "rules.require: \"link htpasswd\" holds 'htpasswd' where"),
        ("{require = 3}", "rules.require: 3 does not end with the name of a method"),
        ("{path = '/x'}", 'rules.require: is missing, such as "htpasswd" or "none"'),
        ("{path = 'x', require = 'link'}", 'rules.path: "x" is not a path such as /ipython'),
        ("{path = '/x/', require = 'link'}", 'rules.path: "/x/" is not a path'),
        ("{path = '/x/../y', require = 'link'}", 'rules.path: "/x/../y" is not a path'),
        ("{path = '/%78', require = 'link'}", 'rules.path: "/%78" is not a path'),
        ("{require = 'none', users = ['a']}", "rules.users: cannot be told apart by none"),
        ("{require = 'link', users = ['a b']}", 'rules.users: "a b" is not a user\'s name'),
        ("{require = 'link', user = ['a']}", 'rules.user: unknown key; did you mean "users"?'),
        ("{require = 'link'}, {require = 'none'}", "rules: / has two rules"),
        ("{path = '/ipython/10000/lab', require = 'link'}", "rules: /ipython/10000/lab is within"),
        ("3", "rules: 3 is not a table"),
    ],
)
def test_a_rule_that_is_none_is_told(rule: str, said: str) -> None:
    assert why(rule).startswith(said)


def test_the_depth_of_a_rule_goes_by_the_prefix() -> None:
    rule = "rules = [{path = '/a/b/10000', require = 'link'}]\n"
    assert parsed(METHODS + rule + "[notebooks]\nprefix = '/a/b'\n").auth.rules
    (problem,) = problems(METHODS + rule + "[notebooks]\nprefix = '/a'\n")
    assert problem.startswith("i.toml:7: auth.rules: /a/b/10000 is within a notebook")


@pytest.mark.parametrize(
    ("method", "key"),
    [
        ("htpasswd", "htpasswd"),
        ("forward", "forward_url"),
        ("link", "link_keys"),
        ("certificate", "certificates"),
    ],
)
def test_a_method_has_to_be_set_up(method: str, key: str) -> None:
    toml = f"[{{require = '{method}'}}]"
    assert refusal("auth", "rules", toml) == f'"{method}" needs auth.{key} beside it'


def test_certificates_need_an_authority() -> None:
    assert why("{require = 'certificate'}") == 'rules: "certificate" needs tls.client_ca beside it'


@pytest.mark.parametrize("name", [
    "Host", "cookie", "Content-Length", "Transfer-Encoding", "X-Forwarded-For", "Forwarded",
    "Sec-WebSocket-Key", "Connection",
])  # fmt: skip
def test_no_header_of_the_proxys_own_is_taken(name: str) -> None:
    for key, toml in (("user_header", f'"{name}"'), ("forward_headers", f'["{name}"]')):
        assert refusal("auth", key, toml).endswith(" is a header that the proxy itself makes")


@pytest.mark.parametrize("name", ["", "X Y", "X:Y", "X_Y", "X\\r\\nY", "ü", "x" * 65])
def test_what_is_no_header_is_refused(name: str) -> None:
    assert " is not the name of a header" in refusal("auth", "user_header", f'"{name}"')


@pytest.mark.parametrize("url", [
    "http://127.0.0.1:4180/oauth2/auth", "https://auth.example.org", "http://[::1]:80/a?b=c",
])  # fmt: skip
def test_urls(url: str) -> None:
    assert value("auth", "forward_url", f'"{url}"') == url


@pytest.mark.parametrize("url", [
    "127.0.0.1:4180", "/auth", "ftp://x/", "http://", "http://x:99999/", "http://x:y/",
    "http://u:p@x/", "http://x/#a", "http://x/ y", "http://x/\\n", "unix:/run/x",
])  # fmt: skip
def test_what_is_no_url_is_refused(url: str) -> None:
    assert " is not a URL such as " in refusal("auth", "forward_url", f'"{url}"')


@pytest.mark.parametrize("login", [
    "", "https://login.example/oauth2/start?rd={url}", "/oauth2/start?rd={url}&x=1",
    "http://localhost:9091/?rd={url}",
])  # fmt: skip
def test_where_to_log_in(login: str) -> None:
    assert value("auth", "forward_login", f'"{login}"') == login


@pytest.mark.parametrize("login", [
    "https://login.example/", "{url}", "//evil.example/?rd={url}", "javascript:alert({url})",
    "https://login.example/?rd={url}&to={url}", "https://login.example/?rd={url}&u={user}",
    "/\\\\evil.example/{url}", "oauth2/start?rd={url}", "https://{url}/", "/a b?{url}",
    "https://l.example/#{url}",
])  # fmt: skip
def test_where_nobody_can_log_in(login: str) -> None:
    said = refusal("auth", "forward_login", f'"{login}"')
    assert " is not a URL or path with {url} in its query" in said


def test_how_long_a_session_lasts() -> None:
    assert value("auth", "session_lifetime", "3600") == 3600
    assert refusal("auth", "session_lifetime", "1")
    assert refusal("auth", "session_lifetime", "999999999")


@pytest.mark.parametrize("subject", ["", "CN=alice", "CN={user},UID={user}", "CN=x{user}"])
def test_what_has_no_place_for_a_user_is_refused(subject: str) -> None:
    said = refusal("auth", "certificates", f'["{subject}"]')
    assert said.endswith(" is not a subject with one {user} in it, such as CN={user},O=Example")


def test_files_are_beside_the_configuration() -> None:
    auth = anchored(parsed(METHODS), Path("/etc/ipyproxy")).auth
    assert auth.htpasswd == Path("/etc/ipyproxy/users")
    assert auth.link_keys == Path("/etc/ipyproxy/keys")
    assert anchored(Config(), Path("/etc")).auth == Auth()
