"""Browsers that show a certificate of their own, and those that do not."""

from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

from ipyproxy.tls import (
    Certificate,
    CertificateError,
    ClientAuthorities,
    ServerTLS,
    Terms,
    client_subject,
    load_authorities,
    load_certificate,
)
from tests.certificates import NOW, Authority, Issued, pem
from tests.tlsparties import HOST, Browser, Endpoint, carry, only, serving, shake_hands, trusting

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def certificate(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return load_certificate(*authority.issue(HOST).write(tmp_path_factory.mktemp("server")))


@pytest.fixture(scope="module")
def staff() -> Authority:
    """Who issues certificates to people."""
    return Authority("Staff")


def asking(certificate: Certificate, authority: Authority, *, required: bool) -> ServerTLS:
    clients = ClientAuthorities((authority.certificate,), required)
    return serving(certificate, terms=Terms(clients=clients))


def showing(issued: Issued, root: Path, directory: Path, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = trusting(root, only(version))
    context.load_cert_chain(*issued.write(directory, "client"))
    return context


def meet(server: ServerTLS, browser: Browser) -> Endpoint:
    """A whole handshake, up to what a client of TLS 1.3 is told only after its end."""
    end = shake_hands(server, browser)
    carry(end, browser)
    browser.read()
    return end


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_is_known_by_its_certificate_and_still_so_when_it_resumes(
    certificate: Certificate,
    staff: Authority,
    root: Path,
    tmp_path: Path,
    version: ssl.TLSVersion,
    required: bool,
) -> None:
    server = asking(certificate, staff, required=required)
    context = showing(staff.issue(subject="ada, the first"), root, tmp_path, version)
    session = None
    for visit in range(3):
        browser = Browser(context, session)
        end = meet(server, browser)
        assert browser.tls.session_reused == (visit > 0)
        assert client_subject(end.connection) == "CN=ada\\, the first"
        browser.leave()
        end.connection.shutdown()
        session = browser.tls.session


@pytest.mark.parametrize("version", VERSIONS)
def test_where_certificates_are_optional_a_client_without_is_nobody(
    certificate: Certificate, staff: Authority, root: Path, version: ssl.TLSVersion
) -> None:
    server = asking(certificate, staff, required=False)
    end = meet(server, Browser(trusting(root, only(version))))
    assert client_subject(end.connection) is None


def test_nobody_is_asked_unless_configured(
    certificate: Certificate, staff: Authority, root: Path, tmp_path: Path
) -> None:
    context = showing(staff.issue(subject="ada"), root, tmp_path, ssl.TLSVersion.TLSv1_3)
    end = meet(serving(certificate), Browser(context))
    assert client_subject(end.connection) is None


def refused(server: ServerTLS, browser: Browser) -> str:
    with pytest.raises(SSL.Error) as caught:
        meet(server, browser)
    return str(caught.value)


@pytest.mark.parametrize("version", VERSIONS)
def test_where_certificates_are_required_a_client_without_is_refused(
    certificate: Certificate, staff: Authority, root: Path, version: ssl.TLSVersion
) -> None:
    server = asking(certificate, staff, required=True)
    told = refused(server, Browser(trusting(root, only(version))))
    assert "peer did not return a certificate" in told


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("flaw", ["another authority's", "expired", "a server's"])
def test_a_certificate_that_does_not_hold_is_refused(
    certificate: Certificate,
    staff: Authority,
    root: Path,
    tmp_path: Path,
    flaw: str,
    version: ssl.TLSVersion,
    required: bool,
) -> None:
    days = timedelta(days=1)
    issued = {
        "another authority's": Authority("Staff").issue(subject="ada"),
        "expired": staff.issue(subject="ada", not_before=NOW - 9 * days, not_after=NOW - days),
        "a server's": staff.issue(subject="ada", usage=ExtendedKeyUsageOID.SERVER_AUTH),
    }[flaw]
    server = asking(certificate, staff, required=required)
    told = refused(server, Browser(showing(issued, root, tmp_path, version)))
    assert "certificate verify failed" in told


def test_an_intermediate_authority_may_be_the_one_that_is_trusted(
    certificate: Certificate, staff: Authority, root: Path, tmp_path: Path
) -> None:
    team = Authority("Team", issuer=staff)
    server = asking(certificate, team, required=True)
    context = showing(team.issue(subject="ada"), root, tmp_path, ssl.TLSVersion.TLSv1_3)
    assert client_subject(meet(server, Browser(context)).connection) == "CN=ada"
    boss = showing(staff.issue(subject="bob"), root, tmp_path, ssl.TLSVersion.TLSv1_3)
    assert "certificate verify failed" in refused(server, Browser(boss))


def test_who_was_known_under_old_terms_is_not_under_new_ones(
    certificate: Certificate, staff: Authority, root: Path, tmp_path: Path
) -> None:
    server = asking(certificate, staff, required=True)
    context = showing(staff.issue(subject="ada"), root, tmp_path, ssl.TLSVersion.TLSv1_3)
    browser = Browser(context)
    meet(server, browser)
    others = ClientAuthorities((Authority("Others").certificate,), required=True)
    server.replace((certificate,), Terms(clients=others))
    assert "certificate verify failed" in refused(server, Browser(context, browser.tls.session))


def test_authorities_are_read_from_a_file(staff: Authority, tmp_path: Path) -> None:
    others = Authority("Others")
    path = tmp_path / "authorities.pem"
    path.write_bytes(pem(staff.certificate, others.certificate))
    assert load_authorities(path) == (staff.certificate, others.certificate)


def test_what_is_no_authority_is_told(staff: Authority, tmp_path: Path) -> None:
    certificate, _ = staff.issue("hub.example.org", subject="hub").write(tmp_path)
    with pytest.raises(CertificateError, match=r"may not issue others \(CN=hub\)"):
        load_authorities(certificate)
    with pytest.raises(CertificateError, match="cannot be read"):
        load_authorities(tmp_path / "none.pem")
