"""Values of the configuration: what is taken, and what is refused in which words."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactor

from ipyproxy.config import Config, ConfigError, Listen, RefusedError, Tls, anchored
from ipyproxy.config.values import _LISTENER
from tests.config.reading import parsed, problems, refusal, value


@pytest.mark.parametrize(("toml", "read"), [
    ("443", 443),
    ("0", 0),
    ('"443"', 443),
    ('"tcp:443:interface=192.0.2.7"', "tcp:443:interface=192.0.2.7"),
    ("'tcp6:port=443:interface=2001\\:db8\\:\\:1:backlog=9'",
     r"tcp6:port=443:interface=2001\:db8\:\:1:backlog=9"),
    ('"unix:/run/i.sock:mode=660:lockfile=0"', "unix:/run/i.sock:mode=660:lockfile=0"),
    ('"systemd:domain=INET6:name=https"', "systemd:domain=INET6:name=https"),
])  # fmt: skip
def test_a_listener_is_a_port_or_an_endpoint(toml: str, read: object) -> None:
    assert value("listen", "https", toml) == read
    assert value("listen", "http", toml) == read


@pytest.mark.parametrize("toml", [
    "65536", "-1", "true", '"0443"', '"99999"', '"0.0.0.0:443"', '":443"', "[443]", "443.0",
    '"443\\n"', '"٤٤٣"', '"tcp:"', '"tcp:https"', '"tcp:65536"', '"tcp:443:interface=::"',
    '"tcp:443:interfce=192.0.2.7"', '"tcp:443:backlog=x"', '"unix:"', '"unix:/x:mode=rw"',
    '"systemd:index=0"', '"systemd:domain=INET"', '"systemd:domain=INET:index=first"',
    '"ssl:443:privateKey=key.pem"', '"haproxy:tcp:443"',
])  # fmt: skip
def test_what_is_no_listener_is_refused(toml: str) -> None:
    for key in ("https", "http"):
        assert " is neither a port from 0 to 65535 nor an endpoint" in refusal("listen", key, toml)


@given(st.from_regex(_LISTENER, fullmatch=True).filter(lambda text: "systemd" not in text))
def test_twisted_understands_every_endpoint_that_is_taken(text: str) -> None:
    try:
        listener = parsed("", listen__http=text).listen.http
    except ConfigError:  # a port above 65535
        return
    if isinstance(listener, str):
        # It opens nothing. What systemd handed over is seen when the service starts only.
        serverFromString(MemoryReactor(), listener)


def test_http_is_off_unless_set_and_https_never_is() -> None:
    assert parsed("").listen.http is None
    assert value("listen", "http", '""') is None
    assert refusal("listen", "https", '""').startswith('"" is neither')


def test_both_listeners_on_one_port_are_refused() -> None:
    assert refusal("listen", "http", "8443") == "8443 is taken by listen.https"
    assert problems("", listen__https="80", listen__http="80") == [
        "--http: 80 is taken by listen.https"
    ]
    assert parsed("[listen]\nhttps = 0\nhttp = 0").listen == Listen(0, 0)


def test_notebooks_may_have_a_domain() -> None:
    assert value("site", "notebook_domain", '""') == ""
    assert value("site", "notebook_domain", '"NB.Example.org"') == "nb.example.org"


@pytest.mark.parametrize("toml", [
    '"*.example.org"', '"192.0.2.7"', '"::1"', '"nb.example.org."', '"nb.example.org:443"', "1",
    '"a b"', f'"{"a." * 124}a"', '"https://nb.example.org"',
])  # fmt: skip
def test_what_is_no_domain_is_refused(toml: str) -> None:
    why = refusal("site", "notebook_domain", toml)
    assert why.endswith(" is not a domain such as notebooks.example.org")


def test_trusted_proxies_are_networks() -> None:
    networks = value("listen", "trusted_proxies", '["10.0.0.0/8", "::1", "192.0.2.7"]')
    assert networks == tuple(map(ip_network, ("10.0.0.0/8", "::1", "192.0.2.7")))
    assert value("listen", "trusted_proxies", '["unix"]') == ("unix",)


@pytest.mark.parametrize("toml", ['"10.0.0.1/8"', '"proxy.example"', '"0"', '""', "1"])
def test_what_is_no_network_is_refused(toml: str) -> None:
    why = refusal("listen", "trusted_proxies", f'["::1", {toml}]')
    assert why == f'{toml} is neither a network such as 10.0.0.0/8 or ::1 nor "unix"'


@pytest.mark.parametrize(("given", "kept"), [
    ("Hub.Example.org", "hub.example.org"),
    ("*.hub.example.org", "*.hub.example.org"),
    ("localhost", "localhost"),
    ("192.0.2.7", "192.0.2.7"),
    ("2001:DB8:0::1", "2001:db8::1"),
    ("xn--bcher-kva.example", "xn--bcher-kva.example"),
])  # fmt: skip
def test_a_host_is_kept_in_one_spelling(given: str, kept: str) -> None:
    assert value("site", "hosts", f'["{given}"]') == (kept,)


@pytest.mark.parametrize("given", [
    "hub.example.org:443", "hub.example.org.", "*", "*.*.example.org", "a.*.example.org",
    "*.192.0.2.7", "*.::1", "1.2.3", "1.2.3.4.5", "[::1]", "fe80::1%eth0", "-a.example", "a..b",
    "a/b", "a@b", "bücher.example", "\\u212Aelvin.example", "", " a", "a\\n", "a" * 64,
    "a." * 130 + "b",
])  # fmt: skip
def test_what_is_no_host_is_refused(given: str) -> None:
    assert " is not a host such as " in refusal("site", "hosts", f'["{given}"]')


@pytest.mark.parametrize(("given", "kept"), [
    ("https://galaxy.example.org", "https://galaxy.example.org"),
    ("HTTPS://Galaxy.Example.ORG:443", "https://galaxy.example.org"),
    ("https://galaxy.example.org:8443", "https://galaxy.example.org:8443"),
    ("http://localhost:80", "http://localhost"),
    ("http://localhost:443", "http://localhost:443"),
    ("http://192.0.2.7:8080", "http://192.0.2.7:8080"),
    ("https://[2001:DB8:0::1]:443", "https://[2001:db8::1]"),
])  # fmt: skip
def test_an_origin_is_kept_as_browsers_spell_it(given: str, kept: str) -> None:
    assert value("site", "trusted_origins", f'["{given}"]') == (kept,)


@pytest.mark.parametrize("given", [
    "null", "*", "https://*.example.org", "https://a.example/", "https://a.example/x",
    "https://a.example?x", "https://a.example#x", "https://u@a.example", "a.example", "//a.example",
    "ws://a.example", "file://", "https://", "https://a.example.", "https://a.example:",
    "https://a.example:0", "https://a.example:0443", "https://a.example:65536", "https://::1",
    "https://[a.example]", "https://[192.0.2.7]x", "https://a.example\\n", " https://a.example",
    "https://\\u212Aelvin.example", "https://a.example https://b.example",
])  # fmt: skip
def test_what_is_no_origin_is_refused(given: str) -> None:
    assert " is not an origin such as " in refusal("site", "trusted_origins", f'["{given}"]')


@pytest.mark.parametrize("prefix", ["/ipython", "/a/b-c", "/~x/...", "/.well"])
def test_prefixes(prefix: str) -> None:
    assert value("notebooks", "prefix", f'"{prefix}"') == prefix


@pytest.mark.parametrize("toml", [
    '""', '"/"', '"ipython"', '"/ipython/"', '"//a"', '"/a//b"', '"/a/../b"', '"/."', '"/a%20b"',
    '"/a b"', '"/a\\n"', '"/ü"', "1",
])  # fmt: skip
def test_what_is_no_prefix_is_refused(toml: str) -> None:
    assert " is not a path such as /ipython: " in refusal("notebooks", "prefix", toml)


def test_site_cookies_are_names_of_cookies() -> None:
    assert value("notebooks", "site_cookies", "[]") == ()
    for name in ("a=b", "a;", "a b", "", "ü"):
        why = refusal("notebooks", "site_cookies", f'["ok", "{name}"]')
        assert why == f'"{name}" is not a cookie name such as galaxysession'


@pytest.mark.parametrize("path", ["", "api", "api/status?x=1", "a%20b/..c"])
def test_health_paths(path: str) -> None:
    assert value("health", "path", f'"{path}"') == path


@pytest.mark.parametrize("path", [
    "/api", "..", "../x", "a/../b", "a/..", "a/.?x", "a b", "a\\r\\n",
])  # fmt: skip
def test_what_is_no_health_path_is_refused(path: str) -> None:
    assert " is not a path below a notebook's prefix" in refusal("health", "path", f'"{path}"')


def test_a_choice_names_the_choices() -> None:
    assert value("health", "mode", '"off"') == "off"
    assert refusal("health", "mode", '"tpc"') == '"tpc" is not one of "tcp", "http", "off"'
    assert refusal("log", "format", "[1]") == '[1] is not one of "combined", "json"'


def test_a_switch_is_true_or_false_and_no_number() -> None:
    text = "[listen]\nproxy_protocol = true\ntrusted_proxies = ['10.0.0.0/8']\n"
    assert parsed(text).listen.proxy_protocol is True
    assert refusal("listen", "proxy_protocol", "1") == "1 is neither true nor false"
    assert refusal("listen", "proxy_protocol", '"no"') == '"no" is neither true nor false'


def test_the_proxy_protocol_is_believed_of_named_proxies_only() -> None:
    assert refusal("listen", "proxy_protocol", "true") == "needs listen.trusted_proxies beside it"


def test_the_status_page_has_a_socket_a_listener_or_nothing() -> None:
    assert value("status", "listen", '"unix"') == "unix"
    assert value("status", "listen", "9100") == 9100
    assert value("status", "listen", '"unix:/run/s.sock:mode=660"') == "unix:/run/s.sock:mode=660"
    assert value("status", "listen", '""') is None
    assert refusal("status", "listen", '"sock"').startswith('"sock" is neither a port from 0 to')


def test_the_status_page_is_not_shown_to_everybody() -> None:
    assert value("status", "public", "false") is False
    assert problems("[status]\npublic = true") == [
        'i.toml:2: status.public: needs a rule in auth.rules, such as path = "/_ipyproxy", that '
        "asks for something"
    ]


@pytest.mark.parametrize(("rules", "is_guarded"), [
    ('{path = "/_ipyproxy", require = "htpasswd"}', True),
    ('{path = "/", require = "htpasswd"}', True),
    ('{path = "/_ipyproxy", require = "none"}', False),
    ('{path = "/", require = "htpasswd"}, {path = "/_ipyproxy", require = "none"}', False),
    ('{path = "/", require = "none"}, {path = "/_ipyproxy", require = "htpasswd"}', True),
    ('{path = "/_ipyproxy/metrics", require = "htpasswd"}', False),
    ('{path = "/ipython", require = "htpasswd"}', False),
])  # fmt: skip
def test_a_public_status_page_needs_a_rule_that_asks_for_something(
    rules: str, is_guarded: bool
) -> None:
    text = f'auth.htpasswd = "users"\nauth.rules = [{rules}]\nstatus.public = true'
    if is_guarded:
        assert parsed(text).status.public is True
    else:
        assert "needs a rule in auth.rules" in problems(text)[0]


def test_a_list_is_no_string() -> None:
    why = refusal("notebooks", "site_cookies", '"galaxysession"')
    assert why == '"galaxysession" is not a list such as ["...", "..."]'


def test_durations_are_floats_and_sizes_are_ints() -> None:
    assert isinstance(value("timeouts", "head", "3"), float)
    assert value("timeouts", "head", "0.5") == 0.5
    assert value("limits", "body_bytes", "1048576") == 1048576
    assert refusal("limits", "head_bytes", "2048.0") == (
        "2048.0 is not a whole number of bytes from 1024 to 1048576"
    )


@pytest.mark.parametrize("toml", [
    "true", "nan", "inf", "-inf", "-1", '"10"', "0", "601", "1979-05-27",
])  # fmt: skip
def test_what_is_no_duration_is_refused(toml: str) -> None:
    why = refusal("timeouts", "head", toml)
    assert why.endswith(" is not a number of seconds from 0.1 to 600")


def test_zero_where_it_means_something_is_named() -> None:
    assert value("timeouts", "response", "0") == 0
    assert value("limits", "body_bytes", "0") == 0
    why = refusal("timeouts", "response", "-1")
    assert why == "-1 is not a number of seconds from 0.1 to 86400, nor 0 (never)"


def test_challenges_are_answered_on_plain_http_only() -> None:
    config = parsed('listen.acme_directory = "acme"\nlisten.http = 80')
    assert config.listen.acme_directory == Path("acme")
    # The port may be one that systemd opens, so none has to be named.
    assert parsed('listen.acme_directory = "acme"').listen.http is None


def test_certificate_and_key_come_together_or_not_at_all() -> None:
    both = 'certificate = "c.pem"\nkey = "k.pem"'
    assert parsed(f"[tls]\n{both}").tls == Tls(certificate=Path("c.pem"), key=Path("k.pem"))
    assert parsed('[tls]\ncertificate = ""\nkey = ""').tls == Tls()
    assert refusal("tls", "certificate", '"c.pem"') == "needs tls.key beside it"
    assert refusal("tls", "key", '"k.pem"') == "needs tls.certificate beside it"
    assert problems("", tls__key="k.pem") == ["--key: needs tls.certificate beside it"]
    with pytest.raises(RefusedError):
        Tls(certificate=Path("c.pem"))


@pytest.mark.parametrize("toml", ["1", '"a\\u0000b"', "[]"])
def test_what_is_no_path_is_refused(toml: str) -> None:
    assert refusal("state", "directory", toml).endswith(" is not the path of a file or directory")
    assert refusal("log", "access", toml).endswith(""" is not a file's path, nor "-", nor \"\"""")


def test_relative_paths_are_anchored_and_others_are_not() -> None:
    text = """
        tls.certificate = "c.pem"
        tls.key = "/k.pem"
        log.access = "access.log"
        state.directory = "state"
    """
    config = anchored(parsed(text), Path("/etc/x"))
    assert config.tls == Tls(certificate=Path("/etc/x/c.pem"), key=Path("/k.pem"))
    assert config.log.access == "/etc/x/access.log"
    assert config.state.directory == Path("/etc/x/state")
    assert anchored(Config(), Path("/etc/x")) == Config()
    off = parsed('log.access = ""')
    assert anchored(off, Path("/etc/x")) == off
