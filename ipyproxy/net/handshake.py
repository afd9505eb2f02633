"""The TLS handshake on a socket, with a bounded number of records.

Knows where records begin and end, and how to feed bytes to pyOpenSSL. Knows nothing of
certificates, or of what comes after the handshake.

OpenSSL reads a whole handshake message within one call, however many records it comes in: a
ClientHello of 128 KiB in records of one byte takes 260,000 reads, and a client that sends many of
them would block all others. So OpenSSL gets the records one by one, in memory, until the handshake
is done. Then it gets the socket.
"""

from __future__ import annotations

import socket
from typing import Final

from OpenSSL import SSL

from ipyproxy.net.openssl import give_memory

MOST_RECORDS: Final = 256
"""Most records that the peer may send in a handshake. Usually there are three to ten; long
certificate chains in small records take some tens."""

_PIECE: Final = 4096
_OUTPUT: Final = 16384
_HEADER: Final = 5


class Handshake:
    """The handshake of ``tls`` on ``sock``, for a server or a client."""

    __slots__ = ("_header", "_is_done", "_left", "_records", "_socket", "_tls", "_unsent")

    def __init__(self, sock: socket.socket, tls: SSL.Connection) -> None:
        self._socket = sock
        self._tls = tls
        self._unsent = b""
        self._is_done = False
        # Of the current record: the part of its header that has come, or the bytes still to come.
        self._header = b""
        self._left = 0
        self._records = 0
        give_memory(tls)

    def step(self) -> None:
        """Process what has come. When this returns, the handshake is done.

        Raises :class:`SSL.Error` as ``SSL.Connection.do_handshake`` does: ``WantReadError`` or
        ``WantWriteError`` if there is more to wait for.
        """
        self._send()
        if not self._is_done:
            try:
                self._take_records()
            finally:
                self._send_output()

    def _take_records(self) -> None:
        """Give OpenSSL what has come, record by record, until the handshake is done."""
        piece = self._peek()
        at = 0
        try:
            while True:
                if at < len(piece):
                    end = self._end_of_record(piece, at)
                    self._tls.bio_write(piece[at:end])
                    at = end
                try:
                    self._tls.do_handshake()
                except SSL.WantReadError:
                    if at >= len(piece):
                        raise
                else:
                    self._is_done = True
                    return
        finally:
            if at:
                self._receive(at)

    def _peek(self) -> bytes:
        """The bytes that have come, up to some records; they stay in the socket."""
        try:
            piece = self._receive(_PIECE, socket.MSG_PEEK)
        except BlockingIOError:
            return b""
        if not piece:
            raise SSL.SysCallError(-1, "Unexpected EOF")
        return piece

    def _receive(self, size: int, flags: int = 0) -> bytes:
        try:
            return self._socket.recv(size, flags)
        except BlockingIOError:
            raise
        except OSError as caught:
            raise SSL.SysCallError(caught.errno, str(caught)) from None

    def _end_of_record(self, piece: bytes, at: int) -> int:
        """The end of the record that continues at ``at``, as far as it has come (RFC 8446 5.1)."""
        if not self._left:
            header = self._header + piece[at : at + _HEADER - len(self._header)]
            at += len(header) - len(self._header)
            if len(header) < _HEADER:
                self._header = header
                return at
            self._header = b""
            self._left = header[3] << 8 | header[4]
            self._records += 1
            if self._records > MOST_RECORDS:
                raise SSL.Error([("", "", "too many records in the handshake")])
        end = min(len(piece), at + self._left)
        self._left -= end - at
        return end

    def _send_output(self) -> None:
        try:
            while True:
                piece = self._tls.bio_read(_OUTPUT)
                self._unsent += piece
                if len(piece) < _OUTPUT:
                    break
        except SSL.WantReadError:
            pass
        self._send()

    def _send(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            raise SSL.WantWriteError from None
        except OSError as caught:
            raise SSL.SysCallError(caught.errno, str(caught)) from None
