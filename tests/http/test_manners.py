"""What applications compare, and whether what we tell them stands up to it: applications down, ways
in across.

Each check is what the named version of a program does with the fields of a request, no more and no
less, as its source has it. None of them knows of us.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from ipyproxy.http.rewriting import Manners, Rewriting, forwarded, request_fields
from ipyproxy.http1.head import HeadLimits, parse_request
from ipyproxy.http1.lines import lines_of

Fields = dict[str, str]
PREFIX = "/ipython/10000/"


class Way(NamedTuple):
    """How a browser's request comes: the public host, and what a proxy in front has added."""

    host: str
    front: tuple[str, ...] = ()

    @property
    def public(self) -> str:
        return f"https://{self.host}"


FRONT = (
    "X-Forwarded-For: 198.51.100.1",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: front.example.org",
    'Forwarded: for=198.51.100.1;host="front.example.org:444";proto=https',
)
WAYS = {
    "the default port": Way("hub.example.org"),
    "a port": Way("hub.example.org:8443"),
    "IPv6": Way("[2001:db8::1]"),
    "IPv6 and a port": Way("[2001:db8::1]:8443"),
    "a trusted proxy": Way("hub.example.org", FRONT),
    "a trusted proxy and a port": Way("hub.example.org:8443", FRONT),
}


def heard(way: Way, manners: Manners, *, origin: bool = True, more: tuple[str, ...] = ()) -> Fields:
    """The fields that upstream gets of a request that a page of its own sends."""
    lines = [
        "POST /ipython/10000/form HTTP/1.1",
        f"Host: {way.host}",
        f"Referer: {way.public}{PREFIX}page?x=y",
        *([f"Origin: {way.public}"] if origin else []),
        *way.front,
        *more,
    ]
    head = parse_request("\r\n".join(lines).encode(), HeadLimits())
    rewriting = Rewriting(b"127.0.0.1:10000", PREFIX.encode(), 10000, manners=manners)
    public, special = way.public.encode(), head.fields.special
    block = request_fields(head, public, frozenset(), rewriting)
    block += forwarded(special, "192.0.2.7", public, bool(way.front), rewriting)
    named = [line.decode().split(": ", 1) for line in lines_of(block)]
    assert len(named) == len({name for name, _ in named}), "a field comes twice"
    return {name.lower(): value for name, value in named}


def first(value: str | None) -> str:
    """The first member of a list, as most readers of X-Forwarded-* take it."""
    return (value or "").split(",")[0].strip()


# What runs as a notebook, or inside one.


def ipython(fields: Fields) -> bool:
    """IPython 2.4.1 and 3.2.3, IPython/html/base/zmqhandlers.py: check_origin.

    Notebook 4.4.1 (notebook/base/zmqhandlers.py) has the same.
    """
    return urlsplit(fields["origin"].lower()).netloc == fields["host"]


def jupyter(fields: Fields) -> bool:
    """jupyter_server 2.21.1, jupyter_server/base/handlers.py: check_host, check_origin.

    Notebook 5.7.16 and 6.5.7 have the same. Unless it listens on all addresses, only a local Host
    passes (allow_remote_access).
    """
    name = fields["host"].rpartition(":")[0] or fields["host"]
    try:
        local = ip_address(name.strip("[]")).is_loopback
    except ValueError:
        local = name == "localhost"
    origin = fields.get("origin")
    return local and (origin is None or urlsplit(origin.lower()).netloc == fields["host"])


def jupyter_remote(fields: Fields) -> bool:
    """The same with ServerApp.allow_remote_access, and check_referer, which guards GET."""
    origin = fields.get("origin")
    origin_fits = origin is None or urlsplit(origin.lower()).netloc == fields["host"]
    return origin_fits and urlsplit(fields["referer"]).netloc == fields["host"]


# What applications of their own do, which jupyter-server-proxy 4.6.0 may bring to one as well: it
# passes on all of a request's fields, Host among them (jupyter_server_proxy/handlers.py:
# proxy_request_headers).


def code_server(fields: Fields) -> bool:
    """code-server 4.100.3, src/node/http.ts: authenticateOrigin, getHost."""
    origin = urlsplit(fields["origin"]).netloc.lower()
    for part in fields.get("forwarded", "").replace(",", ";").split(";"):
        key, equals, value = part.partition("=")
        if key.strip().lower() == "host" and equals and value:
            return value.strip().lower() == origin  # with its quotes, if it has some
    host = first(fields.get("x-forwarded-host")) or fields["host"]
    return host.lower() == origin


def _django(fields: Fields, *, secure_header: bool, forwarded_host: bool) -> bool:
    secure = secure_header and first(fields.get("x-forwarded-proto")) == "https"
    host = fields["host"]
    if forwarded_host:
        host = fields.get("x-forwarded-host", host)
    if "origin" in fields:
        return fields["origin"] == f"{'https' if secure else 'http'}://{host}"
    if not secure:
        return True
    referer = urlsplit(fields["referer"])
    return referer.scheme == "https" and referer.netloc == host


def django_behind_tls(fields: Fields) -> bool:
    """Django 5.2.19 with SECURE_PROXY_SSL_HEADER, django/middleware/csrf.py: process_view.

    Without Origin it looks at Referer, if the request is secure.
    """
    return _django(fields, secure_header=True, forwarded_host=False)


def django_behind_a_host(fields: Fields) -> bool:
    """The same with USE_X_FORWARDED_HOST as well (django/http/request.py: get_host)."""
    return _django(fields, secure_header=True, forwarded_host=True)


def django_plain(fields: Fields) -> bool:
    """The same as it comes: it takes itself for an http server."""
    return _django(fields, secure_header=False, forwarded_host=False)


def flask_wtf(fields: Fields) -> bool:
    """Flask-WTF 1.3.0, flask_wtf/csrf.py: protect, same_origin.

    Behind Werkzeug 3.1.9, werkzeug/middleware/proxy_fix.py: ProxyFix(x_proto=1, x_host=1), which
    takes the last value of a list.
    """
    secure = fields.get("x-forwarded-proto", "http").split(",")[-1].strip() == "https"
    host = fields.get("x-forwarded-host", fields["host"]).split(",")[-1].strip()
    referer = urlsplit(fields["referer"])
    return not secure or (referer.scheme, referer.netloc) == ("https", host)


def rails(fields: Fields) -> bool:
    """Rails, action_controller/metal/request_forgery_protection.rb: valid_request_origin?

    With Rack 3, lib/rack/request.rb: base_url, which asks Forwarded first, then X-Forwarded-*.
    """
    parameters = [
        part.partition("=") for part in fields.get("forwarded", "").replace(",", ";").split(";")
    ]
    rfc7239 = {key.strip().lower(): value.strip('" ') for key, _, value in parameters}
    scheme = rfc7239.get("proto") or first(fields.get("x-forwarded-proto")) or "http"
    host = rfc7239.get("host") or fields.get("x-forwarded-host") or fields["host"]
    host = host.split(",")[-1].strip().removesuffix({"https": ":443", "http": ":80"}[scheme])
    return fields.get("origin") in (None, f"{scheme}://{host}")


def wsgidav(fields: Fields) -> bool:
    """WsgiDAV 4.4.0, wsgidav/request_server.py: _copy_or_move.

    A WebDAV client names the public side in Destination.
    """
    destination = urlsplit(fields["destination"])
    schemes = ("http", fields.get("x-forwarded-proto", "").lower())
    hosts = (fields["host"].lower(), fields.get("x-forwarded-host", "").lower())
    return destination.scheme in schemes and destination.netloc.lower() in hosts


# What needs the public name for itself, and so is not asked whether it fits but what it makes.


def gradio_root(fields: Fields) -> str:
    """Gradio 6.31.0, gradio/route_utils.py: get_request_origin: the address that its page uses."""
    host = first(fields.get("x-forwarded-host")) or fields["host"]
    scheme = "https" if first(fields.get("x-forwarded-proto")) == "https" else "http"
    return f"{scheme}://{host}"


def bokeh(fields: Fields, allowed: str) -> bool:
    """Bokeh 3.9.2, bokeh/server/views/ws.py: check_origin, bokeh/server/util.py: check_allowlist.

    ``allowed`` is what --allow-websocket-origin says; 80 is the port of whatever has none.
    """
    host = urlsplit(fields["origin"]).netloc.lower()
    with_port = [name if ":" in name else f"{name}:80" for name in (host, allowed)]
    return with_port[0] == with_port[1]


def streamlit(fields: Fields, address: str = "") -> bool:
    """Streamlit 1.67.0, streamlit/web/server/server_util.py: is_url_from_allowed_origins.

    ``address`` is what --browser.serverAddress says.
    """
    return urlsplit(fields["origin"]).hostname in ("localhost", "0.0.0.0", "127.0.0.1", address)


Check = Callable[[Fields], bool]
ANY_ORIGIN: list[Check] = [
    ipython, jupyter_remote, code_server, django_behind_tls, django_behind_a_host, flask_wtf, rails,
]  # fmt: skip
"""Checks that every set of fields passes that does not contradict itself."""
NOTEBOOK_ONLY: list[Check] = [jupyter, django_plain]
"""Checks that only the local name passes."""

ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
both_manners = pytest.mark.parametrize("manners", Manners)


@ways
@both_manners
@pytest.mark.parametrize("check", ANY_ORIGIN)
def test_whatever_is_compared_is_the_same(way: Way, manners: Manners, check: Check) -> None:
    assert check(heard(way, manners))


@ways
@both_manners
@pytest.mark.parametrize(
    "check", [jupyter_remote, django_behind_tls, django_behind_a_host, flask_wtf, rails]
)
def test_and_so_it_is_without_an_origin(way: Way, manners: Manners, check: Check) -> None:
    assert check(heard(way, manners, origin=False))


@ways
@pytest.mark.parametrize("check", NOTEBOOK_ONLY)
def test_a_notebook_as_it_comes_takes_the_default_only(way: Way, check: Check) -> None:
    assert check(heard(way, Manners.NOTEBOOK))
    assert not check(heard(way, Manners.APPLICATION))


@ways
def test_a_webdav_server_finds_the_destination_on_an_application_s_port(way: Way) -> None:
    more = (f"Destination: {way.public}{PREFIX}b.txt",)
    assert wsgidav(heard(way, Manners.APPLICATION, more=more))
    assert not wsgidav(heard(way, Manners.NOTEBOOK, more=more))


@ways
def test_gradio_s_page_uses_the_public_address_on_an_application_s_port(way: Way) -> None:
    assert gradio_root(heard(way, Manners.APPLICATION)) == way.public
    assert gradio_root(heard(way, Manners.NOTEBOOK)) == "http://127.0.0.1:10000"


@ways
def test_bokeh_is_told_the_name_that_its_manners_give_it(way: Way) -> None:
    if not way.host.startswith("["):  # it takes an IPv6 address for a host with a port
        assert bokeh(heard(way, Manners.APPLICATION), way.host)
    assert bokeh(heard(way, Manners.NOTEBOOK), "127.0.0.1:10000")


@ways
def test_streamlit_needs_nothing_as_a_notebook_and_its_address_as_an_application(way: Way) -> None:
    assert streamlit(heard(way, Manners.NOTEBOOK))
    application = heard(way, Manners.APPLICATION)
    assert not streamlit(application)
    assert streamlit(application, urlsplit(way.public).hostname or "")


@ways
@both_manners
def test_a_lie_of_the_client_s_changes_nothing(way: Way, manners: Manners) -> None:
    lies = (
        "X-Forwarded-Server: evil", "X_Forwarded_Host: evil", "X-Forwarded-Scheme: http",
        "X-Forwarded-Ssl: off", "X-Scheme: http", "X-URL-Scheme: http", "Via: 1.1 evil",
    )  # fmt: skip
    told = heard(way, manners, more=lies)
    assert told.pop("via") == "1.1 evil, 1.1 ipyproxy"
    honest = heard(way, manners)
    assert honest.pop("via") == "1.1 ipyproxy"
    assert told == honest
