"""How an ACME server sees whose a name is (tls-alpn-01): in a handshake, and nothing after it."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock

from ipyproxy.net.descriptors import EpollSet
from ipyproxy.net.tls import TLSTransport
from ipyproxy.tls import Certificate, ClientAuthorities, ServerTLS, Terms, load_certificate
from tests.certificates import Authority
from tests.net.test_tls import PEER, SecureRecorder
from tests.polls import Poll, connected
from tests.tlsparties import Browser, Endpoint, openssl_client, refusal, shake_hands, trusting

HOST = "notebooks.example.org"
NEW = "new.example.org"
ACME = b"acme-tls/1"


@pytest.fixture
def usual(authority: Authority, tmp_path: Path) -> Certificate:
    return load_certificate(*authority.issue(HOST).write(tmp_path, "usual"))


@pytest.fixture
def challenge(authority: Authority, tmp_path: Path) -> Certificate:
    return load_certificate(*authority.issue(NEW).write(tmp_path, "challenge"))


def serving(usual: Certificate, challenge: Certificate, terms: Terms | None = None) -> ServerTLS:
    server = ServerTLS([usual], terms or Terms(), Clock().seconds)
    server.challenges = {NEW: challenge}.get
    return server


def validator(
    name: str = NEW,
    *,
    offers: tuple[bytes, ...] = (ACME,),
    newest: int = SSL.TLS1_3_VERSION,
    groups: bytes = b"X25519:P-256",
) -> Endpoint:
    """An ACME server that looks at a name."""

    def configure(context: SSL.Context) -> None:
        context.set_alpn_protos(list(offers))
        context.set_max_proto_version(newest)
        lib: Any = vars(SSL)["_lib"]
        assert lib.SSL_CTX_set1_curves_list(context._context, groups) == 1

    client = openssl_client(configure)
    client.connection.set_tlsext_host_name(name.encode())
    return client


def names_seen(client: Endpoint) -> list[str]:
    shown = client.connection.get_peer_certificate(as_cryptography=True)
    assert shown is not None
    names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


# Of these groups the server takes none that the first message has a key for, so it asks again.
@pytest.mark.parametrize("groups", [b"X25519:P-256", b"secp521r1:P-384"])
@pytest.mark.parametrize("name", [NEW, NEW.upper()])
def test_an_acme_server_gets_its_challenge(
    usual: Certificate, challenge: Certificate, groups: bytes, name: str
) -> None:
    client = validator(name, groups=groups)
    shake_hands(serving(usual, challenge), client)
    assert names_seen(client) == [NEW]
    assert client.connection.get_alpn_proto_negotiated() == ACME


def test_everybody_else_gets_the_usual_certificate_meanwhile(
    usual: Certificate, challenge: Certificate, root: Path
) -> None:
    server = serving(usual, challenge)
    for offers in [b"http/1.1"], [b"h2", b"http/1.1"], [ACME, b"http/1.1"]:
        client = validator(offers=tuple(offers))
        shake_hands(server, client)
        assert names_seen(client) == [HOST]
        assert client.connection.get_alpn_proto_negotiated() == b"http/1.1"
    shake_hands(server, Browser(trusting(root)))


@pytest.mark.parametrize(
    "client",
    [
        validator("other.example.org"),
        validator(HOST),
        # There the certificate is chosen before the protocol is known.
        validator(newest=SSL.TLS1_2_VERSION),
    ],
)
def test_where_nothing_was_asked_for_there_is_no_answer(
    usual: Certificate, challenge: Certificate, client: Endpoint
) -> None:
    on_server, on_client = refusal(serving(usual, challenge), client)
    assert "no ACME challenge" in on_server
    assert "no application protocol" in on_client.replace("_", " ").lower()


def test_an_acme_server_needs_no_certificate_of_its_own(
    usual: Certificate, challenge: Certificate, authority: Authority, root: Path
) -> None:
    clients = ClientAuthorities((authority.certificate,), required=True)
    server = serving(usual, challenge, Terms(clients=clients))
    client = validator()
    shake_hands(server, client)
    assert names_seen(client) == [NEW]
    browser = Browser(trusting(root, lambda context: context.set_alpn_protocols(["http/1.1"])))
    with pytest.raises(SSL.Error, match="did not return a certificate"):
        shake_hands(server, browser)


def test_a_challenge_is_shown_where_unknown_names_are_refused(
    usual: Certificate, challenge: Certificate
) -> None:
    client = validator()
    shake_hands(serving(usual, challenge, Terms(refuses_unknown_names=True)), client)
    assert names_seen(client) == [NEW]


def test_nothing_of_such_a_connection_reaches_http(
    usual: Certificate, challenge: Certificate
) -> None:
    with connected() as (ours, theirs):
        server, recorder, poll = serving(usual, challenge), SecureRecorder(), Poll()
        tls = server.connection(ours)
        TLSTransport(EpollSet(poll, turn=0), ours, recorder, PEER, tls).start()
        _ask_as_if_for_a_page(recorder, poll, theirs)
    assert isinstance(recorder.reason, ConnectionDone)
    assert (recorder.handshakes, recorder.data) == (0, b"")


def _ask_as_if_for_a_page(recorder: SecureRecorder, poll: Poll, theirs: socket.socket) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["acme-tls/1"])
    theirs.setblocking(False)
    client = context.wrap_socket(theirs, server_hostname=NEW, do_handshake_on_connect=False)

    def push() -> None:
        try:
            client.do_handshake()
            client.send(b"GET / HTTP/1.1\r\nHost: new.example.org\r\n\r\n")
        except (ssl.SSLWantReadError, OSError):
            pass

    poll.until(lambda: recorder.reason, push)
    assert client.selected_alpn_protocol() == "acme-tls/1"
