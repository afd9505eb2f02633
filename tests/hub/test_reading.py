"""What a hub says, taken apart: paths, bodies, targets and dates."""

from __future__ import annotations

import pytest

from ipyproxy.hub.reading import (
    MalformedError,
    place_of,
    read_data,
    read_inactive_since,
    read_target,
    route_path,
)
from ipyproxy.net.address import NamedAddress, TCPAddress, UNIXPath


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        (b"/api/routes", "/"),
        (b"/api/routes/", "/"),
        (b"/api/routes/user/ann", "/user/ann"),
        (b"/api/routes/user/ann/", "/user/ann"),
        (b"/api/routes/user/foo%40bar", "/user/foo@bar"),
        (b"/api/routes/%E7%A7%80%E6%A8%B9", "/秀樹"),
        (b"/api/routes/b%20r", "/b r"),
        (b"/api/routesx", None),
        (b"/api", None),
        (b"/", None),
    ],
)
def test_a_path_of_the_api_names_a_route(asked: bytes, path: str | None) -> None:
    assert route_path(asked) == path


def test_a_path_that_is_no_text_names_none() -> None:
    with pytest.raises(MalformedError):
        route_path(b"/api/routes/%ff")


@pytest.mark.parametrize(
    ("path", "host_routing", "place"),
    [
        ("/", False, (b"", b"/")),
        ("/user/ann", False, (b"", b"/user/ann")),
        ("/hub.org", True, (b"hub.org", b"/")),
        ("/Ann.hub.org/user/ann", True, (b"ann.hub.org", b"/user/ann")),
        ("/", True, (b"", b"/")),
        ("/秀樹", False, (b"", "/秀樹".encode())),
    ],
)
def test_with_host_routing_the_first_segment_is_the_host(
    path: str, host_routing: bool, place: tuple[bytes, bytes]
) -> None:
    assert place_of(path, host_routing=host_routing) == place


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"notjson", b"[]", b"null", b"7", b"{}", b'{"target": 7}', b"[" * 100_000],
)
def test_a_body_needs_a_target(body: bytes) -> None:
    with pytest.raises(MalformedError):
        read_data(body)


def test_whatever_else_is_in_a_body_stays() -> None:
    said = read_data(b'{"target": "http://127.0.0.1:1", "jupyterhub": true, "n": {"a": [1]}}')
    assert said == {"target": "http://127.0.0.1:1", "jupyterhub": True, "n": {"a": [1]}}


@pytest.mark.parametrize(
    ("target", "name", "address", "tls_name", "below"),
    [
        ("http://127.0.0.1:8888", "http://127.0.0.1:8888", TCPAddress("127.0.0.1", 8888), "", b""),
        ("http://10.0.0.9/", "http://10.0.0.9:80", TCPAddress("10.0.0.9", 80), "", b""),
        ("http://[::1]:9/a/b/", "http://[::1]:9", TCPAddress("::1", 9), "", b"/a/b"),
        ("https://10.0.0.9", "https://10.0.0.9:443", TCPAddress("10.0.0.9", 443), "10.0.0.9", b""),
        ("http://Hub:8081", "http://hub:8081", NamedAddress("hub", 8081), "", b""),
        ("https://hub:1", "https://hub:1", NamedAddress("hub", 1), "hub", b""),
        ("http+unix://%2Frun%2Fa.sock", "unix:/run/a.sock", UNIXPath("/run/a.sock"), "", b""),
        ("unix+http://%2FRun%2Fa/x", "unix:/Run/a", UNIXPath("/Run/a"), "", b"/x"),
    ],
)
def test_where_a_target_leads(
    target: str, name: str, address: object, tls_name: str, below: bytes
) -> None:
    application = read_target(target)
    (server,) = application.servers
    assert (server.name, server.address, server.tls_name) == (name, address, tls_name)
    assert application.below == below


@pytest.mark.parametrize(
    "target",
    [
        "",
        "127.0.0.1:80",
        "ftp://127.0.0.1",
        "http://",
        "http://user@host",
        "http://host:0",
        "http://host:99999",
        "http://a b/",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/a\r\nX: y",
        "http+unix://relative",
        "http+unix://%2F" + "a" * 200,
    ],
)
def test_what_is_no_target(target: str) -> None:
    with pytest.raises(MalformedError):
        read_target(target)


def test_a_date_may_have_either_name_and_has_to_be_one() -> None:
    assert read_inactive_since("") is None
    assert read_inactive_since("inactive_since=1970-01-01T00:01:00Z") == 60
    assert read_inactive_since("inactiveSince=1970-01-01T00:01:00.500Z") == 60.5
    with pytest.raises(MalformedError):
        read_inactive_since("inactiveSince=endoftheuniverse")
