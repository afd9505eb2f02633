"""Reading and writing records past pyOpenSSL's methods: the same bytes, the same errors."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from OpenSSL import SSL

from ipyproxy.net.openssl import RECORD, Session, filled
from ipyproxy.tls import ServerTLS, load_certificate
from tests.certificates import Authority
from tests.polls import connected
from tests.tlsclient import TLSClient
from tests.tlsparties import serving


class Pair:
    """A server's session, and the client at the other end."""

    def __init__(
        self, tls: ServerTLS, ours: socket.socket, theirs: socket.socket, directory: Path
    ) -> None:
        self.socket = theirs
        self._ours = ours
        self.client = TLSClient(theirs, directory)
        connection = tls.connection(ours)
        while True:
            self.client.pump()
            try:
                connection.do_handshake()
                break
            except SSL.WantReadError:
                pass
        self.client.pump()
        self.session = Session(connection)

    def said(self, data: bytes) -> None:
        """The client says ``data`` in one record."""
        self.client.session.write(data)
        self.client.pump()
        self.arrived()

    def arrived(self) -> None:
        """Wait until the server has something to read."""
        assert select.select([self._ours], [], [], 5)[0]

    def hear(self, size: int) -> None:
        """Let the client take so many bytes."""
        while len(self.client.data) < size:
            self.client.pump()

    def read(self, most: int = RECORD) -> bytes:
        return filled(self.session.fill(0, most))


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ServerTLS:
    certificate, key = Authority().issue("localhost").write(tmp_path_factory.mktemp("tls"))
    return serving(load_certificate(certificate, key))


@pytest.fixture
def pair(tls: ServerTLS, tmp_path: Path) -> Iterator[Pair]:
    with connected() as (ours, theirs):
        yield Pair(tls, ours, theirs, tmp_path)


class TestReading:
    def test_a_record_comes_whole(self, pair: Pair) -> None:
        pair.said(b"hello")
        assert pair.read() == b"hello"

    def test_records_stand_one_behind_the_other(self, pair: Pair) -> None:
        pair.said(b"x" * RECORD)
        count = pair.session.fill(0, RECORD)
        pair.said(b"end")
        count += pair.session.fill(count, RECORD)
        assert filled(count) == b"x" * RECORD + b"end"

    def test_a_part_of_a_record_leaves_the_rest(self, pair: Pair) -> None:
        pair.said(b"hello")
        assert pair.read(2) == b"he"
        assert pair.read() == b"llo"

    def test_nothing_has_come(self, pair: Pair) -> None:
        with pytest.raises(SSL.WantReadError):
            pair.read()

    def test_a_proper_end(self, pair: Pair) -> None:
        with contextlib.suppress(OSError):
            pair.client.session.unwrap()
        pair.client.pump()
        pair.arrived()
        with pytest.raises(SSL.ZeroReturnError):
            pair.read()

    def test_an_end_without_a_word(self, pair: Pair) -> None:
        pair.socket.close()
        pair.arrived()
        with pytest.raises(SSL.SysCallError):
            pair.read()

    def test_what_is_no_record(self, pair: Pair) -> None:
        pair.socket.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        pair.arrived()
        with pytest.raises(SSL.Error, match="decryption failed or bad record mac"):
            pair.read()


def test_an_error_is_not_taken_for_another_connections(tls: ServerTLS, tmp_path: Path) -> None:
    with connected() as one, connected() as other:
        broken, whole = Pair(tls, *one, tmp_path), Pair(tls, *other, tmp_path)
        broken.socket.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        broken.arrived()
        with pytest.raises(SSL.Error):
            broken.read()
        with pytest.raises(SSL.WantReadError):
            whole.read()
        with pytest.raises(OSError, match="TLS: protocol error"):
            broken.session.write(bytes(3 * RECORD))
        with pytest.raises(SSL.WantReadError):
            whole.read()


class TestWriting:
    def test_a_small_piece(self, pair: Pair) -> None:
        assert pair.session.write(b"hello") == 5
        pair.hear(5)
        assert pair.client.data == b"hello"

    @pytest.mark.parametrize("kind", [bytes, bytearray])
    def test_a_piece_of_many_records_is_one_call(self, pair: Pair, kind: type) -> None:
        data = kind(bytes(range(256)) * 400)
        assert pair.session.write(data) == len(data)
        pair.hear(len(data))
        assert pair.client.data == data

    def test_no_more_than_the_kernel_takes(self, tls: ServerTLS, tmp_path: Path) -> None:
        with connected(buffers=4096) as (ours, theirs):
            pair = Pair(tls, ours, theirs, tmp_path)
            rest = bytearray(bytes(range(256)) * 4096)
            waits = 0
            while rest:
                try:
                    del rest[: pair.session.write(rest)]
                except BlockingIOError:
                    waits += 1
                    pair.client.pump()
            assert waits
            pair.hear(256 * 4096)
            assert pair.client.data == bytes(range(256)) * 4096
