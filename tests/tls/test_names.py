"""Several certificates: the name that a browser asks for chooses, and its kind of key."""

from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from ipyproxy.tls import (
    Certificate,
    Profile,
    ServerTLS,
    Terms,
    load_certificate,
    load_directory,
)
from tests.certificates import NOW, Authority, key_pem, pem, rsa_key
from tests.polls import connected
from tests.tlsparties import Browser, only, refusal, serving, shake_hands, trusting, visit

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture
def hub(authority: Authority, tmp_path: Path) -> Certificate:
    return load_certificate(*authority.issue("hub.example.org").write(tmp_path, "hub"))


@pytest.fixture
def lab(authority: Authority, tmp_path: Path) -> Certificate:
    return load_certificate(*authority.issue("lab.example.org").write(tmp_path, "lab"))


@pytest.fixture
def star(authority: Authority, tmp_path: Path) -> Certificate:
    return load_certificate(*authority.issue("*.example.org", "192.0.2.7").write(tmp_path, "star"))


def stranger(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """A browser that takes whatever it is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    return context


def names_shown(server: ServerTLS, name: str | None) -> list[str]:
    """The names in the certificate that a browser gets that asks for ``name``."""
    browser = Browser(stranger(), asks_for=name)
    shake_hands(server, browser)
    shown = x509.load_der_x509_certificate(browser.saw or b"")
    names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


def test_the_name_that_is_asked_for_chooses(
    hub: Certificate, lab: Certificate, star: Certificate
) -> None:
    server = serving(hub, lab, star)
    assert names_shown(server, "hub.example.org") == ["hub.example.org"]
    assert names_shown(server, "lab.example.org") == ["lab.example.org"]
    assert names_shown(server, "LAB.Example.org") == ["lab.example.org"]
    assert names_shown(server, "any.example.org") == ["*.example.org", "192.0.2.7"]
    for unknown in ("example.org", "a.b.example.org", "localhost", "*.b.example.org"):
        assert names_shown(server, unknown) == ["hub.example.org"]


def test_where_unknown_names_are_refused_no_name_of_ours_is_told(
    hub: Certificate, lab: Certificate
) -> None:
    server = serving(hub, lab, terms=Terms(refuses_unknown_names=True))
    assert names_shown(server, "lab.example.org") == ["lab.example.org"]
    for unknown in ("example.org", None):
        for version in VERSIONS:
            _, on_client = refusal(server, Browser(stranger(version), asks_for=unknown))
            assert "handshake failure" in on_client.replace("_", " ").lower()


def test_a_single_certificate_refuses_unknown_names_too(hub: Certificate) -> None:
    server = serving(hub, terms=Terms(refuses_unknown_names=True))
    assert names_shown(server, "hub.example.org") == ["hub.example.org"]
    with pytest.raises(SSL.Error):
        names_shown(server, "lab.example.org")


def test_who_asks_for_no_name_was_given_an_address(hub: Certificate, star: Certificate) -> None:
    """Browsers cannot ask for an address by SNI (RFC 6066 section 3)."""
    for refuses in True, False:
        server = serving(hub, star, terms=Terms(refuses_unknown_names=refuses))
        assert names_shown(server, None) == ["*.example.org", "192.0.2.7"]
    assert names_shown(serving(hub), None) == ["hub.example.org"]


def test_of_several_addresses_the_one_that_the_client_has_come_to(
    authority: Authority, hub: Certificate, tmp_path: Path
) -> None:
    two = [
        load_certificate(*authority.issue(address).write(tmp_path, address))
        for address in ("192.0.2.7", "127.0.0.1")
    ]
    server = serving(hub, *two)
    with connected() as (ours, theirs):
        ours.setblocking(True)
        theirs.setblocking(True)
        browser = stranger().wrap_socket(theirs, do_handshake_on_connect=False)
        handshake = Thread(target=server.connection(ours).do_handshake)
        handshake.start()
        browser.do_handshake()
        handshake.join()
        shown = x509.load_der_x509_certificate(browser.getpeercert(binary_form=True) or b"")
    names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["127.0.0.1"]


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_are_resumed_whatever_name_was_asked_for(
    hub: Certificate, lab: Certificate, root: Path, version: ssl.TLSVersion
) -> None:
    server = serving(hub, lab)
    context = trusting(root, only(version))
    for name in ("hub.example.org", "lab.example.org"):
        first = visit(server, context, asks_for=name)
        assert visit(server, context, first.tls.session, asks_for=name).tls.session_reused


@pytest.mark.parametrize("others", [0, 1])
def test_each_browser_gets_the_kind_of_key_that_it_takes_with_its_own_chain(
    authority: Authority, root: Path, hub: Certificate, tmp_path: Path, others: int
) -> None:
    elliptic, old = Authority("EC", issuer=authority), Authority("RSA", issuer=authority)
    pair = [
        load_certificate(*elliptic.issue("lab.example.org").write(tmp_path, "ec")),
        load_certificate(*old.issue("lab.example.org", key=rsa_key()).write(tmp_path, "rsa")),
    ]
    server = serving(*[hub][:others], *pair)
    for kind, certificate in zip(("ECDSA", "RSA"), pair, strict=True):
        suite = f"ECDHE-{kind}-AES128-GCM-SHA256"
        context = trusting(root, only(ssl.TLSVersion.TLSv1_2, suite))  # knows the root only
        browser = Browser(context, asks_for="lab.example.org")
        shake_hands(server, browser)
        assert browser.saw == certificate.chain[0].public_bytes(Encoding.DER)


def test_of_two_alike_the_one_that_ends_last_is_served(
    authority: Authority, tmp_path: Path
) -> None:
    for name, days in ("a", 5), ("b", 9), ("c", 7):
        end = NOW + timedelta(days=days)
        authority.issue("hub.example.org", not_after=end).write(tmp_path, name)
    certificates = load_directory(tmp_path)
    browser = Browser(stranger())
    shake_hands(serving(*certificates), browser)
    assert browser.saw == certificates[1].chain[0].public_bytes(Encoding.DER)


def test_a_directory_holds_keys_in_the_same_file_or_beside(
    authority: Authority, tmp_path: Path
) -> None:
    authority.issue("b.example.org").write(tmp_path, "b")
    issued = authority.issue("a.example.org")
    (tmp_path / "a.pem").write_bytes(key_pem(issued.key) + pem(issued.certificate))
    (tmp_path / "README").write_text("not a certificate")
    assert [each.names for each in load_directory(tmp_path)] == [
        ("a.example.org",),
        ("b.example.org",),
    ]


def test_modern_terms_are_tls_1_3_alone(hub: Certificate, root: Path) -> None:
    server = serving(hub, terms=Terms(Profile.MODERN))
    browser = Browser(trusting(root, only(VERSIONS[1])), asks_for="hub.example.org")
    shake_hands(server, browser)
    on_server, _ = refusal(server, Browser(trusting(root, only(VERSIONS[0]))))
    assert "unsupported protocol" in on_server
