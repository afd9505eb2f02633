"""The configuration: what is taken, what is refused and in which words, and that etc/ tells it."""

from __future__ import annotations

import re
import tomllib
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactor

from ipyproxy.config import (
    FLAGS,
    Config,
    ConfigError,
    Listen,
    Ports,
    RefusedError,
    RouteEntry,
    Tls,
    anchored,
    parse,
)
from ipyproxy.config.values import _LISTENER, SERVICE_PORTS

EXAMPLE = Path(__file__).parents[2] / "etc" / "ipyproxy.toml"


def parsed(text: str, **overrides: object) -> Config:
    """The configuration of this text; overrides are spelled ``table__key``."""
    return parse(text, {key.replace("__", "."): v for key, v in overrides.items()}, "i.toml")


def problems(text: str, **overrides: object) -> list[str]:
    """What is said of a text that is refused."""
    with pytest.raises(ConfigError) as caught:
        parsed(text, **overrides)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


def value(table: str, key: str, toml: str) -> Any:
    """What a key's TOML value is read as."""
    return getattr(getattr(parsed(f"[{table}]\n{key} = {toml}\n"), table), key)


def refusal(table: str, key: str, toml: str) -> str:
    """Why a key's TOML value is refused; exactly one problem, on its line."""
    (problem,) = problems(f"[{table}]\n{key} = {toml}\n")
    place = f"i.toml:2: {table}.{key}: "
    assert problem.startswith(place)
    return problem.removeprefix(place)


# --- Ports ----------------------------------------------------------------------------------

SINGLES = st.integers(1, 65535).map(lambda port: (port, port))
SERVICES = st.sampled_from(SERVICE_PORTS).map(lambda port: (port, port))
RANGES = (
    st.tuples(st.integers(1024, 65535), st.integers(0, 3000))
    .map(lambda pair: (pair[0], min(pair[0] + pair[1], 65535)))
    .filter(lambda pair: pair != (2375, 2376) and pair != (2379, 2380))
)


def spelled(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"


@given(st.lists(SINGLES | SERVICES | RANGES, min_size=1, max_size=8))
def test_ports_hold_what_their_ranges_name_and_nothing_else(ranges: list[tuple[int, int]]) -> None:
    ports = Ports.read(",".join(spelled(*pair) for pair in ranges))
    named = {port for low, high in ranges for port in range(low, high + 1)} - set(SERVICE_PORTS)
    named |= {low for low, high in ranges if low == high}
    edges = {edge + step for pair in ranges for edge in pair for step in (-1, 0, 1)}
    edges |= set(SERVICE_PORTS)
    assert all((port in ports) == (port in named) for port in edges | {0, 1, 1023, 1024, 65535})
    assert {port for low, high in ports.ranges for port in range(low, high + 1)} == named


@given(st.lists(SINGLES | SERVICES | RANGES, min_size=1, max_size=8))
def test_ports_written_out_and_read_again_are_the_same(ranges: list[tuple[int, int]]) -> None:
    ports = Ports.read(",".join(spelled(*pair) for pair in ranges))
    assert Ports.read(str(ports)) == ports
    assert str(Ports.read(str(ports))) == str(ports)


@given(st.sets(st.integers(1, 65535), min_size=1, max_size=60))
def test_one_set_of_ports_has_one_spelling(ports: set[int]) -> None:
    assert Ports.read(sorted(ports)) == Ports.read(sorted(map(str, ports), reverse=True))


def test_ranges_that_touch_are_one() -> None:
    assert str(Ports.read("8002-8004,8000-8001,8005,8003")) == "8000-8005"


def test_every_port_is_in_or_out_of_the_default() -> None:
    ports = Config().notebooks.ports
    named = set(range(10000, 15000)) - {10250, 11211}
    assert {port for port in range(65537) if port in ports} == named
    assert "10000" not in ports
    assert str(ports) == "10000-10249,10251-11210,11212-14999"


def test_low_ports_stay_single_so_that_the_spelling_can_be_read_again() -> None:
    assert str(Ports.read("1024-1400,1022,1023, 443 ,443")) == "443,1022,1023,1024-1400"


def test_ports_come_as_a_string_a_number_or_a_list_of_both() -> None:
    expected = Ports.read("8888,10000-10010")
    assert value("notebooks", "ports", '"10000-10010, 8888"') == expected
    assert value("notebooks", "ports", '[8888, "10000-10010"]') == expected
    assert value("notebooks", "ports", "8888") == Ports.read("8888")
    assert value("notebooks", "ports", '["80,443", 9000]') == Ports.read("80,443,9000")


@pytest.mark.parametrize("toml", [
    '""', "[]", "0", "65536", "-1", "1.5", "true", "[true]", "[[8888]]", '"80-x"', '"0080"',
    '"+80"', '"8_0"', '"80,"', '"80\\n,90x"', '"８０"', '"٨٠"', '"1-2-3"', '"99999"', '"0-80"',
])  # fmt: skip
def test_what_is_no_list_of_ports_is_refused(toml: str) -> None:
    why = refusal("notebooks", "ports", toml)
    assert why.endswith(" is not a list of ports such as 10000-14999,8888")


@pytest.mark.parametrize("toml", ['"1-65535"', '"1023-1024"', '"80-80"', '[9000, "22-9000"]'])
def test_no_range_reaches_below_1024(toml: str) -> None:
    why = refusal("notebooks", "ports", toml)
    assert why.endswith('" reaches below 1024: name such ports one by one')


def test_no_range_covers_the_port_of_another_service() -> None:
    every = Ports.read("1024-65535")
    assert [port for port in range(1024, 65536) if port not in every] == list(SERVICE_PORTS)
    assert str(Ports.read("5000-6000")) == "5000-5431,5433-5671,5673-5899,5901-5983,5985-6000"
    assert str(Ports.read("5432-5500")) == "5433-5500"
    assert str(Ports.read("5400-5432")) == "5400-5431"


def test_whoever_means_a_service_names_it() -> None:
    ports = Ports.read("5430-5434,5432")
    assert [port for port in range(5425, 5440) if port in ports] == list(range(5430, 5435))
    assert str(ports) == "5430-5431,5432,5433-5434"
    assert 6379 in value("notebooks", "ports", "6379")


@pytest.mark.parametrize("toml", ['"2375-2376"', '"10000-10010,2379-2380"'])
def test_a_range_of_services_alone_is_refused(toml: str) -> None:
    why = refusal("notebooks", "ports", toml)
    assert why.endswith(" covers ports of well-known services only: name them")


def test_ports_can_be_listed_for_health_or_not() -> None:
    assert list(value("health", "ports", '""')) == []
    assert list(value("health", "ports", "[]")) == []
    assert list(value("health", "ports", '"10000-10002,10004"')) == [10000, 10001, 10002, 10004]
    why = refusal("health", "ports", '"10000,x"')
    assert why.endswith(" is not a list of ports such as 10000-14999,8888")


def test_only_a_served_port_can_be_looked_after() -> None:
    assert refusal("health", "ports", '"14998-15003"') == "15000 is none of notebooks.ports"


def test_a_range_runs_upwards() -> None:
    assert refusal("notebooks", "ports", '"8,9000-8000"') == '"9000-8000" ends before it begins'


# --- Values of other kinds ------------------------------------------------------------------


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


TABLES = {
    field.name: type(getattr(Config(), field.name))
    for field in attrs.fields(Config)
    if field.name != "routes"
}
NUMBERS = [
    (table, field.name)
    for table, kind in TABLES.items()
    for field in attrs.fields(kind)
    if type(field.default) in (int, float) and field.name != "https"
]


@pytest.mark.parametrize(("table", "key"), NUMBERS)
def test_every_number_has_a_range_that_its_refusal_names(table: str, key: str) -> None:
    for toml in ("-1", "1e99", "99999999999999999999", "true"):
        why = refusal(table, key, toml)
        assert re.search(r" is not a (whole )?number.* from [0-9.]+ to [0-9]+", why)


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


# --- Where a problem comes from -------------------------------------------------------------


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    text = """\
# notebooks.ports = "commented out"
[timeouts]
head = "soon"

[notebooks]
prefix = 'x'   # prefix = "/ok"
ports = "80-x"
[limits]
connections = 0
"""
    assert problems(text, listen__https="x", notebooks__ports="1-2") == [
        '--https: "x" is neither a port from 0 to 65535 nor an endpoint such as '
        '"tcp:443:interface=192.0.2.7" or "systemd:domain=INET:index=0"',
        '--ports: "1-2" reaches below 1024: name such ports one by one',
        'i.toml:3: timeouts.head: "soon" is not a number of seconds from 0.1 to 600',
        'i.toml:6: notebooks.prefix: "x" is not a path such as /ipython: '
        "a slash first, none last, of letters, digits and -._~",
        "i.toml:9: limits.connections: 0 is not a whole number from 1 to 1000000",
    ]


def test_each_bad_item_of_a_list_is_told() -> None:
    assert len(problems('[site]\nhosts = [\n  "a:1",\n  "b",\n  "c:1",\n]')) == 2


@pytest.mark.parametrize(("line", "text"), [
    (2, "[notebooks]\nports = 0"),
    (2, "[ 'notebooks' ] # x\n\"ports\" = 0"),
    (1, "notebooks.ports = 0"),
    (1, "notebooks = { prefix = '/x', ports = 0 }"),
    (3, "[notebooks]\r\n\r\nports = 0\r\n"),
    (4, "[notebooks]\n# ports = 0\n#[x]\nports = 0"),
    (7, "[log]\naccess = '''\n[notebooks]\nports = 0\n'''\n[notebooks]\nports = 0"),
    (5, "[notebooks]\nsite_cookies = [ # ]\n  'a', # ports = 0\n]\nports = 0"),
    (2, "[notebooks]\nports = [\n  1,\n  0,\n]"),
    (2, '[notebooks]\n"p\\u006frts" = 0'),
])  # fmt: skip
def test_the_line_is_found_as_toml_sees_it(line: int, text: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(f"i.toml:{line}: notebooks.ports: ")


def test_a_table_that_is_none_is_told() -> None:
    assert problems("listen = 3") == ["i.toml:1: listen: 3 is not a table"]
    assert problems("\n[[tls]]\nkey = 1") == ['i.toml:2: tls: [{"key": 1}] is not a table']
    assert problems("listen = 3", listen__https=4) == ["i.toml:1: listen: 3 is not a table"]


def test_a_long_value_is_cut_short() -> None:
    (problem,) = problems(f"[notebooks]\nports = {'x' * 500!r}")
    assert len(problem) < 200
    assert "xxx... is not a list of ports" in problem


@pytest.mark.parametrize(("text", "problem"), [
    ("[listen\nhttps = 1",
     "i.toml:1: the name of a table stands between [ and ], alone on its line"),
    ("[log]\n\naccess =",
     "i.toml:3: what stands behind the = is no value; text stands between quotes"),
    ('\n[log]\naccess = """x\n\n', "i.toml:3: a text between quotes does not end"),
    ("[log]\naccess = '-'\naccess = ''\n",
     "i.toml:3: this key has a value already, further up; keep one of the two"),
    ("[listen]\n[log]\n[listen]\n",
     "i.toml:3: the table listen is there already, further up; put its keys together"),
    ("[log]\naccess = /var/log/x\n",
     "i.toml:2: what stands behind the = is no value; text stands between quotes"),
    ("[log]\naccess: 1\n", "i.toml:2: a key is followed by = and its value"),
    ("[log]\naccess = 'a' format = 'b'\n",
     "i.toml:2: something stands behind the value; each key has its own line"),
    ("x = 1" + "0" * 5000, "i.toml: "),
])  # fmt: skip
def test_toml_that_is_none_is_told_with_its_line(text: str, problem: str) -> None:
    (told,) = problems(text)
    assert told.startswith(problem)


@pytest.mark.parametrize(("text", "problem"), [
    ("[listen]\nhtps = 1", 'i.toml:2: listen.htps: unknown key; did you mean "https"?'),
    ("[listn]\nhttps = 1", 'i.toml:1: listn: unknown key; did you mean "listen"?'),
    ("https = 1", 'i.toml:1: https: unknown key; did you mean "listen.https"?'),
    ("[log]\n'ports' = 1", 'i.toml:2: log.ports: unknown key; did you mean "notebooks.ports"?'),
    ("[site]\ntrusted-origins = []",
     'i.toml:2: site.trusted-origins: unknown key; did you mean "trusted_origins"?'),
    ("[log]\nzzz = 1", "i.toml:2: log.zzz: unknown key"),
])  # fmt: skip
def test_unknown_keys_are_told_with_what_was_meant(text: str, problem: str) -> None:
    assert problems(text) == [problem]


def test_the_command_line_wins_over_the_file() -> None:
    config = parsed("[notebooks]\nports = 'bad'\nprefix = '/x'", notebooks__ports="8888")
    assert config.notebooks.ports == Ports.read("8888")
    assert config.notebooks.prefix == "/x"


def test_every_option_of_the_command_line_sets_a_key_that_exists() -> None:
    for dotted in FLAGS:
        table, key = dotted.split(".")
        assert hasattr(getattr(Config(), table), key)


# --- etc/ipyproxy.toml ----------------------------------------------------------------------


def test_the_example_file_changes_nothing() -> None:
    assert parsed(EXAMPLE.read_text()) == Config()


def test_the_example_file_has_every_key_with_its_default() -> None:
    lines = EXAMPLE.read_text().splitlines()
    text = "\n".join(line[1:] if re.match(r"#(\w+ =|\[\[)", line) else line for line in lines)
    assert parsed(text.partition("\n[[routes]]")[0]) == Config()
    document = tomllib.loads(text)
    assert document.pop("include") == []
    [route] = document.pop("routes")
    keys = {table: list(content) for table, content in document.items()}
    assert keys == {
        table: [field.name for field in attrs.fields(kind)] for table, kind in TABLES.items()
    }
    assert list(route) == [field.name for field in attrs.fields(RouteEntry)]
    led = text.replace('\nto = ""', '\nto = "unix:/a"')
    assert parsed(led).routes == parsed('[[routes]]\nto = "unix:/a"').routes


def test_the_example_file_says_a_word_on_every_key() -> None:
    text = EXAMPLE.read_text()
    assert not re.search(r"^(#\w+ = .*|\[.*|)\n\n#\w+ =", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 100
