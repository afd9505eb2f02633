"""TLS over TCP on the reactor.

Knows pyOpenSSL's memory BIOs, which are fed once and emptied once an event. Knows nothing of
certificates, or of what is said.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.interfaces import IAddress, IHandshakeListener

from ipyproxy.epoll import Descriptors
from ipyproxy.transport import HIGH_WATER, Ending, TCPTransport

_RECORD = 16384
_RECORD_HEADER = 5
_RECORD_OVERHEAD = 64
_HANDSHAKE_FLIGHT = 16384
_MOST_UNHEARD = 4 * HIGH_WATER


class TLSTransport(TCPTransport):
    """One connected socket with TLS on it.

    A protocol that provides ``IHandshakeListener`` is told when the handshake is done.
    """

    __slots__ = ("_record_begun", "_record_left", "_secured", "_tls")

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
        self._secured = False
        self._record_begun = b""
        self._record_left = 0

    def _received(self, data: memoryview) -> Exception | None:
        self._tls.bio_write(data)
        records = self._count_records(data)
        try:
            if not self._secured:
                self._shake_hands()
                # Some of these records were the handshake's: then recv says so.
            return self._decrypt(records) if records else None
        except SSL.WantReadError:
            self._flush(_HANDSHAKE_FLIGHT)
            return None
        except SSL.Error as caught:
            # The alert that tells the peer why is still to be sent.
            self._flush(_HANDSHAKE_FLIGHT)
            return error.ConnectionLost(f"TLS: {_reason(caught)}")

    def _count_records(self, data: memoryview) -> int:
        """How many TLS records end in ``data`` (RFC 8446 section 5.1).

        So many times OpenSSL has something to give. Asking once more, to hear that there is
        nothing, costs as much as the rest of a small read.
        """
        begun, self._record_begun = self._record_begun, b""
        if begun:
            data = memoryview(begun + data)
        at, end = self._record_left, len(data)
        if at > end:
            self._record_left = at - end
            return 0
        records = 1 if at else 0
        while end - at >= _RECORD_HEADER:
            at += _RECORD_HEADER + (data[at + 3] << 8 | data[at + 4])
            records += 1
        if at > end:
            self._record_left = at - end
            return records - 1
        self._record_left = 0
        if at < end:
            self._record_begun = bytes(data[at:])
        return records

    def _shake_hands(self) -> None:
        self._tls.do_handshake()
        self._secured = True
        self._flush(_HANDSHAKE_FLIGHT)
        if IHandshakeListener.providedBy(self.protocol):
            self.protocol.handshakeCompleted()

    def _decrypt(self, records: int) -> Exception | None:
        """Hand out all that one read brought, in one piece."""
        ended: Exception | None = None
        pieces: list[bytes] = []
        receive = self._tls.recv
        try:
            for _ in range(records):
                # A loop, because what came before stays, if the next fails.
                pieces.append(receive(_RECORD))  # noqa: PERF401
        except SSL.WantReadError:
            ended = self._answer_control()
        except SSL.ZeroReturnError:
            ended = error.ConnectionDone()
        except SSL.Error as caught:
            self._flush(_HANDSHAKE_FLIGHT)
            ended = error.ConnectionLost(f"TLS: {_reason(caught)}")
        if pieces and self.protocol is not None:
            self.protocol.dataReceived(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        return ended

    def _answer_control(self) -> Exception | None:
        """Send what OpenSSL answers to a record without data, such as a key update.

        Each is answered, so a peer that sends them on and on and reads nothing must end.
        """
        self._flush(_HANDSHAKE_FLIGHT)
        if self.bytes_waiting <= _MOST_UNHEARD:
            return None
        return error.ConnectionLost("TLS: control messages, and their answers are not read")

    def write(self, data: bytes) -> None:
        """Encrypt ``data`` and send it."""
        if not self.connected or self._ending is not Ending.NO or not data:
            return
        size = len(data)
        try:
            sent = self._tls.send(data)
            while sent < size:
                sent += self._tls.send(memoryview(data)[sent:])
        except SSL.Error:
            # The session is broken, so nothing can be said any more.
            self.abortConnection()
            return
        self._flush(size + _RECORD_OVERHEAD * (2 + size // _RECORD))

    def _flush(self, size: int) -> None:
        """Send what OpenSSL has ready: about ``size`` bytes, which saves asking twice."""
        try:
            while True:
                ready = self._tls.bio_read(size)
                self._send(ready)
                if len(ready) < size:
                    return
        except SSL.WantReadError:
            return

    def loseConnection(self) -> None:
        """Send close_notify and close once everything written has been sent."""
        self._notify_close()
        super().loseConnection()

    def loseWriteConnection(self) -> None:
        """Send close_notify and FIN once everything written has been sent; go on reading."""
        self._notify_close()
        super().loseWriteConnection()

    def _notify_close(self) -> None:
        if self.connected and self._secured and self._ending is Ending.NO:
            with contextlib.suppress(SSL.Error):
                self._tls.shutdown()
            self._flush(_RECORD_OVERHEAD * 2)

    @property
    def tls(self) -> SSL.Connection:
        """The session, for its facts: version, SNI, the peer's certificate."""
        return self._tls

    @property
    def server_name(self) -> bytes | None:
        """The host that the client asked for (RFC 6066 section 3), lower-case; None if for none."""
        name = self._tls.get_servername()
        return None if name is None else name.lower()


def _reason(caught: SSL.Error) -> str:
    """The last of OpenSSL's error texts, such as ``no shared cipher``."""
    try:
        return str(caught.args[0][-1][-1])
    except (IndexError, TypeError):
        return "connection ended" if isinstance(caught, SSL.SysCallError) else "protocol error"
