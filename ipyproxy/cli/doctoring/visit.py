"""Sends requests to a notebook as the proxy would, each on its own connection.

Knows sockets and HTTP on the client's side. Knows nothing of what the answers mean.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ipyproxy.errors import ProxyError
from ipyproxy.http.rewriting import Manners, Rewriting, forwarded, request_fields
from ipyproxy.http1.framing import Decoder, response_framing
from ipyproxy.http1.head import HeadLimits, ResponseHead, parse_request, parse_response
from ipyproxy.http1.lines import lines_of
from ipyproxy.net.address import LOOPBACK

_BEGINNING = b"HTTP/1."
_MOST_BYTES = 1024 * 1024
_COOKIE = re.compile(rb"([^=;\s]+)=([^;]*)")


class NoAnswerError(Exception):
    """No answer; the message says what happened instead."""


class RefusedError(NoAnswerError):
    """Nobody listens at 127.0.0.1."""


class SilentError(NoAnswerError):
    """The connection was accepted, but no answer came in time."""


class HungUpError(NoAnswerError):
    """The connection was accepted and closed before any answer."""


class GarbledError(NoAnswerError):
    """The answer is no HTTP."""


class NoTLSError(NoAnswerError):
    """The TLS handshake has failed."""


@dataclass(frozen=True, slots=True)
class Security:
    """The terms for TLS to a notebook: the name in its certificate, and the authorities.

    :ivar authorities: a PEM file; None: those that this system trusts.
    """

    name: str
    authorities: Path | None

    def wrap(self, sock: socket.socket) -> socket.socket:
        """``sock`` with TLS on it. Raises NoTLSError."""
        try:
            context = ssl.create_default_context(cafile=self.authorities)
            # As in the proxy, all certificates in the file are trusted.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            return context.wrap_socket(sock, server_hostname=self.name)
        except ssl.SSLCertVerificationError as caught:
            raise NoTLSError(f"its certificate does not hold: {caught.verify_message}") from None
        except OSError as caught:
            reason = getattr(caught, "reason", None) or caught.strerror or str(caught)
            raise NoTLSError(f"it does not speak TLS ({reason})") from None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, and how long it took from dialling, in seconds. A 101 has no body."""

    head: ResponseHead
    body: bytes
    seconds: float

    @property
    def status(self) -> int:
        """Its status."""
        return self.head.status


class Visit:
    """A browser's visit to one notebook. It keeps the cookies that it gets.

    :param host: the public host in the browser's address.
    :param prefix: the public path of the notebook, such as ``/ipython/10000/``.
    :param manners: what the notebook learns of that host.
    :param patience: seconds to wait for each answer.
    :param security: the terms for TLS; None: no TLS.
    """

    def __init__(
        self,
        port: int,
        host: str,
        prefix: str,
        site_cookies: tuple[str, ...],
        manners: Manners,
        patience: float,
        security: Security | None = None,
    ) -> None:
        self.cookies: dict[bytes, bytes] = {}
        self._port = port
        self._public = f"https://{host}".encode("ascii")
        self._prefix = prefix.encode("ascii")
        self._patience = patience
        self._security = security
        self._rewriting = Rewriting(
            authority=b"%b:%d" % (LOOPBACK.encode("ascii"), port),
            prefix=self._prefix,
            port=port,
            site_cookies=tuple(name.encode("ascii") for name in site_cookies),
            manners=manners,
        )

    def ask(
        self, method: str, path: str, *lines: bytes, body: bytes = b"", above: bool = False
    ) -> Answer:
        """Request ``path`` below the prefix, or with ``above`` an absolute path.

        Raises :class:`NoAnswerError`.
        """
        target = (b"" if above else self._prefix) + path.encode("ascii")
        head = self._head(method.encode("ascii"), target, lines, len(body))
        began = time.monotonic()
        with self._connection() as sock:
            sock.sendall(head + body)
            answer, rest = self._read_head(sock)
            if answer.status != 101:
                decoder, _ = response_framing(answer, method.encode("ascii"))
                rest = self._read_body(sock, decoder, rest)
        self._keep_cookies(answer)
        return Answer(answer, rest, time.monotonic() - began)

    def hangs_up(self, within: float) -> bool:
        """Whether the notebook closes in time once we do, as a probe expects."""
        with self._connection() as sock:
            sock.settimeout(within)
            sock.shutdown(socket.SHUT_WR)
            try:
                sock.recv(1)
            except TimeoutError:
                return False
            except OSError:
                pass
        return True

    def _head(self, method: bytes, target: bytes, lines: tuple[bytes, ...], length: int) -> bytes:
        """The head that the proxy would make from a browser's request."""
        cookie = b"; ".join(b"%b=%b" % pair for pair in self.cookies.items())
        block = [
            b"%b %b HTTP/1.1" % (method, target),
            b"Host: " + self._public.partition(b"//")[2],
            b"Origin: " + self._public,
            b"Referer: " + self._public + self._prefix,
            *([b"Cookie: " + cookie] if cookie else []),
            *lines,
        ]
        head = parse_request(b"\r\n".join(block), HeadLimits())
        fields = request_fields(head, self._public, frozenset(), self._rewriting)
        fields += forwarded(head.fields.special, LOOPBACK, self._public, False, self._rewriting)
        sent = lines_of(fields)
        if method != b"GET":
            sent.append(b"Content-Length: %d" % length)
        # These concern the connection, so the proxy makes them anew.
        own = [line for line in lines if line.startswith((b"Upgrade:", b"Sec-WebSocket-"))]
        own.append(b"Connection: Upgrade" if own else b"Connection: close")
        kept = [line for line in sent if line not in own]
        return b"\r\n".join([block[0], *kept, *own, b"", b""])

    @contextlib.contextmanager
    def _connection(self) -> Iterator[socket.socket]:
        try:
            sock = socket.create_connection((LOOPBACK, self._port), self._patience)
        except ConnectionRefusedError:
            raise RefusedError("nobody listens on it at 127.0.0.1") from None
        except OSError as caught:
            raise SilentError(f"it takes no connection: {caught.strerror or caught}") from None
        with sock, self._security.wrap(sock) if self._security else sock as secured:
            yield secured

    def speaks_tls(self) -> bool:
        """Whether it answers a TLS handshake, with any certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # nothing is said on it
        try:
            with socket.create_connection((LOOPBACK, self._port), self._patience) as sock:
                context.wrap_socket(sock).close()
        except OSError:
            return False
        return True

    def _read_head(self, sock: socket.socket) -> tuple[ResponseHead, bytes]:
        heard = b""
        while b"\r\n\r\n" not in heard and len(heard) < _MOST_BYTES:
            try:
                data = sock.recv(65536)
            except TimeoutError:
                raise SilentError(
                    f"it took a request and did not answer within {self._patience:g} s"
                ) from None
            except OSError as caught:
                broken = GarbledError if heard else HungUpError
                raise broken(f"it broke the connection off: {caught.strerror}") from None
            if not data:
                if heard:
                    raise GarbledError("it hung up within its answer")
                raise HungUpError("it hung up without an answer")
            heard += data
            if heard[: len(_BEGINNING)] != _BEGINNING[: len(heard)]:
                said = heard.splitlines()[0][:60].decode("ascii", "backslashreplace")
                raise GarbledError(f"what it says is no HTTP/1: {said!r}")
        block, _, rest = heard.partition(b"\r\n\r\n")
        try:
            head = parse_response(block)
            response_framing(head, b"GET")  # contradictory framing is refused by the proxy, too
            return head, rest
        except ProxyError as caught:
            raise GarbledError(f"its answer is no proper HTTP: {caught.detail}") from None

    def _read_body(self, sock: socket.socket, decoder: Decoder | None, data: bytes) -> bytes:
        """Read the body, but no more of it than is needed."""
        body = b""
        with contextlib.suppress(OSError, ProxyError):
            while decoder is not None and len(body) < _MOST_BYTES:
                body += decoder.feed(data)[0]
                if decoder.done or not (data := sock.recv(65536)):
                    break
        return body

    def _keep_cookies(self, head: ResponseHead) -> None:
        for value in head.fields.values(b"set-cookie"):
            if match := _COOKIE.match(value):
                self.cookies[match[1]] = match[2]
