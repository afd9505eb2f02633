"""TLS over TCP on the reactor, as a server.

Knows how pyOpenSSL reads and writes a socket. Knows nothing of certificates, or of the data. After
the handshake OpenSSL has the socket itself: with memory BIOs each byte would be copied twice more,
and each message would cost two more calls in either direction. That is safe because a client can
send no long handshake message then. A server can, so ``tlsclient`` differs.
"""

from __future__ import annotations

import socket
from fcntl import ioctl
from termios import FIONREAD
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.interfaces import IAddress, IHandshakeListener
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipyproxy.net.descriptors import Descriptors
from ipyproxy.net.handshake import Handshake
from ipyproxy.net.openssl import (
    RECORD,
    Session,
    filled,
    give_socket,
    os_error,
    reason_of,
    return_after_each_record,
)
from ipyproxy.net.tcp import HIGH_WATER, READ_SIZE, TCPTransport

_MOST_RECORDS: Final = 64
_SMALL: Final = 4096
_NOTHING: Final = bytes(4)
MOST_WITHOUT_DATA: Final = 32
"""Reads in a row that may return no data although bytes have come: key updates, session tickets.

A key update takes one read or two. Honest peers stay far below this: they update the key once in
2^24 records, and a server sends two tickets. OpenSSL allows the same number of empty records.
"""

NOTHING_BUT_HANDSHAKE: Final = "nothing but the handshake"
"""As a session's application data: the peer only wanted to see a certificate (ACME's tls-alpn-01).
The connection ends with the handshake, and the protocol never hears of it."""

_PLAIN_HTTP: Final = frozenset(("http request", "https proxy request"))
_MOST_UNREAD: Final = 65536
_SENTENCE: Final = (
    b"This port speaks HTTPS, and this came by plain HTTP: write https:// in the address.\n"
)
HTTPS_HERE: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%b" % (len(_SENTENCE), _SENTENCE)
)
"""The answer to a client that speaks plain HTTP on the TLS port. It names no address to go to:
OpenSSL has consumed the beginning of the request."""

_log: Final = Logger(namespace="ipyproxy.tlstransport")


class TLSTransport(TCPTransport):
    """One connected socket with TLS on it.

    A protocol that provides ``IHandshakeListener`` is told when the handshake is done.

    :param tls: the session, on ``sock``.
    """

    __slots__ = (
        "_goodbye_due",
        "_handshake",
        "_reads_on",
        "_secured",
        "_session",
        "_stuck",
        "_tls",
        "_without_data",
    )

    def __init__(
        self,
        reactor: Descriptors,
        sock: socket.socket,
        protocol: Any,
        peer: IAddress,
        tls: SSL.Connection,
        *,
        high_water: int = HIGH_WATER,
    ) -> None:
        super().__init__(reactor, sock, protocol, peer, high_water=high_water)
        self._tls = tls
        self._session = Session(tls)
        self._put = self._session.write
        self._handshake = Handshake(sock, tls)
        self._secured = False
        self._goodbye_due = False
        self._stuck = False
        self._reads_on = False
        self._without_data = 0
        return_after_each_record(tls)

    @property
    def has_input(self) -> bool:
        """See :class:`TCPTransport`; decrypted bytes count too."""
        return self._tls.pending() > 0 or super().has_input

    @property
    def bytes_waiting(self) -> int:
        """See :class:`TCPTransport`; a close_notify that the kernel has not taken counts too."""
        return len(self._unsent) or int(self._goodbye_due)

    # Reading.

    def doRead(self) -> Any:
        """Read a bounded number of the records that have come; pass their data on as one piece."""
        trouble: SSL.Error | None = None
        appetite = self._appetite
        try:
            if not self._secured:
                self._shake_hands()
            count = self._session.fill(0, min(appetite, RECORD))
            # Asking OpenSSL for bytes that have not come costs as much as the rest of a small read.
            # It reads no more than one record from the socket, so epoll reports the rest again.
            if count >= _SMALL and ioctl(self._socket, FIONREAD, _NOTHING) != _NOTHING:
                count, trouble = self._gather(count)
        except SSL.Error as caught:
            return self._read_failed(caught)
        data = filled(count)
        self._without_data = 0
        if appetite < READ_SIZE:
            self._read_more()
        if self.protocol is not None:
            self.protocol.dataReceived(data)
        if trouble is not None:
            return self._read_failed(trouble)
        if appetite < RECORD:
            self._read_on_soon()
        return None

    def _read_on_soon(self) -> None:
        """Read again in the next turn if a part of a record is left, which epoll can't report."""
        if not self._reads_on and self.connected and self.is_reading and self._tls.pending():
            self._reads_on = True
            self.call_soon(self._read_on)

    def _read_on(self) -> None:
        self._reads_on = False
        if not (self.connected and self.is_reading):
            return
        try:
            why = self.doRead()
        except Exception as caught:
            _log.failure("a connection failed inside the proxy; please report this")
            why = caught
        if why is not None:
            self.connectionLost(Failure(why))

    def resumeProducing(self) -> None:
        """See :class:`TCPTransport`."""
        if not self.is_reading:
            super().resumeProducing()
            if self._secured:
                self._read_on_soon()

    def _shake_hands(self) -> None:
        self._handshake.step()
        self._prepare()
        self._secured = True
        if self._tls.get_app_data() is NOTHING_BUT_HANDSHAKE:
            raise SSL.ZeroReturnError
        if IHandshakeListener.providedBy(self.protocol):
            self.protocol.handshakeCompleted()

    def _prepare(self) -> None:
        """Set up for the time after the handshake."""
        give_socket(self._tls, self._socket)

    def _gather(self, count: int) -> tuple[int, SSL.Error | None]:
        """Read more, behind ``count`` bytes.

        Returns how many there are now, and the error that ended it.
        """
        records = 1
        try:
            while count < self._appetite and records < _MOST_RECORDS:
                count += self._session.fill(count, RECORD)
                records += 1
                if ioctl(self._socket, FIONREAD, _NOTHING) == _NOTHING:
                    break
        except SSL.Error as caught:
            return count, caught
        return count, None

    def _read_failed(self, caught: SSL.Error) -> Exception | None:
        if isinstance(caught, SSL.WantReadError):
            return self._note_record_without_data()
        if isinstance(caught, SSL.WantWriteError):
            self._wait_to_write()
            return None
        if isinstance(caught, SSL.ZeroReturnError):
            return error.ConnectionDone()
        reason = reason_of(caught)
        if not self._secured and reason in _PLAIN_HTTP:
            self._answer_plainly()
        return error.ConnectionLost(f"TLS: {reason}")

    def _answer_plainly(self) -> None:
        """Tell the client that this port speaks TLS; try only once, without waiting."""
        try:
            # With unread bytes, the kernel would reset the connection and lose the answer.
            self._socket.recv(_MOST_UNREAD)
        except OSError:
            pass
        try:
            self._socket.send(HTTPS_HERE)
        except OSError:
            pass

    def _note_record_without_data(self) -> Exception | None:
        """OpenSSL wants more bytes.

        If some are there already, it has stopped behind a record without data.
        """
        if not self._secured or ioctl(self._socket, FIONREAD, _NOTHING) == _NOTHING:
            return None
        self._without_data += 1
        if self._without_data <= MOST_WITHOUT_DATA:
            return None
        return error.ConnectionLost("TLS: too many records without data")

    def _wait_to_write(self) -> None:
        """OpenSSL has to answer (a key update, say), and the kernel takes nothing: pause reading.

        So a peer that keeps asking and reads no answers has to wait.
        """
        self._stuck = True
        self._reactor.removeReader(self)
        self._reactor.addWriter(self)

    # Writing.

    def doWrite(self) -> Any:
        """See :class:`TCPTransport`."""
        if self._stuck:
            self._stuck = False
            if self.is_reading:
                self._reactor.addReader(self)
                self._read_on_soon()
            if not self._unsent and not self._goodbye_due:
                self._reactor.removeWriter(self)
                return self.doRead() if self.is_reading else None
        return super().doWrite()

    def _say_goodbye(self) -> None:
        if not self._secured:
            return
        if self._tls.get_shutdown() & SSL.SENT_SHUTDOWN and not self._goodbye_due:
            return  # close_notify was sent when our half was closed
        try:
            self._tls.shutdown()
            self._goodbye_due = False
        except SSL.Error as caught:
            refused = os_error(caught)
            self._goodbye_due = isinstance(refused, BlockingIOError)
            raise refused from None

    def connectionLost(self, reason: Failure) -> None:
        """See :class:`TCPTransport`."""
        self._secured = False
        super().connectionLost(reason)

    @property
    def tls(self) -> SSL.Connection:
        """The pyOpenSSL connection, to ask for its version, SNI and the peer's certificate."""
        return self._tls

    @property
    def server_name(self) -> bytes | None:
        """The host name that the client sent by SNI (RFC 6066 section 3), lower-case, or None."""
        name = self._tls.get_servername()
        return None if name is None else name.lower()
