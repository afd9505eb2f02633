"""Routes as the configuration spells them: where they lead, and why one is refused."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from ipyproxy.config import anchored
from ipyproxy.net.address import Address, TCPAddress, UNIXPath
from ipyproxy.routes.route import Application, Redirect, Server
from tests.config.reading import parsed, problems


def why(toml: str) -> str:
    """What is said of a single route that is refused, without the file and the line."""
    (problem,) = problems(f"[[routes]]\n{toml}\n")
    return problem.partition(": ")[2]


@pytest.mark.parametrize(
    ("to", "address", "tls_name"),
    [
        ("unix:/srv/galaxy/var/gunicorn.sock", UNIXPath("/srv/galaxy/var/gunicorn.sock"), ""),
        ("http://127.0.0.1:8080", TCPAddress("127.0.0.1", 8080), ""),
        ("http://localhost:8080/", TCPAddress("127.0.0.1", 8080), ""),
        ("http://10.0.0.5", TCPAddress("10.0.0.5", 80), ""),
        ("https://10.0.0.5:8443", TCPAddress("10.0.0.5", 8443), "10.0.0.5"),
        ("https://localhost", TCPAddress("127.0.0.1", 443), "localhost"),
        ("http://[2001:db8::5]:8080", TCPAddress("2001:db8::5", 8080), ""),
    ],
)
def test_where_an_application_is(to: str, address: Address, tls_name: str) -> None:
    (entry,) = parsed(f'[[routes]]\nto = "{to}"').routes
    assert entry.route.destination == Application((Server(to.rstrip("/"), address, tls_name),))


def test_the_configuration_of_a_small_host() -> None:
    galaxy, reports, www = parsed(
        """
        [[routes]]
        host = "Galaxy.example.org"
        to = ["unix:/srv/a.sock", "unix:/srv/b.sock"]
        timeout = 180

        [[routes]]
        path = "/reports"
        to = "http://127.0.0.1:9001"
        strip = true
        allow = ["10.0.0.0/8"]
        headers = { X-Frame-Options = "SAMEORIGIN" }

        [[routes]]
        host = "www.example.org"
        redirect = "https://example.org/"
        """
    ).routes
    assert (galaxy.route.name, galaxy.route.timeout) == ("galaxy.example.org/", 180)
    assert [server.name for server in galaxy.servers] == ["unix:/srv/a.sock", "unix:/srv/b.sock"]
    assert (reports.route.strip, reports.route.prefix) == (True, b"/reports")
    assert reports.route.allow == (ip_network("10.0.0.0/8"),)
    assert reports.route.lines == (b"X-Frame-Options: SAMEORIGIN",)
    assert www.route.destination == Redirect("https://example.org", 308)


def test_a_name_of_ones_own_for_certificates() -> None:
    toml = '[[routes]]\nto = "https://10.0.0.5"\ntls_name = "app.lan"\ntls_ca = "ca.pem"'
    (entry,) = anchored(parsed(toml), Path("/etc/x")).routes
    assert entry.tls_ca == Path("/etc/x/ca.pem")
    assert [server.tls_name for server in entry.servers] == ["app.lan"]


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('path = "/x"', "routes: needs one of to, files, redirect, and no more than one"),
        ('to = "unix:/x"\nredirect = "https://a.org"', "needs one of to, files, redirect, and"),
        ('to = "http://-app:8080"', "-app is neither an IP address nor a name of a host"),
        ('to = "http://10.0.0:8080"', "10.0.0 is neither an IP address nor a name of a host"),
        ('to = "http://127.0.0.1:8080/app"', "has a path; a request's path goes on as it is"),
        ('to = "http://127.0.0.1:0"', "is no address such as http://127.0.0.1:8080"),
        ('to = "http://127.0.0.1:99999"', "is no address such as"),
        ('to = "http://u:p@127.0.0.1"', "is no address such as"),
        ('to = "ftp://127.0.0.1"', "is no address such as"),
        ("to = 8080", "is no address such as"),
        ('to = "unix:run/app.sock"', "the whole path of a socket"),
        (f'to = "unix:/{"x" * 107}"', "up to 107 bytes"),
        ("to = []", "lists no address, or one twice"),
        ('to = ["unix:/a", "unix:/a"]', "lists no address, or one twice"),
        ('to = "http://127.0.0.1:8443"', "routes.to: http://127.0.0.1:8443 is the proxy itself"),
        ('to = "unix:/x"\nstatus = 301', "routes.status: means nothing without redirect"),
        ('redirect = "https://a.org"\nstrip = true', "routes.strip: means nothing without to"),
        ('redirect = "https://a.org"\nstatus = 200', "is none of 301, 302, 303, 307, 308"),
        ('redirect = "/elsewhere"', "is no address such as https://example.org"),
        ('redirect = "https://a.org/?x"', "is no address such as https://example.org"),
        ('redirect = "https://a.org\\r\\nX: y"', "is no address such as https://example.org"),
        ('redirect = "https://u@a.org"', "is no address such as https://example.org"),
        ('host = "a.org"\nredirect = "https://a.org"', "leads to this very route, again and again"),
        ('host = "a.org:443"\nto = "unix:/x"', "is not a host such as"),
        ('path = "/galaxy/"\nto = "unix:/x"', "is not a path such as / or /galaxy"),
        ('path = "/a/../b"\nto = "unix:/x"', "is not a path such as / or /galaxy"),
        ('path = "/a%20b"\nto = "unix:/x"', "is not a path such as / or /galaxy"),
        ('path = "/ipython"\nto = "unix:/x"', "/ipython belongs to the notebooks"),
        ('path = "/ipython/10000/x"\nto = "unix:/x"', "belongs to the notebooks"),
        ('path = "/_ipyproxy/x"\nto = "unix:/x"', "/_ipyproxy is the proxy's own"),
        ('to = "unix:/x"\ntls_ca = "ca.pem"', "needs an https:// address in to"),
        ('to = "https://10.0.0.5"\ntls_name = "*.lan"', "names no single host"),
        ('to = "unix:/x"\nallow = ["10.0.0.1/8"]', "is not a network such as 10.0.0.0/8"),
        ('to = "unix:/x"\nheaders = { Date = "x" }', '"Date" is not a header field that can be'),
        ('to = "unix:/x"\nheaders = { X = "a\\nb" }', "is not a value for X"),
        ('to = "unix:/x"\nheaders = ["X: y"]', "is not a table such as"),
        ('to = "unix:/x"\nsend = { Host = "x" }', '"Host" is a header that the proxy itself makes'),
        ('to = "unix:/x"\nsend = { X = "a\\nb" }', "is not a value for X"),
        ('redirect = "https://a.org"\nsend = { X = "y" }', "send: means nothing without to"),
        ('to = "unix:/x"\ntimeuot = 3', 'routes.timeuot: unknown key; did you mean "timeout"?'),
        ('to = "unix:/x"\n[[routes]]\nto = "unix:/y"', "routes: / has two routes"),
        (
            'to = "https://10.0.0.5"\n[[routes]]\npath = "/x"\nto = "https://10.0.0.5"\n'
            'tls_ca = "ca.pem"',
            "two routes expect other certificates of https://10.0.0.5",
        ),
        (
            'host = "10000.nb.org"\nto = "unix:/x"\n[site]\nnotebook_domain = "nb.org"',
            "10000.nb.org belongs to a notebook (site.notebook_domain)",
        ),
    ],
)
def test_why_one_is_refused(toml: str, said: str) -> None:
    assert said in why(toml)


def test_at_a_host_of_its_own_a_route_may_take_any_path() -> None:
    toml = '[[routes]]\nhost = "a.org"\npath = "/ipython"\nto = "unix:/x"'
    assert len(parsed(toml).routes) == 1
