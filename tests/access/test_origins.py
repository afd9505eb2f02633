"""Access: only our own pages, or those of trusted sites, get at a notebook through a browser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyproxy.access.origins import Policy
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.head import HeadLimits, RequestHead, parse_request
from tests.http1 import grammar

NAMES = ("hub.example.org", "*.tools.example.org", "localhost", "127.0.0.1", "2001:db8::7")
POLICY = Policy(NAMES, ["https://galaxy.example.org", "http://plain.example.org:8080"])
OWN = b"https://hub.example.org:8443"

WEBSOCKET = (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13")


def request(*fields: bytes, method: bytes = b"GET") -> RequestHead:
    return parse_request(b"\r\n".join([method + b" /x HTTP/1.1", *fields]), HeadLimits())


def from_page(*fields: bytes, method: bytes = b"GET") -> RequestHead:
    return request(b"Host: hub.example.org:8443", *fields, method=method)


def authorize(
    policy: Policy, head: RequestHead, authority: bytes | None, server_name: bytes | None = None
) -> bytes:
    """Both decisions on one request for a notebook; the public origin that it was addressed to."""
    public = policy.addressed(head, authority, server_name)[1]
    policy.check_origin(head, public)
    return public


def refusal_of(head: RequestHead, authority: bytes | None = None) -> Problem:
    with pytest.raises(ProxyError) as caught:
        authorize(POLICY, head, authority)
    return caught.value.problem


# Which host is meant.


@pytest.mark.parametrize(
    ("host", "served", "public"),
    [
        (b"hub.example.org", b"hub.example.org", b"https://hub.example.org"),
        (b"hub.example.org:443", b"hub.example.org", b"https://hub.example.org"),
        (b"hub.example.org:8443", b"hub.example.org", b"https://hub.example.org:8443"),
        (b"HUB.Example.ORG:8443", b"hub.example.org", b"https://hub.example.org:8443"),
        (b"a.tools.example.org", b"a.tools.example.org", b"https://a.tools.example.org"),
        (b"127.0.0.1:8443", b"127.0.0.1", b"https://127.0.0.1:8443"),
        (b"[2001:db8::7]:8443", b"[2001:db8::7]", b"https://[2001:db8::7]:8443"),
        (b"[2001:DB8::7]", b"[2001:db8::7]", b"https://[2001:db8::7]"),
        (b"[2001:db8:0::0.0.0.7]:8443", b"[2001:db8::7]", b"https://[2001:db8::7]:8443"),
        (b"localhost:65535", b"localhost", b"https://localhost:65535"),
    ],
)
def test_a_host_that_is_served(host: bytes, served: bytes, public: bytes) -> None:
    head = request(b"Host: " + host)
    assert authorize(POLICY, head, None) == public
    assert POLICY.served_host(head, None) == served


@pytest.mark.parametrize("count", [0, 2, 3])
def test_there_is_exactly_one_host(count: int) -> None:
    head = request(*[b"Host: hub.example.org"] * count)
    assert refusal_of(head) is Problem.BAD_REQUEST
    assert refusal_of(head, b"hub.example.org") is Problem.BAD_REQUEST
    with pytest.raises(ProxyError):
        POLICY.served_host(head, None)


NO_HOSTS = [
    b"", b":", b":8443", b"hub.example.org:", b"hub.example.org:0", b"hub.example.org:080",
    b"hub.example.org:+443", b"hub.example.org:65536", b"hub.example.org:99999",
    b"hub.example.org:8443evil", b"hub.example.org:8443:8443", b"hub.example.org:x",
    b"hub.example.org/b?", b"hub.example.org?", b"hub.example.org#", b"hub.example.org\\x",
    b"a@hub.example.org", b"hub.example.org@evil", b"hub.example.org, evil", b"hub.example.org;x",
    b"hub.example.org evil", b"hub.example.org\tevil", b"hub%2eexample.org", b"hub.example.org%00",
    b"hub.example.org\xa0", "hüb.example.org".encode(), b"<script>", b"'hub.example.org'", b"*",
    b"[localhost]", b"[127.0.0.1]", b"[hub.example.org]", b"[]", b"[:", b"[::1", b"::1]",
    b"2001:db8::7", b"[2001:db8::7%25eth0]", b"[2001:db8::7%eth0]", b"[2001:db8::7]8443",
    b"[[2001:db8::7]]", b"[v1.fe80::a+en1]", b"a" * 254, b"https://hub.example.org",
]  # fmt: skip


@pytest.mark.parametrize("host", NO_HOSTS)
def test_a_host_that_is_none(host: bytes) -> None:
    assert refusal_of(request(b"Host: " + host)) is Problem.BAD_REQUEST


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example",
        b"hub.example.org.",
        b"hub.example.org.:8443",
        b"localhost.",
        b".hub.example.org",
        b"hub.example.org.evil",
        b"xhub.example.org",
        b"tools.example.org",
        b"a.b.tools.example.org",
        b"127.0.0.2",
        b"127.1",
        b"127.0.0.01",
        b"2130706433",
        b"0x7f.0.0.1",
        b"[::1]",
        b"[::]",
        b"[::ffff:127.0.0.1]",
        b"[dead:beef]",
        b"[:.]",
    ],
)
def test_a_host_that_is_not_ours(host: bytes) -> None:
    assert refusal_of(request(b"Host: " + host)) is Problem.MISDIRECTED
    assert refusal_of(request(b"Host: hub.example.org"), host) is Problem.MISDIRECTED


def test_a_target_may_name_the_host_again() -> None:
    head = from_page()
    assert authorize(POLICY, head, b"hub.example.org:8443") == OWN


@pytest.mark.parametrize("name", [None, b"hub.example.org"])
def test_a_connection_for_the_host_or_for_none_will_do(name: bytes | None) -> None:
    assert authorize(POLICY, from_page(), None, name) == OWN
    assert authorize(POLICY, from_page(), b"hub.example.org:8443", name) == OWN


@pytest.mark.parametrize("name", [b"localhost", b"example.org", b"hub.example.org:8443", b"\xff"])
def test_a_connection_that_was_made_for_another_host(name: bytes) -> None:
    """One of ours or not, and though the one before it in the memory was in order."""
    assert authorize(POLICY, from_page(), None) == OWN
    with pytest.raises(ProxyError) as caught:
        authorize(POLICY, from_page(), None, name)
    assert caught.value.problem is Problem.WRONG_CONNECTION


@pytest.mark.parametrize("authority", [b"hub.example.org", b"HUB.example.org:8443", b"localhost"])
def test_a_target_that_names_another_of_our_hosts_than_host(authority: bytes) -> None:
    assert refusal_of(from_page(), authority) is Problem.BAD_REQUEST


@pytest.mark.parametrize("authority", NO_HOSTS)
def test_a_target_that_names_no_host(authority: bytes) -> None:
    assert refusal_of(from_page(), authority) is Problem.BAD_REQUEST


@given(st.text("ab01.:[]@%/_-x\\ ", max_size=12).map(str.encode) | st.binary(max_size=12))
def test_no_public_origin_is_made_of_what_is_no_authority(host: bytes) -> None:
    everybody = Policy(["*.a", "a", "b", "0.0.0.0", "::", "a.b"], [])
    try:
        public = authorize(everybody, request(b"Host: " + host), None)
    except ProxyError:
        return
    scheme, _, authority = public.partition(b"://")
    assert scheme == b"https"
    assert grammar.AUTHORITY.fullmatch(authority)
    assert host.strip(b" \t").lower() in (authority, authority + b":443")


# Which page sent it.

FOREIGN = [
    b"https://evil.example", b"null", b"", b"https://hub.example.org.evil:8443",
    b"https://hub.example.org", b"https://hub.example.org:443", b"https://hub.example.org:84430",
    b"https://hub.example.org:8443/", b"https://hub.example.org:8443.", b"https://hub.example.org.:8443",
    b"http://hub.example.org:8443", b"HTTPS://hub.example.org:8443", b"wss://hub.example.org:8443",
    b"hub.example.org:8443", b"//hub.example.org:8443", b"https://HUB.example.org:8443",
    b"https://x@hub.example.org:8443", b"https://hub.example.org:8443@evil",
    b"https://hub.example.org:8443 https://evil", b"https://hub.example.org:8443, https://evil",
    b"https://evil, https://hub.example.org:8443", b"https://a.hub.example.org:8443", b"*",
    b"http://127.0.0.1:10000", b"http://localhost:10000", b"https://galaxy.example.org.evil",
    b"https://galaxy.example.org:443", b"http://galaxy.example.org", b"file://", b"chrome-extension://a",
]  # fmt: skip


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"POST", b"DELETE", b"QUERY"])
def test_another_site_s_page_gets_nothing_by_http(origin: bytes, method: bytes) -> None:
    head = from_page(b"Origin: " + origin, method=method)
    assert refusal_of(head) is Problem.ORIGIN_DENIED


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("site", [(), (b"Sec-Fetch-Site: same-origin",)])
def test_another_site_s_page_gets_no_websocket(origin: bytes, site: tuple[bytes, ...]) -> None:
    head = from_page(b"Origin: " + origin, *WEBSOCKET, *site)
    assert refusal_of(head) is Problem.ORIGIN_DENIED


@pytest.mark.parametrize(
    "origin", [OWN, b"https://galaxy.example.org", b"http://plain.example.org:8080"]
)
@pytest.mark.parametrize("method", [b"GET", b"POST", b"PATCH"])
@pytest.mark.parametrize("websocket", [(), WEBSOCKET])
def test_our_own_pages_and_trusted_ones_get_through(
    origin: bytes, method: bytes, websocket: tuple[bytes, ...]
) -> None:
    head = from_page(b"Origin: " + origin, *websocket, method=method)
    assert authorize(POLICY, head, None) == OWN


def test_the_origin_is_that_of_the_host_asked_for_not_of_any_host_we_serve() -> None:
    head = request(b"Host: localhost", b"Origin: https://127.0.0.1")
    assert refusal_of(head) is Problem.ORIGIN_DENIED
    head = request(b"Host: 127.0.0.1", b"Origin: https://127.0.0.1")
    assert authorize(POLICY, head, None) == b"https://127.0.0.1"


def test_two_origins_are_one_too_many() -> None:
    for second in (OWN, b"https://evil.example"):
        head = from_page(b"Origin: " + OWN, b"origin: " + second)
        assert refusal_of(head) is Problem.ORIGIN_DENIED


def test_connection_does_not_take_origin_out_of_sight() -> None:
    head = from_page(b"Connection: origin, upgrade", b"Origin: https://evil.example")
    assert refusal_of(head) is Problem.ORIGIN_DENIED


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_null_passes_on_a_request_that_the_browser_marks_as_our_own_page_s(method: bytes) -> None:
    head = from_page(b"Origin: null", b"Sec-Fetch-Site: same-origin", method=method)
    assert authorize(POLICY, head, None) == OWN


@pytest.mark.parametrize(
    "site",
    [
        (),
        (b"Sec-Fetch-Site: cross-site",),
        (b"Sec-Fetch-Site: same-site",),
        (b"Sec-Fetch-Site: none",),
        (b"Sec-Fetch-Site: Same-Origin",),
        (b"Sec-Fetch-Site: same-origin, cross-site",),
        (b"Sec-Fetch-Site: same-origin", b"Sec-Fetch-Site: cross-site"),
        (b"Sec_Fetch_Site: same-origin",),
        (b"Sec-Fetch-Site:",),
    ],
)
def test_null_passes_on_no_other(site: tuple[bytes, ...]) -> None:
    assert refusal_of(from_page(b"Origin: null", *site)) is Problem.ORIGIN_DENIED


def test_a_program_that_sends_no_origin_passes_on_to_whatever_authentication_is_set() -> None:
    for head in (from_page(), from_page(*WEBSOCKET), from_page(method=b"DELETE")):
        assert authorize(POLICY, head, None) == OWN


@pytest.mark.parametrize("site", [b"same-origin", b"none"])
@pytest.mark.parametrize("method", [b"GET", b"POST", b"PUT", b"DELETE"])
def test_what_no_other_site_caused_passes(site: bytes, method: bytes) -> None:
    head = from_page(b"Sec-Fetch-Site: " + site, method=method)
    assert authorize(POLICY, head, None) == OWN


@pytest.mark.parametrize("site", [b"cross-site", b"same-site", b"", b"same-origin, x"])
@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"DELETE", b"post", b"QUERY", b"X"])
def test_another_site_changes_nothing(site: bytes, method: bytes) -> None:
    head = from_page(b"Sec-Fetch-Site: " + site, method=method)
    assert refusal_of(head) is Problem.ORIGIN_DENIED


def test_another_site_opens_no_tunnel_even_without_saying_who_it_is() -> None:
    head = from_page(b"Sec-Fetch-Site: cross-site", *WEBSOCKET)
    assert refusal_of(head) is Problem.ORIGIN_DENIED


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS"])
def test_a_link_on_another_site_leads_here(method: bytes) -> None:
    assert authorize(POLICY, from_page(b"Sec-Fetch-Site: cross-site", method=method), None) == OWN


# An attacker who may choose every field that a page can, and some that it can't.


@given(
    st.sampled_from([b"GET", b"POST"]),
    st.lists(st.sampled_from([OWN, *FOREIGN]), max_size=2),
    st.lists(st.sampled_from([b"same-origin", b"cross-site", b"none"]), max_size=2),
    st.booleans(),
)
def test_no_foreign_origin_gets_through_in_any_company(
    method: bytes, origins: list[bytes], sites: list[bytes], upgrade: bool
) -> None:
    fields = [b"Origin: " + origin for origin in origins]
    fields += [b"Sec-Fetch-Site: " + site for site in sites]
    fields += WEBSOCKET if upgrade else ()
    excused = origins == [b"null"] and sites == [b"same-origin"] and not upgrade
    try:
        authorize(POLICY, from_page(*fields, method=method), None)
    except ProxyError:
        return
    assert origins in ([], [OWN]) or excused
    if not origins and (upgrade or method == b"POST"):
        assert b"cross-site" not in sites


def test_what_is_told_to_the_log_is_short() -> None:
    with pytest.raises(ProxyError) as caught:
        authorize(POLICY, from_page(b"Origin: https://" + b"a" * 9000), None)
    assert len(caught.value.detail) < 500
