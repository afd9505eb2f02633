"""TLS to a notebook: who is taken for one, who is not, and how long that may take."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from twisted.internet.protocol import Protocol

from ipyproxy.net.address import TCPAddress
from ipyproxy.net.tls import TLSTransport
from ipyproxy.net.tlsdial import NotSecuredError, SecureDial, SilentError
from ipyproxy.tls import UpstreamTLS, load_trusted
from tests.certificates import NOW, Authority, Issued
from tests.polls import LOCALHOST, Poll

TIMEOUT, PATIENCE = 2.0, 60.0


class Notebook:
    """A listening socket with TLS, which echoes once; in a thread, so that it can wait."""

    def __init__(self, issued: Issued, directory: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*issued.write(directory, "notebook"))
        self._context.sni_callback = self._note_name
        self._listening = socket.create_server((LOCALHOST, 0))
        self._listening.settimeout(5)
        self.port = self._listening.getsockname()[1]
        self.asked_for: str | None = None
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _note_name(self, _connection: object, name: str | None, _context: object) -> None:
        self.asked_for = name

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            sock, _ = self._listening.accept()
            sock.settimeout(5)
            with self._context.wrap_socket(sock, server_side=True) as secured:
                secured.sendall(secured.recv(100))

    def close(self) -> None:
        self._thread.join()
        self._listening.close()


class Hearer(Protocol):
    def __init__(self) -> None:
        self.data = b""

    def dataReceived(self, data: bytes) -> None:
        self.data += data


class Attempt:
    """One attempt, and what came of it."""

    def __init__(self, poll: Poll, port: int, tls: UpstreamTLS) -> None:
        self.poll = poll
        self.error: OSError | None = None
        self.transport: TLSTransport | None = None
        self.protocol = Hearer()
        address = TCPAddress(LOCALHOST, port)
        self.dial = SecureDial(
            poll, address, TIMEOUT, tls, self._connected, self._failed, patience=PATIENCE
        )

    def _connected(self, transport: TLSTransport) -> None:
        assert self.transport is None
        assert self.error is None
        self.transport = transport
        transport.protocol = self.protocol
        self.protocol.makeConnection(transport)

    def _failed(self, error: OSError) -> None:
        assert self.transport is None
        assert self.error is None
        self.error = error

    @property
    def is_over(self) -> bool:
        return self.transport is not None or self.error is not None

    def told(self) -> str:
        """Why it failed, when it has; nothing is left of it then."""
        self.poll.until(lambda: self.is_over)
        self.poll.rest()
        assert isinstance(self.error, NotSecuredError)
        assert (self.poll.readers, self.poll.writers, self.poll.getDelayedCalls()) == ([], [], [])
        return str(self.error.strerror)


@contextlib.contextmanager
def notebook(issued: Issued, directory: Path) -> Iterator[Notebook]:
    made = Notebook(issued, directory)
    try:
        yield made
    finally:
        made.close()


def expecting(name: str, *trusted: Authority) -> UpstreamTLS:
    return UpstreamTLS(name, tuple(each.certificate for each in trusted))


@pytest.mark.parametrize(("name", "asked_for"), [("localhost", "localhost"), ("127.0.0.1", None)])
def test_a_notebook_of_the_right_name_is_spoken_to(
    poll: Poll, authority: Authority, tmp_path: Path, name: str, asked_for: str | None
) -> None:
    with notebook(authority.issue("localhost", "127.0.0.1"), tmp_path) as there:
        attempt = Attempt(poll, there.port, expecting(name, authority))
        poll.until(lambda: attempt.is_over)
        assert attempt.transport is not None
        assert poll.getDelayedCalls() == []
        attempt.transport.write(b"hello")
        poll.until(lambda: attempt.protocol.data)
        assert attempt.protocol.data == b"hello"
        assert there.asked_for == asked_for


def test_the_same_terms_serve_for_another_name(
    poll: Poll, authority: Authority, tmp_path: Path
) -> None:
    terms = expecting("192.0.2.7", authority).named("localhost")
    assert terms == expecting("localhost", authority)
    with notebook(authority.issue("localhost"), tmp_path) as there:
        attempt = Attempt(poll, there.port, terms)
        poll.until(lambda: attempt.is_over)
        assert attempt.transport is not None
        assert there.asked_for == "localhost"
        attempt.transport.abortConnection()
        poll.rest()


def test_a_notebooks_own_certificate_may_be_the_one_that_is_trusted(
    poll: Poll, authority: Authority, tmp_path: Path
) -> None:
    issued = authority.issue("localhost")
    certificate, _ = issued.write(tmp_path)
    with notebook(issued, tmp_path) as there:
        attempt = Attempt(poll, there.port, UpstreamTLS("localhost", load_trusted(certificate)))
        poll.until(lambda: attempt.is_over)
        assert attempt.transport is not None
        attempt.transport.abortConnection()
        poll.rest()


def test_authorities_of_this_system_are_trusted_if_none_are_named(
    poll: Poll, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.write(tmp_path)))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    with notebook(authority.issue("localhost"), tmp_path) as there:
        attempt = Attempt(poll, there.port, UpstreamTLS("localhost", None))
        poll.until(lambda: attempt.is_over)
        assert attempt.transport is not None
        attempt.transport.abortConnection()
        poll.rest()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_one_of_another_name_is_not(
    poll: Poll, authority: Authority, tmp_path: Path, name: str
) -> None:
    with notebook(authority.issue("other.example.org", "192.0.2.7"), tmp_path) as there:
        attempt = Attempt(poll, there.port, expecting(name, authority))
        assert attempt.told() == f"TLS: the certificate is not one for {name}"


def test_one_of_an_unknown_authority_is_not(
    poll: Poll, authority: Authority, tmp_path: Path
) -> None:
    with notebook(Authority().issue("localhost"), tmp_path) as there:
        attempt = Attempt(poll, there.port, expecting("localhost", authority))
        assert "certificate verify failed" in attempt.told()


def test_one_whose_certificate_expired_is_not(
    poll: Poll, authority: Authority, tmp_path: Path
) -> None:
    day = timedelta(days=1)
    issued = authority.issue("localhost", not_before=NOW - 9 * day, not_after=NOW - day)
    with notebook(issued, tmp_path) as there:
        attempt = Attempt(poll, there.port, expecting("localhost", authority))
        assert "certificate verify failed" in attempt.told()


def test_one_that_speaks_no_tls_is_not(poll: Poll, authority: Authority) -> None:
    with socket.create_server((LOCALHOST, 0)) as server:
        attempt = Attempt(poll, server.getsockname()[1], expecting("localhost", authority))
        poll.look()
        with server.accept()[0] as there:
            there.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            assert attempt.told() == "TLS: wrong version number"


def test_one_that_hangs_up_is_not(poll: Poll, authority: Authority) -> None:
    with socket.create_server((LOCALHOST, 0)) as server:
        attempt = Attempt(poll, server.getsockname()[1], expecting("localhost", authority))
        poll.look()
        server.accept()[0].close()
        poll.until(lambda: attempt.is_over)
        assert attempt.error is not None
        assert attempt.error.errno == errno.ECONNRESET


def test_nobody_listens(poll: Poll, authority: Authority) -> None:
    with socket.create_server((LOCALHOST, 0)) as server:
        port = server.getsockname()[1]
    attempt = Attempt(poll, port, expecting("localhost", authority))
    poll.until(lambda: attempt.is_over)
    assert attempt.error is not None
    assert attempt.error.errno == errno.ECONNREFUSED
    assert poll.getDelayedCalls() == []


def test_a_busy_notebook_has_its_time_for_the_handshake(poll: Poll, authority: Authority) -> None:
    with socket.create_server((LOCALHOST, 0)) as server:
        attempt = Attempt(poll, server.getsockname()[1], expecting("localhost", authority))
        poll.look()
        with server.accept()[0]:
            poll.advance(PATIENCE - 0.1)
            assert not attempt.is_over
            poll.advance(0.2)
            assert isinstance(attempt.error, SilentError)
        poll.rest()
    assert (poll.readers, poll.writers, poll.getDelayedCalls()) == ([], [], [])


@pytest.mark.parametrize("looks", [0, 1])
def test_given_up_it_says_nothing(poll: Poll, authority: Authority, looks: int) -> None:
    with socket.create_server((LOCALHOST, 0)) as server:
        attempt = Attempt(poll, server.getsockname()[1], expecting("localhost", authority))
        for _ in range(looks):
            poll.look()
        attempt.dial.cancel()
        poll.rest()
        poll.advance(2 * TIMEOUT)
    assert not attempt.is_over
    assert (poll.readers, poll.writers, poll.getDelayedCalls()) == ([], [], [])
