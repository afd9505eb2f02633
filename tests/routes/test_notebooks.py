"""Targets: what is passed on is passed byte for byte, and nothing that climbs is passed at all."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.routes.notebooks import NotebookHosts, ServedPorts, parse_port, parse_target
from tests.http1 import grammar


def refusal_of(target: bytes, method: bytes = b"GET") -> Problem:
    with pytest.raises(ProxyError) as caught:
        parse_target(method, target)
    return caught.value.problem


def taken_apart(target: bytes) -> tuple[bytes, bytes, bytes | None]:
    parsed = parse_target(b"GET", target)
    return parsed.origin_form, parsed.path, parsed.authority


# Forms.


def test_a_path_and_its_query() -> None:
    target = b"/ipython/10000/api?path=/../x&y=%zz?"
    assert taken_apart(target) == (target, b"/ipython/10000/api", None)


@pytest.mark.parametrize(
    ("raw", "origin_form", "authority"),
    [
        (b"http://localhost/a?b", b"/a?b", b"localhost"),
        (b"https://localhost:8443/", b"/", b"localhost:8443"),
        (b"HTTPS://LocalHost", b"/", b"LocalHost"),
        (b"http://localhost?a/../b", b"/?a/../b", b"localhost"),
        (b"http://[::1]:8443/x", b"/x", b"[::1]:8443"),
        # Whether these are hosts is for access.py to say.
        (b"http://user@localhost/", b"/", b"user@localhost"),
        (b"http:///x", b"/x", b""),
        (b"http://localhost\\@evil/x", b"/x", b"localhost\\@evil"),
        (b"http://localhost:8443evil/", b"/", b"localhost:8443evil"),
    ],
)
def test_an_absolute_target_becomes_a_path(
    raw: bytes, origin_form: bytes, authority: bytes
) -> None:
    path = origin_form.partition(b"?")[0]
    assert taken_apart(raw) == (origin_form, path, authority)


@pytest.mark.parametrize(
    "target",
    [
        b"localhost",
        b"localhost:443",
        b"127.0.0.1:22",
        b"ipython/10000/",
        b"*",
        b"**",
        b"?a",
        b"ftp://localhost/",
        b"ws://localhost/",
        b"file:///etc/passwd",
        b"http:/localhost/",
        b"http:localhost/",
        b"http//localhost/",
        b"\\ipython\\10000\\",
    ],
)
def test_other_forms_lead_nowhere(target: bytes) -> None:
    assert refusal_of(target) is Problem.BAD_TARGET


def test_the_server_as_a_whole_is_nothing_to_ask() -> None:
    assert refusal_of(b"*", b"OPTIONS") is Problem.NOT_FOUND


# Paths.


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"/ipython/10000/",
        b"/ipython/10000/a%2Fb/c%25d/e%20f",
        "/ipython/10000/Übung 1".replace(" ", "%20").encode(),
        b"/ipython/10000/%c3%9c",
        b"/ipython/10000/.hidden/..a/...",
        b"/ipython/10000/a../b./c%2e",
        b"/ipython/10000/%2ehidden",
        b"/ipython/10000/a//b",
        b"/ipython/10000/%252e%252e/",
        b"/ipython/10000/%c0%ae%c0%ae/",
        b"/ipython/10000/\xc0\xae\xc0\xae/",
        b"/ipython/10000/a;b=c/@x:1,2",
        b"/ipython/10000/[1]^`{|}",
        b"/ipython/10000/%0d%0aX:y",
    ],
)
def test_a_name_that_notebooks_really_have_passes_byte_for_byte(path: bytes) -> None:
    assert taken_apart(path + b"?q") == (path + b"?q", path, None)
    assert taken_apart(b"http://h" + path) == (path, path, b"h")


CLIMBS = [
    b"/..", b"/.", b"/../", b"/./", b"/../22/", b"/a/../b", b"/a/./b", b"/a/..", b"/a/.",
    b"/%2e%2e/", b"/%2E./", b"/.%2e/x", b"/%2e", b"/%2e%2E", b"/..%2f", b"/..%2Fx", b"/a%2f..%2fx",
    b"/a%2f%2e%2e%2fx", b"/a%2f..", b"/..%5c", b"/a%5c..%5cx", b"/%5c..", b"/..;/x", b"/..;",
    b"/..;a=b/x", b"/.;/x", b"/%2e%2e;/x", b"/..%3b/x", b"/..%3B", b"/..?x",
]  # fmt: skip


@pytest.mark.parametrize("step", CLIMBS)
@pytest.mark.parametrize(
    "prefix", [b"", b"/ipython/10000", b"http://localhost", b"/ipython/10000/a"]
)
def test_a_path_that_climbs_is_refused(prefix: bytes, step: bytes) -> None:
    assert refusal_of(prefix + step) is Problem.BAD_TARGET


@pytest.mark.parametrize(
    "path",
    [
        b"//",
        b"//evil.example/",
        b"//ipython/10000/",
        b"///ipython/10000/",
        b"http://localhost//evil.example/",
        b"/\\evil.example/",
        b"/ipython\\10000/",
        b"/ipython/10000/..\\22",
        b"/ipython/10000/%",
        b"/ipython/10000/%2",
        b"/ipython/10000/%zz",
        b"/ipython/10000/%u002e",
        b"/ipython/10000/%%32%65",
        b"/ipython/10000/a%",
        b"/ipython/10000/%00",
        b"/ipython/10000/a%00.ipynb?x",
    ],
)
def test_a_path_that_two_may_read_differently_is_refused(path: bytes) -> None:
    assert refusal_of(path) is Problem.BAD_TARGET


def steps_out(path: bytes) -> bool:
    """Whether any reader that decodes once may see a dot segment."""
    decoded = re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes([int(match[1], 16)]), path)
    segments = re.split(rb"[/\\]", decoded)[1:]
    return any(segment.partition(b";")[0] in (b".", b"..") for segment in segments)


PIECES = [
    b"/", b".", b"..", b"%2e", b"%2E", b"%2f", b"%5c", b"\\", b"%", b"%25", b"%00", b";", b"%3b",
    b"?", b"a", b"\xc0\xae", b"http://h", b"//", b"*", b"#", b"@", b":", b"ipython", b"10000",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join))
@example(b"/%2e%2f")
def test_what_passes_is_the_raw_target_and_stays_where_it_is(raw: bytes) -> None:
    try:
        target = parse_target(b"GET", raw)
    except ProxyError:
        return
    if b"#" not in raw:  # no head has one in its target
        assert grammar.ORIGIN_FORM.fullmatch(target.origin_form)
    assert raw.endswith((target.origin_form, target.origin_form[1:]))
    assert target.authority is not None or target.origin_form == raw
    assert target.path == target.origin_form.partition(b"?")[0]
    assert not target.path.startswith(b"//")
    assert not steps_out(target.path)


# Ports.


@pytest.mark.parametrize(
    "segment",
    [
        b"", b"0", b"00", b"0080", b"+80", b"-80", b" 80", b"80 ", b"8_0", b"80.0", b"8e1", b"0x50",
        b"80%00", b"80\0", b"80\n", b"80\r", b"80\t", b"80\x85", b"80;x", b"80,", b"%380", b"%3880",
        b"65536", b"99999", b"100000", b"18446744073709551696", "８０".encode(), "٨٠".encode(),
        "８０".encode("utf-16-be"), b"\xb2\xb3", b"localhost:80", b"8888%2f..%2f22", b"80-81",
    ],
)  # fmt: skip
def test_a_port_has_one_spelling(segment: bytes) -> None:
    assert parse_port(segment) is None


def test_every_port_s_own_spelling_is_taken() -> None:
    spelled = {str(port).encode(): port for port in range(1, 65536)}
    assert {segment: parse_port(segment) for segment in spelled} == spelled


@given(st.binary(max_size=7) | st.text("0123456789", max_size=7).map(str.encode))
def test_no_other_spelling_of_a_port_is_taken(segment: bytes) -> None:
    port = parse_port(segment)
    if port is None:
        assert segment not in {str(number).encode() for number in range(1, 65536)}
    else:
        assert str(port).encode() == segment


def test_only_configured_ports_are_served_and_never_our_own() -> None:
    own: set[int] = set()
    ports = ServedPorts(range(10000, 10003), own)
    assert [port for port in range(9990, 10010) if port in ports] == [10000, 10001, 10002]
    own.add(10001)
    assert [port for port in range(9990, 10010) if port in ports] == [10000, 10002]
    assert "10000" not in ports
    assert None not in ports


# Hosts of notebooks.

HOSTS = NotebookHosts("nb.example.org", "/ipython")
HUB = b"https://hub.example.org:8443"
ITS_OWN = b"https://10000.nb.example.org:8443"


@pytest.mark.parametrize(
    ("public", "target", "moved"),
    [
        (HUB, b"/ipython/10000/lab?x=%2F", ITS_OWN + b"/ipython/10000/lab?x=%2F"),
        (HUB, b"/ipython/10000", ITS_OWN + b"/ipython/10000"),
        (b"https://hub.example.org", b"/ipython/10000/", b"https://10000.nb.example.org/ipython/10000/"),
        (b"https://[2001:db8::7]", b"/ipython/1/", b"https://1.nb.example.org/ipython/1/"),
        (b"https://[2001:db8::7]:8443", b"/ipython/1/", b"https://1.nb.example.org:8443/ipython/1/"),
        (HUB, b"/", None),
        (HUB, b"/ipython/", None),
        (HUB, b"/ipython/010000/", None),
        (ITS_OWN, b"/", b"/ipython/10000/"),
        (ITS_OWN, b"/ipython/10000/lab", None),
        (ITS_OWN, b"/ipython/10000", None),
    ],
)  # fmt: skip
def test_each_notebook_is_at_its_own_host(
    public: bytes, target: bytes, moved: bytes | None
) -> None:
    assert HOSTS.moved(public, target.partition(b"?")[0], target) == moved


@pytest.mark.parametrize(
    ("public", "path", "problem"),
    [
        (ITS_OWN, b"/ipython/10001/", Problem.MISDIRECTED),
        (ITS_OWN, b"/ipython/100000/", Problem.MISDIRECTED),
        (ITS_OWN, b"/ipython/", Problem.MISDIRECTED),
        (ITS_OWN, b"/_ipyproxy/state/10001", Problem.NOT_FOUND),
        (ITS_OWN, b"/healthz", Problem.NOT_FOUND),
        (ITS_OWN, b"/ipython", Problem.NOT_FOUND),
        (b"https://evil.nb.example.org", b"/", Problem.MISDIRECTED),
        (b"https://010000.nb.example.org", b"/ipython/10000/", Problem.MISDIRECTED),
        (b"https://99999.nb.example.org", b"/ipython/10000/", Problem.MISDIRECTED),
    ],
)
def test_and_nothing_else_is(public: bytes, path: bytes, problem: Problem) -> None:
    with pytest.raises(ProxyError) as caught:
        HOSTS.moved(public, path, path)
    assert caught.value.problem is problem


@given(st.integers(1, 65535), st.integers(1, 65535), st.sampled_from([b"", b"/", b"/x", b"/../1"]))
def test_no_path_at_a_notebook_s_host_is_another_s(host: int, port: int, rest: bytes) -> None:
    path = b"/ipython/%d%b" % (port, rest)
    try:
        moved = HOSTS.moved(b"https://%d.nb.example.org" % host, path, path)
    except ProxyError:
        assert host != port
    else:
        assert moved is None
        assert host == port
