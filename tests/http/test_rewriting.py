"""Fields on their way through: what a notebook gets to hear, and what it may say to a browser."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipyproxy.http.answers import response_fields
from ipyproxy.http.rewriting import (
    Manners,
    Rewriting,
    Said,
    forwarded_block,
    request_fields,
    said_before,
    told_lines,
)
from ipyproxy.http1.head import (
    HeadLimits,
    RequestHead,
    ResponseHead,
    parse_request,
    parse_response,
)
from ipyproxy.http1.lines import lines_of

PUBLIC = b"https://hub.example.org"
TRUSTED = frozenset([b"https://galaxy.example.org"])
NOTEBOOK = Rewriting(b"127.0.0.1:10000", b"/ipython/10000/", 10000, (b"galaxysession", b"sso"))


def request(*fields: bytes, minor: int = 1) -> RequestHead:
    line = b"GET / HTTP/1.%d" % minor
    return parse_request(b"\r\n".join([line, b"Host: hub.example.org", *fields]), HeadLimits())


def sent_lines(
    head: RequestHead, public: bytes, trusted: frozenset[bytes], rewriting: Rewriting
) -> list[bytes]:
    return lines_of(request_fields(head, public, trusted, rewriting))


def answered_lines(head: ResponseHead, public: bytes, rewriting: Rewriting) -> list[bytes]:
    return lines_of(response_fields(head, public, rewriting))


def upstream_gets(*fields: bytes, public: bytes = PUBLIC) -> list[bytes]:
    lines = sent_lines(request(*fields), public, TRUSTED, NOTEBOOK)
    assert lines[0] == b"Host: 127.0.0.1:10000"
    return lines[1:]


def browser_gets(*fields: bytes, public: bytes = PUBLIC) -> list[bytes]:
    head = parse_response(b"\r\n".join([b"HTTP/1.1 200 OK", *fields]))
    return answered_lines(head, public, NOTEBOOK)


# Passing on.


def test_ordinary_fields_pass_in_their_order_with_all_their_repetitions() -> None:
    fields = [b"X-B: 1", b"Accept: */*", b"x-a: 2", b"X-B: 3", b"Authorization: token t"]
    # Those that are read on the way stand before the others.
    assert upstream_gets(*fields) == [fields[1], fields[4], fields[0], fields[2], fields[3]]
    fields = [b"Vary: a", b"Date: x", b"Vary: b", b"WWW-Authenticate: Basic"]
    assert browser_gets(*fields) == [fields[1], fields[3], fields[0], fields[2]]


def test_the_remembered_head_is_not_changed_by_passing_it_on() -> None:
    head = request(b"X: 1", b"Connection: close")
    for _ in range(2):
        assert sent_lines(head, PUBLIC, TRUSTED, NOTEBOOK)[1:] == [b"X: 1"]
    answer = parse_response(b"HTTP/1.1 200 OK\r\nX: 1\r\nLocation: /")
    for _ in range(2):
        assert answered_lines(answer, PUBLIC, NOTEBOOK) == [b"X: 1", b"Location: /"]


def test_upstream_is_told_its_own_name_only() -> None:
    lines = sent_lines(request(b"Origin: " + PUBLIC), PUBLIC, TRUSTED, NOTEBOOK)
    assert lines == [b"Host: 127.0.0.1:10000", b"Origin: http://127.0.0.1:10000"]


def test_a_request_that_has_no_origin_or_referer_gets_none() -> None:
    assert upstream_gets() == []


# What concerns one hop alone.

HOP_BY_HOP = [
    b"Connection: close",
    b"Keep-Alive: timeout=5",
    b"Proxy-Connection: keep-alive",
    b"TE: trailers",
    b"Trailer: X",
    b"Transfer-Encoding: chunked",
    b"Upgrade: h2c",
    b"Proxy-Authorization: Basic x",
    b"Proxy-Authenticate: Basic",
    b"Content-Length: 5",
    b"content_length: 5",
    b"Transfer_Encoding: chunked",
]


@pytest.mark.parametrize("field", [*HOP_BY_HOP, b"HTTP2-Settings: AAMAAABk"])
def test_a_request_s_field_for_one_hop_goes_no_further(field: bytes) -> None:
    assert upstream_gets(b"X: 1", field, b"Y: 2") == [b"X: 1", b"Y: 2"]
    assert upstream_gets(field.upper()) == []


@pytest.mark.parametrize("field", HOP_BY_HOP[:-2])
def test_a_response_s_field_for_one_hop_goes_no_further(field: bytes) -> None:
    assert browser_gets(b"X: 1", field, b"Y: 2") == [b"X: 1", b"Y: 2"]


@pytest.mark.parametrize(
    "connection",
    [
        [b"Connection: X-Hop"],
        [b"Connection: close, x-hop"],
        [b"Connection: keep-alive", b"Connection: ,X-HOP\t,"],
        [b"connection: upgrade,x-hop,x-hop"],
    ],
)
def test_a_field_named_in_connection_goes_no_further(connection: list[bytes]) -> None:
    assert upstream_gets(b"X: 1", b"x-Hop: 2", *connection, b"X-Hop: 3") == [b"X: 1"]
    assert browser_gets(b"X: 1", b"x-Hop: 2", *connection, b"X-Hop: 3") == [b"X: 1"]


def test_fields_that_are_read_and_rewritten_are_dropped_too_where_connection_names_them() -> None:
    connection = b"Connection: cookie, referer, user-agent, accept, sec-fetch-site"
    fields = [b"Cookie: a=b", b"Referer: x", b"User-Agent: x", b"Accept: x", b"Sec-Fetch-Site: x"]
    assert upstream_gets(connection, *fields) == []
    connection = b"Connection: set-cookie, location, access-control-allow-origin"
    fields = [b"Set-Cookie: a=b", b"Location: /", b"Access-Control-Allow-Origin: *"]
    assert browser_gets(connection, *fields) == []


def test_what_we_say_ourselves_survives_connection() -> None:
    connection = b"Connection: host, origin, via, x-forwarded-for, x-forwarded-proto, forwarded"
    assert upstream_gets(connection, b"Origin: " + PUBLIC) == [b"Origin: http://127.0.0.1:10000"]
    said = said_before(request(connection, b"Via: 1.0 a").fields.special, trusted=False)
    assert b"Via: 1.0 a, 1.1 ipyproxy" in forwarded_block(
        "192.0.2.7", PUBLIC, said, Manners.NOTEBOOK
    )


@pytest.mark.parametrize("name", [b"content-length", b"transfer-encoding", b"te", b"close", b"*"])
def test_connection_can_t_bring_framing_back(name: bytes) -> None:
    assert upstream_gets(b"Connection: " + name, b"Content-Length: 5", b"X: 1") == [b"X: 1"]


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


# What must never come through, over any fields at all.

NAMES = st.sampled_from([
    b"X-A", b"x-b", b"Accept", b"User-Agent", b"Cookie", b"cookie", b"Connection", b"Origin",
    b"Referer", b"Expect", b"Upgrade", b"Keep-Alive", b"Content-Length", b"Via", b"Host",
    b"X-Forwarded-For", b"x_forwarded_host", b"REMOTE_USER", b"Forwarded", b"X-Real_IP",
    b"Sec-WebSocket-Key", b"Sec-WebSocket-Protocol", b"TE", b"Proxy-Connection",
])  # fmt: skip
VALUES = st.sampled_from([
    b"", b"x", b"close", b"X-A", b"cookie, x-b", b"galaxysession=1", b"a=1; sso=2;galaxysession =3",
    b"=galaxysession=4", b'"; sso=5', b"https://hub.example.org/x", b"chunked", b"websocket", b"5",
    b"host, accept, origin, upgrade, sso", b"\xff",
])  # fmt: skip
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=10)

NEVER_PASSED = {
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"content-length",
    b"forwarded", b"via", b"x-real-ip", b"remote-user", b"x-forwarded-for", b"x-forwarded-host",
    b"sec-websocket-key",
}  # fmt: skip


@example([(b"Cookie", b"=galaxysession=4")])
@given(FIELDS)
def test_nothing_of_this_hop_of_the_site_or_of_who_asks_reaches_a_notebook(
    fields: list[tuple[bytes, bytes]],
) -> None:
    lines = upstream_gets(*[b"%b: %b" % field for field in fields])
    names = [line.split(b":")[0].lower().replace(b"_", b"-") for line in lines]
    assert not NEVER_PASSED.intersection(names)
    assert b"host" not in names
    assert names.count(b"origin") <= 1
    for line in lines:
        name, value = line.split(b": ", 1)
        if name == b"Origin":
            assert value == b"http://127.0.0.1:10000"
        if name == b"Cookie":
            # As Tornado reads it, and as Python's library does.
            read = [pair.partition(b"=")[0].strip() for pair in value.split(b";")]
            assert not {b"galaxysession", b"sso"}.intersection(read)
            assert not {"galaxysession", "sso"}.intersection(_as_python_reads(value))


def _as_python_reads(value: bytes) -> SimpleCookie:
    try:
        return SimpleCookie(value.decode("latin-1"))
    except CookieError:
        return SimpleCookie()  # it takes none of them


@given(FIELDS)
def test_what_upstream_gets_reads_the_same_again(fields: list[tuple[bytes, bytes]]) -> None:
    sent = request(*[b"%b: %b" % field for field in fields])
    nominated = {name for value in sent.fields.values(b"connection") for name in value.split(b", ")}
    kept = [
        line for line in lines_of(sent.fields.plain) if line.split(b":")[0].lower() not in nominated
    ]
    lines = sent_lines(sent, PUBLIC, TRUSTED, NOTEBOOK)
    got = parse_request(b"\r\n".join([b"GET / HTTP/1.1", *lines]), HeadLimits())
    assert lines_of(got.fields.plain) == kept
    assert got.fields.values(b"host") == [b"127.0.0.1:10000"]


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
