"""The two ends of a TLS handshake in memory, and how they are brought together.

The `ssl` module plays the browser, for it brings its own OpenSSL; pyOpenSSL does where a test
needs what `ssl` does not offer (renegotiation, groups of TLS 1.3).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
from OpenSSL import SSL
from twisted.internet.task import Clock

from ipyproxy.tls import Certificate, ServerTLS, Terms

HOST = "notebooks.example.org"


def serving(
    *certificates: Certificate, terms: Terms | None = None, clock: Clock | None = None
) -> ServerTLS:
    """A server with these certificates."""
    return ServerTLS(certificates, terms or Terms(), (clock or Clock()).seconds)


class Party(Protocol):
    """One end of a connection in memory."""

    def shake(self) -> bool:
        """Get on with the handshake; whether it is finished."""

    def take(self) -> bytes:
        """What waits to be sent."""

    def give(self, data: bytes) -> None:
        """What has arrived."""


class Endpoint:
    """pyOpenSSL's end, as server or as client."""

    def __init__(self, connection: SSL.Connection) -> None:
        self.connection = connection

    def shake(self) -> bool:
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            return False
        return True

    def take(self) -> bytes:
        try:
            return self.connection.bio_read(1 << 16)
        except SSL.WantReadError:
            return b""

    def give(self, data: bytes) -> None:
        self.connection.bio_write(data)


class Browser:
    """The `ssl` module's client."""

    def __init__(
        self,
        context: ssl.SSLContext,
        session: ssl.SSLSession | None = None,
        *,
        asks_for: str | None = HOST,
    ) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=asks_for, session=session
        )

    def shake(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def take(self) -> bytes:
        return self._outgoing.read()

    def give(self, data: bytes) -> None:
        self._incoming.write(data)

    def read(self) -> bytes:
        """What the server said; reading also takes in the tickets of TLS 1.3."""
        try:
            return self.tls.read(1 << 16)
        except ssl.SSLWantReadError:
            return b""

    @property
    def saw(self) -> bytes | None:
        """The certificate that it was shown."""
        return self.tls.getpeercert(binary_form=True)

    def leave(self) -> None:
        """Say goodbye; a session of TLS 1.2 that ends without is forgotten on both sides."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass


def carry(sender: Party, receiver: Party) -> None:
    if data := sender.take():
        receiver.give(data)


def shake_hands(server: ServerTLS, client: Party) -> Endpoint:
    """A handshake up to its end. Raises what the server raises, or else the client."""
    end = Endpoint(server.connection(None))
    for _ in range(4):
        finished = client.shake()
        carry(client, end)
        if end.shake() and finished:
            return end
        carry(end, client)
    raise AssertionError("The handshake came to no end.")


def refusal(server: ServerTLS, client: Party) -> tuple[str, str]:
    """What the server, then the client, say of a handshake that the server refuses."""
    end = Endpoint(server.connection(None))
    client.shake()
    carry(client, end)
    with pytest.raises(SSL.Error) as on_server:
        end.shake()
    carry(end, client)
    with pytest.raises((SSL.Error, ssl.SSLError)) as on_client:
        client.shake()
    return str(on_server.value), str(on_client.value)


def trusting(root: Path, configure: Callable[[ssl.SSLContext], object] = id) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(root))
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    configure(context)
    return context


def only(version: ssl.TLSVersion, ciphers: str = "DEFAULT") -> Callable[[ssl.SSLContext], None]:
    """A browser of one version of TLS, that would even take suites of no security at all."""

    def configure(context: ssl.SSLContext) -> None:
        context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version

    return configure


def openssl_client(configure: Callable[[SSL.Context], object] = id) -> Endpoint:
    """A client that does not look at the certificate."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    configure(context)
    connection = SSL.Connection(context, None)
    connection.set_connect_state()
    return Endpoint(connection)


def offering_groups(groups: bytes) -> Callable[[SSL.Context], None]:
    def configure(context: SSL.Context) -> None:
        lib: Any = vars(SSL)["_lib"]
        assert lib.SSL_CTX_set1_curves_list(context._context, groups) == 1

    return configure


def visit(
    server: ServerTLS,
    context: ssl.SSLContext,
    session: ssl.SSLSession | None = None,
    *,
    asks_for: str = HOST,
) -> Browser:
    """Connect, take the tickets, leave."""
    browser = Browser(context, session, asks_for=asks_for)
    end = shake_hands(server, browser)
    carry(end, browser)
    assert browser.read() == b""
    browser.leave()
    end.connection.shutdown()
    return browser
