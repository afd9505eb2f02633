"""Who asks, from where and with which cookies: what upstreams get to hear of it."""

from __future__ import annotations

import pytest

from ipyproxy.http.rewriting import (
    Manners,
    Rewriting,
    Said,
    forwarded_block,
    said_before,
    told_lines,
)
from ipyproxy.http1.lines import lines_of
from tests.http.fields import PUBLIC, TRUSTED, request, sent_lines, upstream_gets

# Who the client is, is for us to say.

LIES = [
    b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Forwarded-Port",
    b"X-Forwarded-Server", b"X-Forwarded-Prefix", b"X-Forwarded-User", b"X-Forwarded-Email",
    b"X-Forwarded-Scheme", b"X-Forwarded-Ssl", b"X-Forwarded", b"X-ForwardedFor", b"Forwarded",
    b"X-Real-IP", b"X-Client-IP", b"X-Cluster-Client-IP", b"True-Client-IP",
    b"Remote-User", b"Remote-Groups", b"Remote-Name", b"Remote-Email", b"Remote-Addr",
    b"X-Remote-User", b"X-Remote-Group", b"X-Auth-Request-User", b"X-Auth-Request-Email",
    b"X-Scheme", b"X-URL-Scheme", b"Proxy",
]  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_lies_about_identity_go_no_further(name: bytes) -> None:
    spellings = [name, name.lower(), name.upper(), name.replace(b"-", b"_"), b"x-y"]
    spellings += [name.replace(b"-", odd) for odd in (b".", b"!", b"~", b"*", b"^", b"|")]
    lines = upstream_gets(*[b"%b: admin" % spelling for spelling in spellings])
    assert lines == [b"x-y: admin"]


def test_names_that_only_resemble_a_claim_pass() -> None:
    fields = [b"X-Forward: 1", b"Remote: 1", b"Proxy-Hint: 1", b"X-Schemes: 1", b"Xforwarded: 1"]
    assert upstream_gets(*fields) == fields


def told(public: bytes, manners: Manners, client: str = "192.0.2.7") -> list[bytes]:
    return lines_of(forwarded_block(client, public, Said(), manners))


def test_we_tell_an_application_who_asked_for_what() -> None:
    assert told(b"https://hub.example.org:8443", Manners.APPLICATION) == [
        b"X-Forwarded-For: 192.0.2.7",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: hub.example.org:8443",
        b"X-Forwarded-Port: 8443",
        b"Via: 1.1 ipyproxy",
    ]
    ipv6 = told(b"https://[::1]", Manners.APPLICATION, "2001:db8::7")
    assert b"X-Forwarded-For: 2001:db8::7" in ipv6
    assert b"X-Forwarded-Host: [::1]" in ipv6
    assert b"X-Forwarded-Port: 443" in ipv6
    assert b"X-Forwarded-Port: 8443" in told(b"https://[::1]:8443", Manners.APPLICATION)


def test_we_tell_a_notebook_who_asked_and_of_no_other_side() -> None:
    assert told(b"https://hub.example.org:8443", Manners.NOTEBOOK) == [
        b"X-Forwarded-For: 192.0.2.7",
        b"Via: 1.1 ipyproxy",
    ]


def application_gets(*fields: bytes) -> list[bytes]:
    application = Rewriting(
        b"127.0.0.1:10000", b"/ipython/10000/", 10000, (b"sso",), manners=Manners.APPLICATION
    )
    return sent_lines(request(*fields), PUBLIC, TRUSTED, application)


def test_an_application_gets_host_origin_and_referer_as_they_came() -> None:
    own = [b"Origin: " + PUBLIC, b"Referer: " + PUBLIC + b"/ipython/10000/x"]
    assert application_gets(*own) == [b"Host: hub.example.org", *own]
    trusted = [b"Origin: https://galaxy.example.org", b"Referer: https://galaxy.example.org/"]
    assert application_gets(*trusted) == [b"Host: hub.example.org", *trusted]
    assert application_gets() == [b"Host: hub.example.org"]


def test_an_application_gets_no_more_of_cookies_and_claims_than_a_notebook() -> None:
    fields = [b"Cookie: sso=1; a=2", b"X-Forwarded-Host: evil", b"Remote-User: root", b"X-A: b"]
    assert application_gets(*fields) == [b"Host: hub.example.org", b"Cookie: a=2", b"X-A: b"]


CLAIMS = [b"X-Forwarded-For: 1.1.1.1", b"Forwarded: for=1.1.1.1", b"Via: 1.0 a", b"Via: 1.1 b"]


def test_of_an_untrusted_peer_only_via_is_kept() -> None:
    special = request(*CLAIMS).fields.special
    assert said_before(special, trusted=False) == Said((b"1.0 a", b"1.1 b"))
    special = request(*CLAIMS[:2]).fields.special
    assert said_before(special, trusted=False) == Said()


def test_what_a_trusted_proxy_said_is_appended_to() -> None:
    head = request(*CLAIMS, b"X_Forwarded_For: 6.6.6.6")
    said = said_before(head.fields.special, trusted=True)
    lines = forwarded_block("192.0.2.7", PUBLIC, said, Manners.NOTEBOOK).split(b"\r\n")
    assert b"X-Forwarded-For: 1.1.1.1, 192.0.2.7" in lines
    assert b"Via: 1.0 a, 1.1 b, 1.1 ipyproxy" in lines


# Referer.


@pytest.mark.parametrize("origin", [PUBLIC, *TRUSTED])
@pytest.mark.parametrize("rest", [b"", b"/", b"/ipython/10000/lab?a=b", b"?x"])
def test_a_referer_of_ours_is_aligned_with_host(origin: bytes, rest: bytes) -> None:
    own = b"Referer: http://127.0.0.1:10000" + rest
    assert upstream_gets(b"Referer: " + origin + rest) == [own]


@pytest.mark.parametrize(
    "referer",
    [
        b"https://hub.example.org.evil/",
        b"https://hub.example.org:8443/",
        b"https://hub.example.org:8443evil/",
        b"https://hub.example.org@evil/",
        b"https://hub.example.org\\.evil/",
        b"https://hub.example.org#@evil/",
        b"https://hub.example.orgx",
        b"http://hub.example.org/",
        b"HTTPS://hub.example.org/",
        b"https://HUB.example.org/",
        b"https://evil/https://hub.example.org/",
        b"//hub.example.org/",
        b"https://galaxy.example.org.evil/",
        b"http://127.0.0.1:10000.evil/",
        b"about:blank",
        b"",
    ],
)
def test_a_foreign_referer_stays_what_it_is(referer: bytes) -> None:
    assert upstream_gets(b"Referer: " + referer) == [b"Referer: " + referer]


def test_a_port_is_part_of_an_origin() -> None:
    public = b"https://hub.example.org:8443"
    foreign = b"Referer: https://hub.example.org:84430/"
    assert upstream_gets(foreign, public=public) == [foreign]
    own = [b"Referer: http://127.0.0.1:10000/x"]
    assert upstream_gets(b"Referer: " + public + b"/x", public=public) == own


# Cookies towards a notebook.


@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        (b"a=1; b=2", b"a=1; b=2"),
        (b"galaxysession=x", None),
        (b"a=1; galaxysession=x; b=2", b"a=1; b=2"),
        (b"galaxysession=x; b=2", b"b=2"),
        (b"a=1; galaxysession=x", b"a=1"),
        (b"galaxysession=x; sso=y; galaxysession=z", None),
        (b"a=1;galaxysession=x;b=2", b"a=1;b=2"),
        (b"galaxysession =x;\tsso\t= y; c=3", b"c=3"),
        (b"galaxysession", None),
        (b'a="1; galaxysession=x"; b=2', b'a="1; b=2'),
        (b"galaxysession=x=y; a=galaxysession", b"a=galaxysession"),
        (b"galaxysession2=x; xgalaxysession=y", b"galaxysession2=x; xgalaxysession=y"),
        (b"GalaxySession=another cookie", b"GalaxySession=another cookie"),
        (b"", None),
        (b";", b";"),
    ],
)
def test_the_site_s_own_cookies_stay_with_the_site(sent: bytes, passed: bytes | None) -> None:
    expected = [] if passed is None else [b"Cookie: " + passed]
    assert upstream_gets(b"Cookie: " + sent) == expected


def test_every_cookie_field_is_looked_at() -> None:
    fields = [b"Cookie: a=1", b"cookie: galaxysession=x", b"COOKIE: sso=y; b=2"]
    assert upstream_gets(*fields) == [b"Cookie: a=1", b"Cookie: b=2"]


def test_without_site_cookies_all_pass() -> None:
    open_handed = Rewriting(b"127.0.0.1:10000", b"/ipython/10000/", 10000)
    head = request(b"Cookie: galaxysession=x; a=1")
    assert sent_lines(head, PUBLIC, TRUSTED, open_handed)[1:] == [b"Cookie: galaxysession=x; a=1"]


@pytest.mark.parametrize(
    ("user", "lines"),
    [
        (None, b"GX-SECRET: s\r\n"),
        ("alice", b"GX-SECRET: s\r\nRemote-User: alice\r\n"),
        ("zoé", b"GX-SECRET: s\r\nRemote-User: zo\xc3\xa9\r\n"),
    ],
)
def test_lines_of_a_route_name_the_user_if_there_is_one(user: str | None, lines: bytes) -> None:
    assert told_lines((b"GX-SECRET: s", b"Remote-User: {user}"), user) == lines
