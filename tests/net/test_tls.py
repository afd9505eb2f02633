"""TLS on real sockets: what is said arrives, and an end that is no proper end is seen as none."""

from __future__ import annotations

import hashlib
import socket
import ssl
import sys
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path
from termios import FIONREAD

import pytest
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHandshakeListener
from zope.interface import implementer

from ipyproxy.net.descriptors import EpollSet
from ipyproxy.net.tcp import HIGH_WATER, LEAST_READ
from ipyproxy.net.tls import MOST_WITHOUT_DATA, TLSTransport
from ipyproxy.tls import ServerTLS, load_certificate
from tests.certificates import Authority
from tests.net.lines import Producer, Recorder, reset
from tests.polls import Poll, connected
from tests.tlsclient import TLSClient
from tests.tlsparties import serving

PEER = IPv4Address("TCP", "192.0.2.1", 4711)


@implementer(IHandshakeListener)
class SecureRecorder(Recorder):
    """Notes when the handshake is done as well."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.handshakes = 0

    def handshakeCompleted(self) -> None:
        assert not self.data
        self.handshakes += 1

    def dataReceived(self, data: bytes) -> None:
        assert self.handshakes == 1
        self.pieces.append(data)
        super().dataReceived(data)


class Line:
    """A TLS transport with its recorder, and the client's end."""

    def __init__(self, ours: socket.socket, theirs: socket.socket, tls: ServerTLS) -> None:
        self.poll = Poll()
        self.socket = theirs
        self.recorder = SecureRecorder()
        self.transport = TLSTransport(
            EpollSet(self.poll, turn=0), ours, self.recorder, PEER, tls.connection(ours)
        )
        self.transport.start()

    def shake_hands(self, client: TLSClient) -> TLSClient:
        self.poll.until(lambda: client.is_secured and self.recorder.handshakes, client.pump)
        return client

    def until_lost(self, *clients: TLSClient) -> BaseException:
        pumps = [client.pump for client in clients]
        self.poll.until(lambda: self.recorder.reason, *pumps)
        assert self.recorder.reason is not None
        return self.recorder.reason


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ServerTLS:
    certificate, key = Authority().issue("localhost").write(tmp_path_factory.mktemp("tls"))
    return serving(load_certificate(certificate, key))


@pytest.fixture
def line(tls: ServerTLS) -> Iterator[Line]:
    with connected() as (ours, theirs):
        yield Line(ours, theirs, tls)


@pytest.fixture
def narrow(tls: ServerTLS) -> Iterator[Line]:
    """A line on which the kernel takes little at once."""
    with connected(buffers=4096) as (ours, theirs):
        yield Line(ours, theirs, tls)


class TestCarrying:
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_both_ways(self, line: Line, tmp_path: Path, version: ssl.TLSVersion) -> None:
        client = line.shake_hands(TLSClient(line.socket, tmp_path, version=version))
        client.say(b"hello")
        line.poll.until(lambda: line.recorder.data, client.pump)
        assert line.recorder.data == b"hello"
        line.transport.write(b"how do ")
        line.transport.write(b"you do")
        line.poll.until(lambda: len(client.data) == 13, client.pump)
        assert client.data == b"how do you do"

    def test_the_name_that_the_client_asked_for(self, line: Line, tmp_path: Path) -> None:
        line.shake_hands(TLSClient(line.socket, tmp_path, name="LocalHost"))
        assert line.transport.server_name == b"localhost"

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_however_the_records_are_cut(
        self, line: Line, tmp_path: Path, version: ssl.TLSVersion
    ) -> None:
        client = line.shake_hands(TLSClient(line.socket, tmp_path, at_once=1, version=version))
        sent = b""
        for size in (1, 2, 30, 300, 0, 5):
            piece = bytes([size % 251]) * size
            client.say(piece)
            sent += piece
        line.poll.until(lambda: len(line.recorder.data) == len(sent), client.pump)
        assert line.recorder.data == sent

    @pytest.mark.parametrize("at_once", [7, 1009, 16389, 65537])
    def test_pieces_of_any_size(self, line: Line, tmp_path: Path, at_once: int) -> None:
        client = line.shake_hands(TLSClient(line.socket, tmp_path, at_once=at_once))
        sent = b""
        for size in (16384, 1, 16383, 2, 40000) if at_once > 7 else (1000, 1, 700):
            piece = bytes([size % 251]) * size
            client.say(piece)
            sent += piece
        line.poll.until(lambda: len(line.recorder.data) == len(sent), client.pump)
        assert line.recorder.data == sent

    def test_records_that_wait_together_come_in_one_piece(self, line: Line, tmp_path: Path) -> None:
        client = line.shake_hands(TLSClient(line.socket, tmp_path))
        for number in range(1, 6):
            client.say(b"x")  # each read takes more than the one before
            line.poll.until(lambda: len(line.recorder.data) == number, client.pump)  # noqa: B023
        for number in range(15):
            client.say(b"%02d" % number * 2048)
        line.poll.until(lambda: len(line.recorder.data) == 5 + 15 * 4096, client.pump)
        assert len(line.recorder.pieces) == 6

    def test_small_records_come_one_by_one_and_none_is_left(
        self, line: Line, tmp_path: Path
    ) -> None:
        client = line.shake_hands(TLSClient(line.socket, tmp_path))
        for number in range(60):
            client.say(b"%02d" % number)
        line.poll.until(lambda: len(line.recorder.data) == 120, client.pump)
        assert line.recorder.pieces == [b"%02d" % number for number in range(60)]

    def test_a_request_in_the_same_packet_as_the_handshakes_end(
        self, line: Line, tmp_path: Path
    ) -> None:
        client = TLSClient(line.socket, tmp_path)
        client.pump()
        client.at_once = 0
        line.poll.until(lambda: client.is_secured, client.pump)
        client.say(b"early")
        client.at_once = 1 << 20
        line.poll.until(lambda: line.recorder.data, client.pump)
        assert line.recorder.data == b"early"

    def test_a_mebibyte_to_a_slow_reader(self, narrow: Line, tmp_path: Path) -> None:
        client = narrow.shake_hands(TLSClient(narrow.socket, tmp_path))
        producer = Producer()
        narrow.transport.registerProducer(producer, True)
        sent = b"".join(b"%08d" % number for number in range(131072))
        narrow.transport.write(sent)
        assert narrow.transport.bytes_waiting > HIGH_WATER
        assert producer.events == ["pause"]
        narrow.poll.until(lambda: len(client.data) == len(sent), client.pump)
        assert hashlib.sha256(client.data).digest() == hashlib.sha256(sent).digest()
        assert producer.events == ["pause", "resume"]


class TestClosing:
    def test_the_client_is_told_that_the_stream_is_whole(
        self, narrow: Line, tmp_path: Path
    ) -> None:
        client = narrow.shake_hands(TLSClient(narrow.socket, tmp_path))
        narrow.transport.write(b"x" * 300_000)
        narrow.transport.loseConnection()
        narrow.transport.write(b"too late")
        narrow.poll.until(lambda: client.has_ended, client.pump)
        assert client.data == b"x" * 300_000
        assert isinstance(narrow.until_lost(client), error.ConnectionDone)

    def test_half_and_the_client_may_go_on(self, line: Line, tmp_path: Path) -> None:
        client = line.shake_hands(TLSClient(line.socket, tmp_path))
        line.transport.write(b"all")
        line.transport.loseWriteConnection()
        client.say(b"still heard")
        line.poll.until(lambda: client.has_ended and line.recorder.data, client.pump)
        assert (client.data, line.recorder.data) == (b"all", b"still heard")
        assert line.recorder.reason is None
        line.transport.loseConnection()
        assert isinstance(line.until_lost(client), error.ConnectionDone)

    def test_a_reset_is_no_proper_end(self, line: Line, tmp_path: Path) -> None:
        client = line.shake_hands(TLSClient(line.socket, tmp_path))
        line.transport.write(b"some")
        line.poll.until(lambda: client.data, client.pump)
        line.transport.abortConnection()
        assert isinstance(line.until_lost(client), error.ConnectionAborted)
        line.poll.until(lambda: client.was_cut, client.pump)
        assert not client.has_ended

    def test_before_the_handshake(self, line: Line) -> None:
        line.transport.loseConnection()
        assert isinstance(line.until_lost(), error.ConnectionDone)


class TestBeingClosed:
    def test_with_the_last_word(self, line: Line, tmp_path: Path) -> None:
        client = line.shake_hands(TLSClient(line.socket, tmp_path))
        client.say(b"bye")
        client.say_goodbye()
        assert isinstance(line.until_lost(client), error.ConnectionDone)
        assert line.recorder.data == b"bye"

    def test_without_it(self, line: Line, tmp_path: Path) -> None:
        client = line.shake_hands(TLSClient(line.socket, tmp_path))
        client.say(b"bye")
        client.pump()
        line.socket.close()
        assert line.until_lost() is not None
        assert line.recorder.data == b"bye"

    def test_with_a_reset(self, line: Line, tmp_path: Path) -> None:
        line.shake_hands(TLSClient(line.socket, tmp_path))
        reset(line.socket)
        assert isinstance(line.until_lost(), error.ConnectionLost)

    @pytest.mark.parametrize(
        "sent",
        [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\0" * 100,
            b"\x16\x03\x01\xff\xff" + b"x" * 70000,
            b"SSH-2.0-OpenSSH_9.2\r\n" + b"x" * 70000,
        ],
    )
    def test_what_is_no_handshake_ends_it(self, line: Line, sent: bytes) -> None:
        line.socket.sendall(sent)
        reason = line.until_lost()
        assert isinstance(reason, error.ConnectionLost)
        assert str(reason).partition(": ")[2].startswith("TLS: ")
        assert (line.recorder.handshakes, line.recorder.data) == (0, b"")

    def test_plain_http_is_told_what_is_spoken_here(self, line: Line) -> None:
        line.socket.sendall(b"GET / HTTP/1.1\r\nHost: hub.example.org\r\n\r\n")
        line.until_lost()
        answer = line.socket.recv(4096)
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"write https:// in the address" in answer
        assert line.socket.recv(4096) == b""

    def test_garbage_behind_the_handshake_ends_it_with_an_alert(
        self, line: Line, tmp_path: Path
    ) -> None:
        client = line.shake_hands(TLSClient(line.socket, tmp_path))
        client.say(b"good")
        client.say_bytes(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        assert isinstance(line.until_lost(client), error.ConnectionLost)
        assert line.recorder.data == b"good"
        line.poll.until(lambda: client.error or client.was_cut, client.pump)
        assert client.error is not None
        assert "ALERT" in str(client.error).upper()


class TestRecordsWithoutData:
    """A client streams key updates: records that bring no data (RFC 8446 section 4.6.3)."""

    def test_a_read_returns_after_each_of_them(self, line: Line, tmp_path: Path) -> None:
        """Else one read lasts as long as the client likes (seen with pyOpenSSL 26.4).

        pyOpenSSL sets SSL_MODE_AUTO_RETRY; :func:`return_after_each_record` clears it by a private
        name. If this fails after an upgrade of pyOpenSSL, look there.
        """
        client = line.shake_hands(TLSClient(line.socket, tmp_path))
        client.say_bytes(client.key_updates(10))
        client._send()
        assert not client.unsent
        waiting = [waiting_bytes(line)]
        for _ in range(3):
            assert line.transport.doRead() is None
            waiting.append(waiting_bytes(line))
        assert waiting[0] > waiting[-1] > 0, "a few reads take a few records, not all"

    def test_a_few_are_in_order(self, line: Line, tmp_path: Path) -> None:
        client = line.shake_hands(TLSClient(line.socket, tmp_path))
        client.say_bytes(client.key_updates(MOST_WITHOUT_DATA // 2))
        line.poll.until(lambda: not client.unsent, client._send)
        line.poll.rest()
        line.transport.write(b"still here")
        line.poll.until(lambda: client.data, client.pump)
        assert client.data == b"still here"

    def test_more_of_them_are_the_end(self, line: Line, tmp_path: Path) -> None:
        client = line.shake_hands(TLSClient(line.socket, tmp_path))
        client.say_bytes(client.key_updates(10 * MOST_WITHOUT_DATA))
        reason = line.until_lost(client)
        assert isinstance(reason, error.ConnectionLost)
        assert "too many records without data" in str(reason)

    def test_a_client_that_reads_no_answers_is_held_up_or_cut_off(
        self, narrow: Line, tmp_path: Path
    ) -> None:
        client = narrow.shake_hands(TLSClient(narrow.socket, tmp_path))
        client.say_bytes(client.key_updates(4000))
        left = 0
        while client.unsent != left and narrow.recorder.reason is None:
            left = client.unsent
            client._send()
            narrow.poll.rest()
        assert narrow.recorder.reason is not None or not narrow.poll.look(0.02)


def waiting_bytes(line: Line) -> int:
    """Bytes that the kernel holds for the transport."""
    return int.from_bytes(ioctl(line.transport.fileno(), FIONREAD, bytes(4)), sys.byteorder)


class TestDearBytes:
    """A protocol that takes long for each byte gets fewer at a time, so others have their turn."""

    def test_a_part_of_a_record_that_is_left_is_read_in_the_next_turn(
        self, line: Line, tmp_path: Path
    ) -> None:
        client = line.shake_hands(TLSClient(line.socket, tmp_path))
        line.recorder.on_data = lambda data: line.transport.read_less(len(data))
        sent = bytes(range(256)) * 1024
        client.say(sent)
        line.poll.until(lambda: len(line.recorder.data) == len(sent), client.pump)
        assert line.recorder.data == sent
        sizes = [len(piece) for piece in line.recorder.pieces]
        assert max(sizes[1:]) <= 2 * LEAST_READ

    def test_what_is_left_waits_while_the_reader_is_paused(
        self, line: Line, tmp_path: Path
    ) -> None:
        client = line.shake_hands(TLSClient(line.socket, tmp_path))
        line.recorder.on_data = lambda data: line.transport.read_less(len(data))
        client.say(bytes(16384) * 9)
        line.poll.until(lambda: len(line.recorder.data) > 16384 * 6, client.pump)
        line.transport.pauseProducing()
        before = len(line.recorder.data)
        line.poll.rest()
        assert len(line.recorder.data) == before
        line.transport.resumeProducing()
        line.poll.until(lambda: len(line.recorder.data) == 16384 * 9, client.pump)

    def test_nor_is_it_lost_if_the_next_read_would_take_a_whole_record(
        self, line: Line, tmp_path: Path
    ) -> None:
        """A body comes while its upstream is dialled: the kernel has nothing more to tell."""
        client = line.shake_hands(TLSClient(line.socket, tmp_path))
        client.say(b"head")
        line.poll.until(lambda: line.recorder.data, client.pump)
        line.recorder.on_data = lambda data: line.transport.pauseProducing()
        client.say(bytes(16384))
        line.poll.until(lambda: len(line.recorder.data) > 4, client.pump)
        line.poll.rest()
        line.recorder.on_data = lambda data: None
        line.transport.resumeProducing()
        line.poll.until(lambda: len(line.recorder.data) == 4 + 16384, client.pump)
