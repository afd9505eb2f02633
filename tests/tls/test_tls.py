"""TLS as browsers meet it: handshakes in memory, between two builds of OpenSSL where it can be."""

from __future__ import annotations

import dataclasses
import os
import re
import ssl
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from OpenSSL import SSL
from twisted.internet.task import Clock

from ipyproxy.tls import (
    Certificate,
    CertificateError,
    ServerTLS,
    Terms,
    development_certificate,
    load_certificate,
)
from tests.certificates import Authority, Issued, ecdsa_key, key_pem, pem, rsa_key
from tests.tlsparties import (
    HOST,
    Browser,
    carry,
    offering_groups,
    only,
    openssl_client,
    refusal,
    serving,
    shake_hands,
    trusting,
    visit,
)

DAY = timedelta(days=1)
NOON = datetime(2031, 5, 4, 12, tzinfo=UTC)


# -- the certificates -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ecdsa(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return load_certificate(*authority.issue(HOST).write(tmp_path_factory.mktemp("ecdsa")))


@pytest.fixture(scope="module")
def rsa(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    issued = authority.issue(HOST, key=rsa_key())
    return load_certificate(*issued.write(tmp_path_factory.mktemp("rsa")))


@pytest.fixture
def server(ecdsa: Certificate) -> ServerTLS:
    return serving(ecdsa)


# -- what a handshake agrees on -------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_todays_versions_are_spoken(server: ServerTLS, root: Path, version: ssl.TLSVersion) -> None:
    browser = Browser(trusting(root, only(version)))
    shake_hands(server, browser)
    assert browser.tls.version() == version.name.replace("_", ".")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused(server: ServerTLS, root: Path, version: ssl.TLSVersion) -> None:
    browser = Browser(trusting(root, only(version)))
    on_server, on_client = refusal(server, browser)
    assert "unsupported protocol" in on_server
    assert "protocol version" in on_client.replace("_", " ").lower()


SUITES = [
    "ECDHE-{}-AES128-GCM-SHA256",
    "ECDHE-{}-AES256-GCM-SHA384",
    "ECDHE-{}-CHACHA20-POLY1305",
]


@pytest.mark.parametrize("kind", ["ECDSA", "RSA"])
@pytest.mark.parametrize("pattern", SUITES)
def test_the_six_suites_of_tls_1_2_are_spoken(
    ecdsa: Certificate, rsa: Certificate, root: Path, kind: str, pattern: str
) -> None:
    suite = pattern.format(kind)
    server = serving(ecdsa if kind == "ECDSA" else rsa)
    browser = Browser(trusting(root, only(ssl.TLSVersion.TLSv1_2, suite)))
    shake_hands(server, browser)
    assert (browser.tls.cipher() or [""])[0] == suite


@pytest.mark.parametrize(
    "suite",
    [
        "AES128-GCM-SHA256",  # RSA key exchange: no forward secrecy
        "AES128-SHA",
        "ECDHE-RSA-AES128-SHA",  # CBC
        "ECDHE-RSA-AES256-SHA384",
        "ECDHE-ECDSA-AES128-SHA",
        "DHE-RSA-AES128-GCM-SHA256",  # finite-field Diffie-Hellman
        "DHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-CCM",
        "ECDHE-ECDSA-AES128-CCM8",
        "ECDHE-RSA-NULL-SHA",
        "AECDH-AES128-SHA",  # no authentication
        "ADH-AES128-GCM-SHA256",
    ],
)
def test_weak_suites_are_refused(
    ecdsa: Certificate, rsa: Certificate, root: Path, suite: str
) -> None:
    context = trusting(root, only(ssl.TLSVersion.TLSv1_2, suite))
    for certificate in (ecdsa, rsa):
        on_server, _ = refusal(serving(certificate), Browser(context))
        assert "no shared cipher" in on_server


@pytest.mark.parametrize("first", SUITES)
def test_the_client_s_favourite_suite_wins(server: ServerTLS, root: Path, first: str) -> None:
    ordered = [first, *(suite for suite in SUITES if suite != first)]
    preference = ":".join(ordered).format(*["ECDSA"] * 3)
    browser = Browser(trusting(root, only(ssl.TLSVersion.TLSv1_2, preference)))
    shake_hands(server, browser)
    assert (browser.tls.cipher() or [""])[0] == first.format("ECDSA")


@pytest.mark.parametrize(
    ("offered", "group"),
    [
        (b"X25519MLKEM768:X25519", "X25519MLKEM768"),
        (b"X25519", "x25519"),
        (b"P-256", "secp256r1"),
        (b"P-384", "secp384r1"),
    ],
)
def test_the_guideline_s_groups_are_spoken(server: ServerTLS, offered: bytes, group: str) -> None:
    client = openssl_client(offering_groups(offered))
    shake_hands(server, client)
    assert client.connection.get_group_name() == group


@pytest.mark.parametrize(
    "group", [b"ffdhe2048", b"ffdhe3072", b"X448", b"P-521", b"SecP256r1MLKEM768"]
)
def test_other_groups_are_refused(server: ServerTLS, group: bytes) -> None:
    on_server, _ = refusal(server, openssl_client(offering_groups(group)))
    assert "no suitable key share" in on_server


# -- ALPN -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "answer"),
    [
        (["h2", "http/1.1"], "http/1.1"),  # a browser's pages
        (["http/1.1"], "http/1.1"),  # its WebSockets
        (["http/1.0", "http/1.1", "spdy/3"], "http/1.1"),
        (["http/1.0"], "http/1.0"),  # curl -0
        ([], None),  # tools without ALPN
    ],
)
def test_alpn_answers_http_1_1(
    server: ServerTLS, root: Path, offered: list[str], answer: str | None
) -> None:
    browser = Browser(trusting(root, lambda context: context.set_alpn_protocols(offered)))
    shake_hands(server, browser)
    assert browser.tls.selected_alpn_protocol() == answer


@pytest.mark.parametrize("offered", [["h2"], ["acme-tls/1"], ["http/1"], ["HTTP/1.1"]])
def test_a_client_that_wants_another_protocol_is_told_so(
    server: ServerTLS, root: Path, offered: list[str]
) -> None:
    browser = Browser(trusting(root, lambda context: context.set_alpn_protocols(offered)))
    on_server, on_client = refusal(server, browser)
    assert "no application protocol" in on_server
    assert "no application protocol" in on_client.replace("_", " ").lower()
    shake_hands(server, Browser(trusting(root)))  # and the next one is not troubled


# -- sessions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_a_second_visit_resumes(
    request: pytest.FixtureRequest, root: Path, kind: str, version: ssl.TLSVersion
) -> None:
    server = serving(request.getfixturevalue(kind))
    context = trusting(root, only(version))
    first = visit(server, context)
    assert not first.tls.session_reused
    assert first.tls.session is not None
    assert first.tls.session.has_ticket
    second = visit(server, context, first.tls.session)
    assert second.tls.session_reused
    assert visit(server, context, second.tls.session).tls.session_reused


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tickets_last_a_day_at_most(
    ecdsa: Certificate, root: Path, version: ssl.TLSVersion
) -> None:
    clock = Clock()
    server = serving(ecdsa, clock=clock)
    context = trusting(root, only(version))
    first = visit(server, context)
    clock.advance(86399)
    assert visit(server, context, first.tls.session).tls.session_reused
    clock.advance(1)
    assert not visit(server, context, first.tls.session).tls.session_reused


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tickets_do_not_outlive_their_certificate(
    server: ServerTLS, root: Path, version: ssl.TLSVersion
) -> None:
    context = trusting(root, only(version))
    first = visit(server, context)
    server.replace(server.certificates, Terms())
    assert not visit(server, context, first.tls.session).tls.session_reused


def test_the_server_keeps_no_session_for_a_client_without_tickets(
    server: ServerTLS, root: Path
) -> None:
    context = trusting(root, only(ssl.TLSVersion.TLSv1_2))
    context.options |= ssl.OP_NO_TICKET
    first = visit(server, context)
    assert not visit(server, context, first.tls.session).tls.session_reused


def test_renegotiation_is_refused(server: ServerTLS) -> None:
    client = openssl_client(lambda context: context.set_max_proto_version(SSL.TLS1_2_VERSION))
    end = shake_hands(server, client)
    carry(end, client)
    assert client.shake()
    assert client.connection.renegotiate()
    assert not client.shake()
    carry(client, end)
    with pytest.raises(SSL.WantReadError):
        end.connection.recv(1)
    carry(end, client)
    with pytest.raises(SSL.Error, match="no renegotiation"):
        client.shake()
    assert end.connection.total_renegotiations() == 0


# -- replacing the certificate --------------------------------------------------------------------


def test_a_new_certificate_is_for_new_connections(
    server: ServerTLS, authority: Authority, root: Path, tmp_path: Path
) -> None:
    context = trusting(root)
    old = server.certificates[0]
    before = Browser(context)
    end = shake_hands(server, before)

    new = load_certificate(*authority.issue(HOST).write(tmp_path))
    server.replace((new,), Terms())

    after = Browser(context)
    shake_hands(server, after)
    assert server.certificates[0] is new
    assert after.saw == new.chain[0].public_bytes(serialization.Encoding.DER)
    assert before.saw == old.chain[0].public_bytes(serialization.Encoding.DER)
    before.tls.write(b"still here?")
    carry(before, end)
    assert end.connection.recv(100) == b"still here?"
    end.connection.send(b"as ever")
    carry(end, before)
    assert before.read() == b"as ever"


def test_a_certificate_that_fails_changes_nothing(server: ServerTLS, root: Path) -> None:
    old = server.certificates[0]
    with pytest.raises(CertificateError, match="key values mismatch"):
        server.replace((dataclasses.replace(old, private_key=ecdsa_key()),), Terms())
    assert server.certificates[0] is old
    shake_hands(server, Browser(trusting(root)))


# -- loading --------------------------------------------------------------------------------------


def test_loading_tells_names_and_age(authority: Authority, tmp_path: Path) -> None:
    files = authority.issue(
        "Notebooks.Example.org", "*.example.org", "192.0.2.7", "2001:DB8::7", not_after=NOON
    ).write(tmp_path)
    certificate = load_certificate(*files)
    assert (certificate.certificate, certificate.key) == files
    assert certificate.names == (
        "notebooks.example.org",
        "*.example.org",
        "192.0.2.7",
        "2001:db8::7",
    )
    assert certificate.not_after == NOON
    assert not certificate.is_development
    assert not certificate.is_expired(NOON)
    assert certificate.is_expired(NOON + timedelta(seconds=1))
    assert "PRIVATE" not in repr(certificate)


def test_an_expired_certificate_is_served(authority: Authority, root: Path, tmp_path: Path) -> None:
    issued = authority.issue(HOST, not_before=NOON - 9000 * DAY, not_after=NOON - 8000 * DAY)
    certificate = load_certificate(*issued.write(tmp_path))
    assert certificate.is_expired(NOON)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shake_hands(serving(certificate), Browser(trusting(root)))


def test_the_intermediates_are_sent(authority: Authority, root: Path, tmp_path: Path) -> None:
    issued = Authority("Intermediate", issuer=authority).issue(HOST)
    server = serving(load_certificate(*issued.write(tmp_path)))
    shake_hands(server, Browser(trusting(root)))  # which knows the root only


def test_certificate_and_key_may_share_a_file(
    authority: Authority, root: Path, tmp_path: Path
) -> None:
    issued, both = authority.issue(HOST), tmp_path / "both.pem"
    for content in (
        pem(issued.certificate) + key_pem(issued.key),
        key_pem(issued.key) + pem(issued.certificate),
    ):
        both.write_bytes(content)
        shake_hands(serving(load_certificate(both, both)), Browser(trusting(root)))


def missing_certificate(issued: Issued, certificate: Path, key: Path) -> None:
    certificate.unlink()


def missing_key(issued: Issued, certificate: Path, key: Path) -> None:
    key.unlink()


def directory_for_certificate(issued: Issued, certificate: Path, key: Path) -> None:
    certificate.unlink()
    certificate.mkdir()


def garbage_certificate(issued: Issued, certificate: Path, key: Path) -> None:
    certificate.write_bytes(bytes(range(256)))


def empty_certificate(issued: Issued, certificate: Path, key: Path) -> None:
    certificate.write_bytes(b"")


def torn_certificate(issued: Issued, certificate: Path, key: Path) -> None:
    certificate.write_bytes(certificate.read_bytes()[:-100])


def garbage_inside_armour(issued: Issued, certificate: Path, key: Path) -> None:
    certificate.write_bytes(b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")


def garbage_key(issued: Issued, certificate: Path, key: Path) -> None:
    key.write_bytes(bytes(range(256)))


def certificate_for_key(issued: Issued, certificate: Path, key: Path) -> None:
    key.write_bytes(certificate.read_bytes())


def encrypted_key(issued: Issued, certificate: Path, key: Path) -> None:
    key.write_bytes(key_pem(issued.key, serialization.BestAvailableEncryption(b"secret")))


def another_key(issued: Issued, certificate: Path, key: Path) -> None:
    key.write_bytes(key_pem(ecdsa_key()))


def key_of_another_kind(issued: Issued, certificate: Path, key: Path) -> None:
    key.write_bytes(key_pem(ed25519.Ed25519PrivateKey.generate()))


def chain_upside_down(issued: Issued, certificate: Path, key: Path) -> None:
    certificate.write_bytes(pem(*issued.intermediates, issued.certificate))


def common_name_only(issued: Issued, certificate: Path, key: Path) -> None:
    Authority().issue().write(certificate.parent)


def address_spelled_as_a_name(issued: Issued, certificate: Path, key: Path) -> None:
    write_with(x509.SubjectAlternativeName([x509.DNSName("192.0.2.7")]), certificate, key)


def malformed_names(issued: Issued, certificate: Path, key: Path) -> None:
    oid = x509.SubjectAlternativeName.oid
    write_with(x509.UnrecognizedExtension(oid, b"\x30\x05"), certificate, key)


def write_with(extension: x509.ExtensionType, certificate: Path, key: Path) -> None:
    authority, own = Authority(), ecdsa_key()
    builder = authority.builder(authority.certificate.subject, own)
    signed = builder.add_extension(extension, critical=False).sign(authority.key, hashes.SHA256())
    Issued(signed, own, ()).write(certificate.parent)


def short_key(issued: Issued, certificate: Path, key: Path) -> None:
    Authority().issue(HOST, key=rsa_key(1024)).write(certificate.parent)


@pytest.mark.parametrize(
    ("spoil", "names", "says"),
    [
        (missing_certificate, "server.pem", "No such file"),
        (missing_key, "server.key", "No such file"),
        (directory_for_certificate, "server.pem", "Is a directory"),
        (garbage_certificate, "server.pem", "no whole PEM certificates"),
        (empty_certificate, "server.pem", "no whole PEM certificates"),
        (torn_certificate, "server.pem", "no whole PEM certificates"),
        (garbage_inside_armour, "server.pem", "no whole PEM certificates"),
        (garbage_key, "server.key", "no readable PEM private key"),
        (certificate_for_key, "server.key", "no readable PEM private key"),
        (encrypted_key, "server.key", "encrypted"),
        (another_key, "server.key", "does not belong"),
        (key_of_another_kind, "server.key", "neither RSA nor ECDSA"),
        (chain_upside_down, "server.pem", "does not begin with the server's own"),
        (common_name_only, "server.pem", "subjectAltName"),
        (address_spelled_as_a_name, "server.pem", "subjectAltName"),
        (malformed_names, "server.pem", "malformed"),
        (short_key, "server.pem", "key too small"),
    ],
)
def test_what_cannot_be_served_is_told_in_one_sentence(
    authority: Authority,
    tmp_path: Path,
    spoil: Callable[[Issued, Path, Path], None],
    names: str,
    says: str,
) -> None:
    issued = Authority("Intermediate", issuer=authority).issue(HOST)
    files = issued.write(tmp_path)
    spoil(issued, *files)
    with pytest.raises(CertificateError) as raised:
        load_certificate(*files)
    sentence = str(raised.value)
    assert str(tmp_path / names) in sentence
    assert says in sentence
    assert re.fullmatch(r"[^\n]*; [a-z][^\n]*\.", sentence)  # what is wrong; what to do.
    assert ". " not in sentence


# -- the development certificate ------------------------------------------------------------------


@pytest.fixture
def loose_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_development_certificate_is_trusted_once_told_to(tmp_path: Path) -> None:
    certificate = development_certificate(tmp_path, [HOST], datetime.now(UTC))
    assert certificate.is_development
    browser = Browser(trusting(certificate.certificate))
    shake_hands(serving(certificate), browser)
    assert browser.tls.version() == "TLSv1.3"


def test_the_development_certificate_bears_this_host(tmp_path: Path) -> None:
    certificate = development_certificate(tmp_path, ["Notebooks.Example.org"], NOON)
    assert set(certificate.names) == {"localhost", "127.0.0.1", "::1", HOST}
    assert certificate.not_after - NOON <= 397 * DAY
    assert certificate.not_after - NOON > 396 * DAY
    leaf = certificate.chain[0]
    assert leaf.not_valid_before_utc < NOON
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]


@pytest.mark.parametrize("hostname", ["", "-x", "a b", "host:443", "*.org", "x" * 64, "ä.de"])
def test_a_hostname_that_is_none_is_left_out(tmp_path: Path, hostname: str) -> None:
    certificate = development_certificate(tmp_path, [hostname], NOON)
    assert set(certificate.names) == {"localhost", "127.0.0.1", "::1"}


def test_nobody_else_can_ever_read_the_key(
    tmp_path: Path, loose_umask: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes_while_written = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        modes_while_written.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    directory = tmp_path / "state" / "tls"
    certificate = development_certificate(directory, [HOST], NOON)
    assert mode(directory) == mode(directory.parent) == 0o700
    assert mode(certificate.key) == 0o600
    assert modes_while_written == [0o600]
    assert list(directory.iterdir()) == [certificate.key]


def test_a_second_start_takes_the_same(tmp_path: Path) -> None:
    first = development_certificate(tmp_path, [HOST], NOON)
    assert development_certificate(tmp_path, [HOST], NOON + 395 * DAY) == first


def test_an_old_one_is_made_anew(tmp_path: Path) -> None:
    first = development_certificate(tmp_path, [HOST], NOON)
    later = NOON + timedelta(days=396, minutes=1)
    assert development_certificate(tmp_path, [HOST], later).not_after > first.not_after


def test_one_from_the_future_is_made_anew(tmp_path: Path) -> None:
    first = development_certificate(tmp_path, [HOST], NOON)
    assert development_certificate(tmp_path, [HOST], NOON - DAY).not_after < first.not_after


def test_a_new_hostname_makes_it_anew(tmp_path: Path) -> None:
    first = development_certificate(tmp_path, [HOST], NOON)
    second = development_certificate(tmp_path, ["other.example.org"], NOON)
    assert second != first
    assert "other.example.org" in second.names


def test_one_that_lay_open_is_made_anew(tmp_path: Path) -> None:
    first = development_certificate(tmp_path, [HOST], NOON)
    first.key.chmod(0o640)
    second = development_certificate(tmp_path, [HOST], NOON)
    assert second != first
    assert mode(second.key) == 0o600


@pytest.mark.parametrize("content", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\n"])
def test_a_broken_one_is_made_anew(tmp_path: Path, content: bytes) -> None:
    path = development_certificate(tmp_path, [HOST], NOON).certificate
    path.write_bytes(content)
    assert HOST in development_certificate(tmp_path, [HOST], NOON).names


def test_a_crash_while_writing_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = development_certificate(tmp_path, [HOST], NOON)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CertificateError, match="No space left on device"):
            development_certificate(tmp_path, ["other.example.org"], NOON)
    assert list(tmp_path.iterdir()) == [first.key]
    assert development_certificate(tmp_path, [HOST], NOON) == first


def test_a_directory_where_others_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(CertificateError, match="Others may write"):
        development_certificate(tmp_path, [HOST], NOON)
    assert not list(tmp_path.iterdir())


def test_a_file_for_a_directory_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(CertificateError, match="cannot be kept in"):
        development_certificate(path, HOST, NOON)
