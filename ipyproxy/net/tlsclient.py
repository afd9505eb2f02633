"""TLS over TCP on the reactor, as a client.

Knows how pyOpenSSL reads and writes memory. Knows nothing of certificates, or of the data.

A server may send session tickets at any time (RFC 8446 section 4.6.1), of up to 128 KiB each.
OpenSSL reads a whole ticket within one call, however many records it comes in: in records of one
byte that took half a second, during which all others waited. So OpenSSL gets what has come in
bounded pieces, and never gets the socket.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress

from ipyproxy.net.descriptors import Descriptors
from ipyproxy.net.openssl import RECORD, bytes_left, filled
from ipyproxy.net.tcp import HIGH_WATER, READ_SIZE
from ipyproxy.net.tls import MOST_WITHOUT_DATA, TLSTransport

_PIECE: Final = 65536
"""Bytes from the socket that OpenSSL gets in one event: three thousand records at most."""


class ClientTLSTransport(TLSTransport):
    """One connected socket with TLS on it, to a server that may be hostile."""

    __slots__ = ("_has_left", "_sealed", "_taken")

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
        super().__init__(reactor, sock, protocol, peer, tls, high_water=high_water)
        self._put = self._encrypt
        # Records that the kernel has not taken yet, and how many bytes of data they contain.
        self._sealed = b""
        self._taken = 0
        # Whether OpenSSL may hold bytes that it has not returned as data yet.
        self._has_left = False

    def _prepare(self) -> None:
        """Do nothing: OpenSSL keeps the memory BIOs that it had for the handshake."""

    @property
    def has_input(self) -> bool:
        """See :class:`TCPTransport`; bytes that OpenSSL holds count too."""
        return self._has_left or super().has_input

    # Reading.

    def doRead(self) -> Any:
        """Read a piece of what has come, and pass its data on."""
        try:
            if not self._secured:
                self._shake_hands()
            self._answer()
            data = self._take()
        except SSL.Error as caught:
            return self._read_failed(caught)
        self._without_data = 0
        if self._appetite < READ_SIZE:
            self._read_more()
        if self.protocol is not None:
            self.protocol.dataReceived(data)
        return None

    def _take(self) -> bytes:
        """Return data, as much as one event may have. Raises what ``SSL.Connection.recv`` does."""
        pieces: list[bytes] = []
        room = self._appetite
        is_given = self._has_left = False
        while room > 0:
            try:
                piece = filled(self._session.fill(0, min(RECORD, room)))
            except SSL.WantReadError:
                if bytes_left(self._tls):
                    self._pass_record_without_data()
                elif pieces:
                    return b"".join(pieces)
                elif is_given:
                    raise
                else:
                    self._give_piece()
                    is_given = True
            except SSL.Error:
                if not pieces:
                    raise
                self._has_left = True  # the next read gets the error again
                break
            else:
                pieces.append(piece)
                room -= len(piece)
        else:
            self._has_left = self._tls.pending() > 0 or bytes_left(self._tls) > 0
        self._read_on_soon()
        return b"".join(pieces)

    def _pass_record_without_data(self) -> None:
        self._without_data += 1
        if self._without_data > MOST_WITHOUT_DATA:
            raise SSL.Error([("", "", "too many records without data")])

    def _give_piece(self) -> None:
        """Give OpenSSL what has come."""
        try:
            piece = self._socket.recv(_PIECE)
        except BlockingIOError:
            raise SSL.WantReadError from None
        except OSError as caught:
            raise SSL.SysCallError(caught.errno, str(caught)) from None
        if piece:
            self._tls.bio_write(piece)
        else:
            self._tls.bio_shutdown()

    def _read_on_soon(self) -> None:
        """Read again in the next turn: epoll can't report the bytes that OpenSSL holds."""
        if self._has_left and not self._reads_on:
            self._reads_on = True
            self.call_soon(self._read_on)

    def _read_failed(self, caught: SSL.Error) -> Exception | None:
        why = super()._read_failed(caught)
        if why is not None:
            # OpenSSL has made an alert that says what was wrong.
            with contextlib.suppress(OSError):
                self._send_sealed()
        return why

    # Writing.

    def _encrypt(self, data: Any) -> int:
        """Encrypt a part of ``data`` and send it. The caller sends the rest later."""
        if not self._taken:
            self._taken = self._session.write(data[:_PIECE])
        self._send_sealed()
        taken, self._taken = self._taken, 0
        return taken

    def _answer(self) -> None:
        """Send OpenSSL's answers to what it has read, such as key updates.

        Raises :class:`SSL.WantWriteError` if the kernel takes nothing. Then reading pauses, so a
        peer that reads no answers has to wait. Data that waits to be sent does not pause reading.
        """
        if not self._seal() and (self._taken or not self._sealed):
            return
        try:
            self._send_sealed()
        except BlockingIOError:
            raise SSL.WantWriteError from None
        except OSError as caught:
            raise SSL.SysCallError(caught.errno, str(caught)) from None

    def _seal(self) -> bool:
        """Take the records that OpenSSL has made. Returns whether there were any."""
        before = len(self._sealed)
        try:
            while True:
                self._sealed += self._tls.bio_read(_PIECE)
        except SSL.WantReadError:
            return len(self._sealed) > before

    def _send_sealed(self) -> None:
        """Send the records that were taken. Raises what ``socket.send`` does."""
        self._seal()
        while self._sealed:
            self._sealed = self._sealed[self._socket.send(self._sealed) :]

    def _say_goodbye(self) -> None:
        # OpenSSL makes close_notify once; a second call would wait for the peer's.
        if not self._goodbye_due:
            super()._say_goodbye()
        if self._secured:
            self._goodbye_due = True
            self._send_sealed()
            self._goodbye_due = False
