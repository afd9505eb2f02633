"""Sends requests to an authority over HTTPS, by Twisted's client.

Knows sockets, TLS and trusted roots. Knows nothing of the requests' meaning.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.error import ConnectingCancelledError, DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IConsumer, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    ResponseDone,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer

from ipyproxy import __version__
from ipyproxy.acme.account import Answer
from ipyproxy.acme.documents import AcmeError
from ipyproxy.clock import Clock
from ipyproxy.net.reasons import innermost

TIMEOUT = 30.0
"""Seconds for a whole answer."""
CONNECT_TIMEOUT = 10.0
"""Seconds for connecting, a part of :data:`TIMEOUT`."""
MOST_BYTES = 1 << 20
"""Largest body of an answer."""
_IDLE = 20
_URL = re.compile(r"https://[!-~]+")

# systemd's sandbox drops packets silently, but a resolver gets an error.
_HINT = (
    "; if ipyproxy runs as a systemd service, its unit lets it connect to this host only: see "
    '"The service\'s sandbox" in docs/tls.md'
)


class Web:
    """Sends requests: :class:`ipyproxy.acme.account.Send`. No redirect is followed.

    :param trusted: the roots for the authority's own certificate; None: those of this system.
    """

    def __init__(self, reactor: Clock, trusted: Sequence[x509.Certificate] | None = None) -> None:
        self._reactor = reactor
        roots = None
        if trusted is not None:
            each = (Certificate(crypto.X509.from_cryptography(one)) for one in trusted)
            roots = trustRootFromCertificates(each)
        policy = BrowserLikePolicyForHTTPS(roots)
        pool = HTTPConnectionPool(reactor)
        pool.maxPersistentPerHost = 1
        pool.cachedConnectionTimeout = _IDLE
        self._agent = Agent(reactor, policy, connectTimeout=CONNECT_TIMEOUT, pool=pool)

    def __call__(self, method: str, url: str, body: bytes | None = None) -> Deferred[Answer]:
        """See :class:`ipyproxy.acme.account.Send`."""
        if not _URL.fullmatch(url):
            raise AcmeError("the authority leads to an address that is not https")
        headers = Headers({"User-Agent": [f"ipyproxy/{__version__}"]})
        producer = None
        if body is not None:
            headers.addRawHeader("Content-Type", "application/jose+json")
            producer = _Bytes(body)
        ask = self._agent.request
        sent = maybeDeferred(ask, method.encode(), url.encode(), headers, producer)
        whole: Deferred[Answer] = sent.addCallback(_read)
        deadline = self._reactor.callLater(TIMEOUT, whole.cancel)

        def end(result: Answer | Failure) -> Answer:
            in_time = deadline.active()
            if in_time:
                deadline.cancel()
            if isinstance(result, Failure):
                raise _explained(result, url.split("/")[2], in_time=in_time)
            return result

        return whole.addBoth(end)


def _read(response: IResponse) -> Deferred[Answer]:
    fields = {
        name.decode("ascii", "replace").lower(): values[0].decode("latin-1")
        for name, values in response.headers.getAllRawHeaders()
    }
    collector = _Collector()
    response.deliverBody(collector)
    return collector.whole.addCallback(lambda body: Answer(response.code, fields, body))


def _explained(failure: Failure, host: str, *, in_time: bool) -> Exception:
    """The AcmeError for a failure; CancelledError if nobody waits for the answer."""
    error = innermost(failure.value)
    if isinstance(error, AcmeError):
        return error
    hint = ""
    if isinstance(error, CancelledError | ConnectingCancelledError):
        if in_time:
            return CancelledError()
        said = f"no answer within {TIMEOUT:g} seconds"
    elif isinstance(error, SSL.Error):
        told = error.args[0] if error.args and isinstance(error.args[0], list) else ()
        said = ", ".join(str(entry[-1]) for entry in told) or "TLS failed"
    elif isinstance(error, ConnectTimeout):
        said = f"no connection within {CONNECT_TIMEOUT:g} seconds"
        hint = _HINT
    else:
        said = " ".join(str(error).split()) or error.__class__.__name__
        refused = getattr(error, "osError", None) in (errno.EPERM, errno.EACCES)
        hint = _HINT if refused or isinstance(error, DNSLookupError) else ""
    return AcmeError(f"{host} cannot be asked: {said}{hint}")


class _Collector(Protocol):
    """Collects a body of up to :data:`MOST_BYTES`."""

    transport: ITransport

    def __init__(self) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: self._hang_up())
        self._body = b""

    def _hang_up(self) -> None:
        self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the body."""
        self._body += data
        if len(self._body) > MOST_BYTES and not self.whole.called:
            self.whole.errback(AcmeError("the authority's answer does not end"))
            self._hang_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body has ended, or was cut short."""
        if self.whole.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(self._body)
        else:
            self.whole.errback(reason)


@implementer(IBodyProducer)
class _Bytes:
    """A request body in memory."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write everything at once."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Do nothing: everything is written."""

    def resumeProducing(self) -> None:
        """Do nothing: everything is written."""

    def stopProducing(self) -> None:
        """Do nothing: everything is written."""
