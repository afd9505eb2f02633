"""Names and certificates on real connections: what is asked for, what is shown, what fits."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.certificates import Authority
from tests.integration.proxy import Proxy

from .streams import PATIENCE, Stream

pytestmark = pytest.mark.integration


class Site(NamedTuple):
    """A proxy with two certificates, that shakes hands with staff only."""

    proxy: Proxy
    root: Path
    badge: tuple[Path, Path]
    """Certificate and key of one of the staff."""

    def browse(self, name: str, *, badge: bool = True) -> Stream:
        """Connect and ask for *name*."""
        tls = ssl.create_default_context(cafile=self.root)
        if badge:
            tls.load_cert_chain(*self.badge)
        tcp = socket.create_connection(("127.0.0.1", self.proxy.port), timeout=PATIENCE)
        return Stream(tls.wrap_socket(tcp, server_hostname=name))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    certificates = directory / "tls"
    certificates.mkdir()
    authority, staff = Authority("Root"), Authority("Staff")
    for name in ("localhost", "hub.example.org"):
        authority.issue(name).write(certificates, name)
    root = authority.write(directory, "root")
    staff.write(directory, "staff")
    badge = staff.issue(subject="ada").write(directory, "ada")
    settings = '[tls]\ndirectory = "tls"\nunknown_name = "refuse"\nclient_ca = "staff.pem"\n'
    proxy = Proxy(directory, settings, trusted=root)
    yield Site(proxy, root, badge)
    proxy.child.stop()


def asked(stream: Stream, host: bytes) -> int:
    stream.say(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
    return stream.hear_status()


@pytest.mark.parametrize("name", ["localhost", "hub.example.org"])
def test_each_name_has_its_certificate(site: Site, name: str) -> None:
    with site.browse(name) as browser:  # which compares
        assert asked(browser, name.encode()) == 200


def test_who_shows_no_certificate_is_not_served(site: Site) -> None:
    # In TLS 1.3 the client's handshake is done before the server has seen what is missing.
    told = pytest.raises(OSError, match=r"(?i)certificate.required|reset|EOF|pipe")
    with site.browse("localhost", badge=False) as browser, told:
        asked(browser, b"localhost")


def test_an_unknown_name_is_shown_none(site: Site) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)handshake.failure"):
        site.browse("other.example.org")


@pytest.mark.parametrize("host", [b"hub.example.org", b"hub.example.org:8443"])
def test_a_host_on_another_ones_connection_is_misdirected(site: Site, host: bytes) -> None:
    with site.browse("localhost") as browser:
        assert asked(browser, host) == 421
    with site.browse("hub.example.org") as browser:
        assert asked(browser, host) == 200
