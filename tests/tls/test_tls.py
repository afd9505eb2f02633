"""TLS as browsers meet it: handshakes in memory, between two builds of OpenSSL where it can be."""

from __future__ import annotations

import dataclasses
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL
from twisted.internet.task import Clock

from ipyproxy.tls import Certificate, CertificateError, ServerTLS, Terms, load_certificate
from tests.certificates import Authority, ecdsa_key, rsa_key
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
