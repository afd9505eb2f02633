"""Addresses, scopes and cookies in answers: what a notebook may say to a browser."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.http.fields import PUBLIC, browser_gets

# Addresses in an answer.


@pytest.mark.parametrize("name", [b"Location", b"Content-Location"])
@pytest.mark.parametrize("scheme", [b"http:", b"HTTP:", b"https:", b""])
@pytest.mark.parametrize("host", [b"127.0.0.1", b"localhost", b"LocalHost", b"[::1]"])
@pytest.mark.parametrize("rest", [b"/x?y=http://127.0.0.1:10000/#z", b"", b"?a", b"#b"])
def test_upstream_s_own_authority_becomes_the_public_one(
    name: bytes, scheme: bytes, host: bytes, rest: bytes
) -> None:
    own = scheme + b"//" + host + b":10000"
    assert browser_gets(name + b": " + own + rest) == [name + b": " + PUBLIC + rest]


@pytest.mark.parametrize(
    "location",
    [
        b"/ipython/10000/tree",
        b"tree?a=b",
        b"",
        b"//evil.example/",
        b"https://evil.example/",
        b"http://127.0.0.1:10000@evil/",
        b"http://127.0.0.1:10000.evil/",
        b"http://127.0.0.1:10000\\@evil/",
        b"http://127.0.0.1:100001/",
        b"http://127.0.0.1:1000/",
        b"http://127.0.0.1:010000/",
        b"http://127.0.0.1/",
        b"http://127.0.0.1:10001/",
        b"http://127.0.0.2:10000/",
        b"http://127x0y0z1:10000/",
        b"http://localhost.evil:10000/",
        b"http://user@127.0.0.1:10000/",
        b"ftp://127.0.0.1:10000/",
        b"ws://127.0.0.1:10000/",
        b"http:/127.0.0.1:10000/",
        b"http:127.0.0.1:10000/",
        b"///127.0.0.1:10000/",
        b"javascript://127.0.0.1:10000/%0aalert(1)",
        b"/x?next=http://127.0.0.1:10000/",
        b"https://evil/http://127.0.0.1:10000/",
    ],
)
def test_a_foreign_address_passes_untouched(location: bytes) -> None:
    assert browser_gets(b"Location: " + location) == [b"Location: " + location]


@pytest.mark.parametrize(
    ("said", "passed"),
    [
        (b"http://127.0.0.1:10000", PUBLIC),
        (b"http://localhost:10000", PUBLIC),
        (b"http://[::1]:10000", PUBLIC),
        (b"*", b"*"),
        (b"null", b"null"),
        (b"https://evil", b"https://evil"),
        (b"http://127.0.0.1:10000.evil", b"http://127.0.0.1:10000.evil"),
        (b"http://127.0.0.1:10001", b"http://127.0.0.1:10001"),
    ],
)
def test_an_allowed_origin_of_upstream_s_own_is_the_public_one(said: bytes, passed: bytes) -> None:
    field = b"Access-Control-Allow-Origin: "
    assert browser_gets(field + said) == [field + passed]


@pytest.mark.parametrize(
    "name",
    [
        b"Clear-Site-Data", b"Strict-Transport-Security", b"Alt-Svc", b"NEL", b"Report-To",
        b"Reporting-Endpoints", b"Accept-CH", b"Origin-Agent-Cluster", b"Set-Login",
        b"Secure-Session-Registration", b"Use-As-Dictionary",
    ],
)  # fmt: skip
def test_a_notebook_does_not_speak_for_the_whole_origin(name: bytes) -> None:
    assert browser_gets(name + b": *", name.lower() + b": *", name.upper() + b": *") == []


@pytest.mark.parametrize(
    ("said", "passed"),
    [
        (b"/", b"/ipython/10000/"),
        (b"/ipython/", b"/ipython/10000/"),
        (b"/ipython/10000", b"/ipython/10000/"),
        (b"/ipython/10001/", b"/ipython/10000/"),
        (b"/ipython/100000/", b"/ipython/10000/"),
        (b"/ipython/10000/", b"/ipython/10000/"),
        (b"/ipython/10000/proxy/8080/_static", b"/ipython/10000/proxy/8080/_static"),
        (b"/ipython/10000/.well/..a/%20", b"/ipython/10000/.well/..a/%20"),
        (b"/ipython/10000/../", b"/ipython/10000/"),
        (b"/ipython/10000/a/..", b"/ipython/10000/"),
        (b"/ipython/10000/%2e%2E/", b"/ipython/10000/"),
        (b"/ipython/10000/.%2e/10001/", b"/ipython/10000/"),
        (b"/ipython/10000/..\\", b"/ipython/10000/"),
        (b"/ipython/10000/\t../", b"/ipython/10000/"),
        (b"/ipython/10000/x?y", b"/ipython/10000/"),
        (b"/ipython/10000/, /", b"/ipython/10000/"),
        (b"//evil/", b"/ipython/10000/"),
        (b"https://hub.example.org/", b"/ipython/10000/"),
        (b"../", b"/ipython/10000/"),
        (b"", b"/ipython/10000/"),
    ],
)
def test_a_service_worker_s_scope_stays_below_the_prefix(said: bytes, passed: bytes) -> None:
    line = b"Service-Worker-Allowed: "
    assert browser_gets(line + said) == [line + passed]


# Cookies from a notebook.


def cookie_set(value: bytes) -> bytes:
    (line,) = browser_gets(b"set-cookie: " + value)
    name, _, rest = line.partition(b": ")
    assert name == b"Set-Cookie"
    return rest


@pytest.mark.parametrize(
    ("said", "passed"),
    [
        (b"a=b", b"a=b; Path=/ipython/10000/; Secure"),
        (b"a=b; HttpOnly", b"a=b; Path=/ipython/10000/; Secure; HttpOnly"),
        (b"a=b; Path=/", b"a=b; Path=/ipython/10000/; Secure"),
        (b"a=b; path=/ipython/10000/api", b"a=b; Path=/ipython/10000/api; Secure"),
        (b"a=b; Path=/ipython/10000/; Path=/", b"a=b; Path=/ipython/10000/; Secure"),
        (b"a=b; Path=/ipython/10000", b"a=b; Path=/ipython/10000/; Secure"),
        (b"a=b; Path=/ipython/100001/", b"a=b; Path=/ipython/10000/; Secure"),
        (b"a=b; PATH \t=\t /ipython/10001/", b"a=b; Path=/ipython/10000/; Secure"),
        (b'a=b; Path="/"', b"a=b; Path=/ipython/10000/; Secure"),
        (b"a=b; Path", b"a=b; Path=/ipython/10000/; Secure"),
        (b"a=b; Path=", b"a=b; Path=/ipython/10000/; Secure"),
        (b"a=b; Domain=example.org", b"a=b; Path=/ipython/10000/; Secure"),
        (b"a=b;DOMAIN\t=example.org;domain", b"a=b; Path=/ipython/10000/; Secure"),
        (b"a=b; secure; Secure=false", b"a=b; Path=/ipython/10000/; Secure"),
        (
            b"a=b; Expires=Wed, 21 Oct 2026 07:28:00 GMT;SameSite=None; X=Y",
            b"a=b; Path=/ipython/10000/; Secure; Expires=Wed, 21 Oct 2026 07:28:00 GMT"
            b";SameSite=None; X=Y",
        ),
        (b'a="b; c"', b'a="b; Path=/ipython/10000/; Secure; c"'),
        (b"Path=/", b"Path=/; Path=/ipython/10000/; Secure"),
        (b"", b"; Path=/ipython/10000/; Secure"),
    ],
)
def test_a_notebook_s_cookie_stays_below_its_prefix_on_https(said: bytes, passed: bytes) -> None:
    assert cookie_set(said) == passed


def test_each_cookie_stays_a_field_of_its_own() -> None:
    assert browser_gets(b"Set-Cookie: a=1", b"Set-Cookie: b=2") == [
        b"Set-Cookie: a=1; Path=/ipython/10000/; Secure",
        b"Set-Cookie: b=2; Path=/ipython/10000/; Secure",
    ]


def as_a_browser_stores_it(value: bytes, asked: bytes) -> tuple[bytes, bool, bool]:
    """RFC 6265bis section 5.6: the path of a cookie, and whether it has a Domain, and Secure.

    :param asked: the path of the request that the cookie came with.
    """
    path, has_domain, secure = None, False, False
    for attribute in value.split(b";")[1:]:
        name, _, text = attribute.partition(b"=")
        name, text = name.strip(b" \t").lower(), text.strip(b" \t")
        if len(text) > 1024:
            continue
        if name == b"path":
            path = text if text.startswith(b"/") else None
        has_domain |= name == b"domain"
        secure |= name == b"secure"
    default = asked.rpartition(b"/")[0] or b"/"
    return default if path is None else path, has_domain, secure


BELOW = b"/ipython/10000/"
ATTRIBUTES = st.binary(max_size=8) | st.sampled_from([
    b"Path=/", b"path=/ipython/10000/a", b"Path=/ipython/1", b" Path = " + BELOW + b"a" * 999,
    b"Path=" + BELOW + b"a" * 2000, b"PATH", b"Path=x", b"\xa0Path=/", b"Domain=a", b" domain ",
    b"Secure", b" secure\t=", b"HttpOnly", b"", b" ", b"=", b"Max-Age=0", b'"', b"SameSite=Lax",
])  # fmt: skip


@given(st.lists(ATTRIBUTES, max_size=30).map(b";".join))
@example(b"a=b;Path=" + BELOW + b"a" * 1010)
def test_no_cookie_leaves_its_prefix(said: bytes) -> None:
    said = bytes(byte for byte in said if byte == 9 or 32 <= byte != 127)
    path, has_domain, secure = as_a_browser_stores_it(cookie_set(said), b"/ipython/10000")
    assert path.startswith(BELOW)
    assert not has_domain
    assert secure
