"""The handshake, record by record: done however it is cut, and ended where it is drawn out."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet import error
from twisted.python.failure import Failure

from ipyproxy.net.handshake import MOST_RECORDS
from ipyproxy.tls import ServerTLS, load_certificate
from tests.certificates import Authority
from tests.net.test_tls import Line, tls, waiting_bytes
from tests.polls import connected
from tests.tlsclient import TLSClient
from tests.tlsparties import serving

__all__ = ["tls"]

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
ONE_BYTE = b"\x16\x03\x01\x00\x01"
LONGEST_HELLO = 131_000


@pytest.fixture
def line(tls: ServerTLS) -> Iterator[Line]:
    with connected() as (ours, theirs):
        yield Line(ours, theirs, tls)


def hello_in_records(client: TLSClient, size: int) -> bytes:
    """The client's first message, cut into records with so many bytes each (RFC 8446 5.1)."""
    with pytest.raises(ssl.SSLWantReadError):
        client.session.do_handshake()
    record = client._outgoing.read()
    assert record[0] == 0x16
    message = record[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(record[:3] + len(piece).to_bytes(2) + piece for piece in pieces)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [8, 100, 1000])
def test_a_hello_may_come_in_many_records(
    line: Line, tmp_path: Path, version: ssl.TLSVersion, size: int
) -> None:
    client = TLSClient(line.socket, tmp_path, version=version)
    client.say_bytes(hello_in_records(client, size))
    line.shake_hands(client)
    client.say(b"hello")
    line.poll.until(lambda: line.recorder.data, client.pump)
    line.transport.write(b"good day")
    line.poll.until(lambda: client.data, client.pump)
    assert (line.recorder.data, client.data) == (b"hello", b"good day")


def test_what_comes_right_behind_is_read_once_and_whole(line: Line, tmp_path: Path) -> None:
    """The last record of the handshake and many of a request, all in the socket at once.

    OpenSSL reads memory in the handshake and the socket after it: ``net/handshake.py`` does this
    by private names (pyOpenSSL 26.4). If this fails after an upgrade of pyOpenSSL, look there.
    """
    client = TLSClient(line.socket, tmp_path)
    client.pump()
    line.poll.rest()
    client.at_once = 0
    client.pump()
    sent = b"".join(b"%04d" % number for number in range(2000))
    for at in range(0, len(sent), 50):
        client.say(sent[at : at + 50])
    client.at_once = 1 << 20
    line.poll.until(lambda: len(line.recorder.data) == len(sent), client.pump)
    assert line.recorder.data == sent


def test_a_client_that_reads_slowly_gets_a_long_certificate(tmp_path: Path) -> None:
    names = [f"a-rather-long-name-{number}.example.org" for number in range(1000)]
    certificate, key = Authority().issue("localhost", *names).write(tmp_path)
    with connected(buffers=4096) as (ours, theirs):
        narrow = Line(ours, theirs, serving(load_certificate(certificate, key)))
        client = TLSClient(theirs, tmp_path)
        client.pump()
        narrow.poll.rest()
        # The answer does not fit into what the kernel takes, and nothing is tried again and again.
        assert not narrow.poll.look(0.02)
        narrow.shake_hands(client)
        client.say(b"hello")
        narrow.poll.until(lambda: narrow.recorder.data, client.pump)
        assert narrow.recorder.data == b"hello"


class TestRecordsOfOneByte:
    """OpenSSL would take them all in one call, for as long as they come."""

    @pytest.fixture
    def records(self) -> bytes:
        hello = b"\x01" + LONGEST_HELLO.to_bytes(3) + bytes(LONGEST_HELLO)
        return b"".join(ONE_BYTE + bytes([byte]) for byte in hello)

    def test_too_many_are_the_end(self, line: Line, records: bytes) -> None:
        line.socket.sendall(records[:60_000])
        # This read is what others wait for.
        before = waiting_bytes(line)
        why = line.transport.doRead()
        assert waiting_bytes(line) >= before - 6 * (MOST_RECORDS + 1)
        line.transport.connectionLost(Failure(why))
        reason = line.until_lost()
        assert isinstance(reason, error.ConnectionLost)
        assert "too many records in the handshake" in str(reason)

    def test_so_many_are_not(self, line: Line, records: bytes) -> None:
        line.socket.sendall(records[: 6 * MOST_RECORDS])
        line.poll.rest()
        assert line.recorder.reason is None
