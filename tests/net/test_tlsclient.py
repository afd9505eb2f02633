"""TLS as a client on real sockets, to servers that mean well and to one that does not."""

from __future__ import annotations

import hashlib
import itertools
import socket
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path
from termios import FIONREAD

import pytest
from OpenSSL import SSL
from twisted.internet import error

from ipyproxy.net.descriptors import EpollSet
from ipyproxy.net.tcp import LEAST_READ
from ipyproxy.net.tls import MOST_WITHOUT_DATA
from ipyproxy.net.tlsclient import ClientTLSTransport
from tests.attacks import records
from tests.certificates import Authority
from tests.net.lines import Producer, Recorder
from tests.net.test_tls import PEER
from tests.polls import Poll, connected

PIECE = 65536


class Server:
    """The server's end, which moves only when pumped, and can say what no library lets one say."""

    def __init__(self, sock: socket.socket, directory: Path) -> None:
        context = SSL.Context(SSL.TLS_METHOD)
        certificate, key = Authority().issue("localhost").write(directory)
        context.use_certificate_chain_file(str(certificate))
        context.use_privatekey_file(str(key))
        context.set_keylog_callback(self._keep_secret)
        self._secrets: dict[str, bytes] = {}
        sock.setblocking(False)
        self._socket = sock
        self.tls = SSL.Connection(context)
        self.tls.set_accept_state()
        self.is_secured = False
        self.is_deaf = False
        self.left = b""
        self.data = b""

    def _keep_secret(self, connection: SSL.Connection, line: bytes) -> None:
        label, _, secret = line.decode().split()
        self._secrets[label] = bytes.fromhex(secret)

    @property
    def secret(self) -> bytes:
        return self._secrets["SERVER_TRAFFIC_SECRET_0"]

    @property
    def cipher(self) -> str:
        return self.tls.get_cipher_name() or ""

    def say(self, data: bytes) -> None:
        """Encrypt; it goes out as the server is pumped."""
        while data:
            data = data[self.tls.send(data) :]

    def pump(self) -> None:
        """Send and take what there is."""
        if not self.is_deaf:
            self._take()
        self._send()

    def _take(self) -> None:
        try:
            while data := self._socket.recv(PIECE):
                self.tls.bio_write(data)
        except OSError:
            pass
        try:
            if not self.is_secured:
                self.tls.do_handshake()
                self.is_secured = True
            while True:
                self.data += self.tls.recv(PIECE)
        except SSL.Error:
            pass

    def _send(self) -> None:
        try:
            while True:
                self.left += self.tls.bio_read(PIECE)
        except SSL.Error:
            pass
        try:
            while self.left:
                self.left = self.left[self._socket.send(self.left) :]
        except OSError:
            pass


class Gate(socket.socket):
    """A socket that takes nothing while it is shut, as one whose buffer is just full."""

    is_shut = False

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
        if self.is_shut:
            raise BlockingIOError
        return super().send(data, flags)


class Line:
    """A transport, and the server that it has shaken hands with."""

    def __init__(self, ours: socket.socket, theirs: socket.socket, directory: Path) -> None:
        self.poll = Poll()
        self.socket = ours
        self.server = Server(theirs, directory)
        self.recorder = Recorder()
        tls = SSL.Connection(SSL.Context(SSL.TLS_METHOD), ours)
        tls.set_connect_state()
        self.transport = ClientTLSTransport(
            EpollSet(self.poll, turn=0), ours, self.recorder, PEER, tls
        )
        self.transport.start()
        assert self.transport.doRead() is None
        self.until(lambda: self.server.is_secured)
        self.poll.rest()

    def until(self, condition: object) -> None:
        assert callable(condition)
        self.poll.until(condition, self.server.pump)

    def until_lost(self) -> BaseException:
        self.until(lambda: self.recorder.reason)
        assert self.recorder.reason is not None
        return self.recorder.reason

    @property
    def bytes_waiting(self) -> int:
        return int.from_bytes(ioctl(self.socket, FIONREAD, bytes(4)), "little")


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with connected() as (ours, theirs):
        yield Line(ours, theirs, tmp_path)


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Line]:
    with connected(buffers=4096) as (ours, theirs):
        yield Line(ours, theirs, tmp_path)


def noise(size: int) -> bytes:
    return hashlib.shake_128(b"noise").digest(size)


class TestData:
    @pytest.mark.parametrize("fixture", ["line", "narrow"])
    def test_goes_both_ways_at_once_and_whole(
        self, fixture: str, request: pytest.FixtureRequest
    ) -> None:
        line: Line = request.getfixturevalue(fixture)
        up, down = noise(400_000), noise(500_000)
        line.transport.write(up)
        line.server.say(down)
        line.until(
            lambda: len(line.server.data) == len(up) and len(line.recorder.data) == len(down)
        )
        assert line.server.data == up
        assert line.recorder.data == down

    def test_a_server_that_reads_nothing_is_still_listened_to(self, narrow: Line) -> None:
        narrow.server.is_deaf = True
        producer = Producer()
        narrow.transport.registerProducer(producer, True)
        narrow.transport.write(noise(3_000_000))
        assert producer.events == ["pause"]
        narrow.server.say(b"I have read enough")
        narrow.until(lambda: narrow.recorder.data == b"I have read enough")
        narrow.server.is_deaf = False
        narrow.until(lambda: len(narrow.server.data) == 3_000_000)
        assert narrow.server.data == noise(3_000_000)
        assert producer.events == ["pause", "resume"]

    def test_what_is_written_last_arrives_before_the_end(self, narrow: Line) -> None:
        narrow.transport.write(noise(300_000))
        narrow.transport.loseConnection()
        assert isinstance(narrow.until_lost(), error.ConnectionDone)
        narrow.until(lambda: len(narrow.server.data) == 300_000)
        assert narrow.server.tls.get_shutdown() & SSL.RECEIVED_SHUTDOWN

    def test_a_goodbye_that_the_kernel_does_not_take_at_once_arrives(self, tmp_path: Path) -> None:
        with connected() as (ours, theirs), Gate(fileno=ours.detach()) as gate:
            gate.setblocking(False)
            line = Line(gate, theirs, tmp_path)
            gate.is_shut = True
            line.transport.loseConnection()
            line.poll.look()
            assert line.recorder.reason is None
            gate.is_shut = False
            assert isinstance(line.until_lost(), error.ConnectionDone)
            line.server.pump()
            assert line.server.tls.get_shutdown() & SSL.RECEIVED_SHUTDOWN

    def test_the_servers_goodbye_right_behind_its_last_data(self, line: Line) -> None:
        line.server.say(noise(200_000))
        line.server.tls.shutdown()
        assert isinstance(line.until_lost(), error.ConnectionDone)
        assert line.recorder.data == noise(200_000)

    def test_an_end_without_goodbye_is_none(self, line: Line) -> None:
        line.server._socket.shutdown(socket.SHUT_WR)
        assert isinstance(line.until_lost(), error.ConnectionLost)

    def test_a_small_appetite_leaves_nothing_behind(self, line: Line) -> None:
        """What OpenSSL was given and has not returned is told of by nobody but us."""
        sizes = []
        line.recorder.on_data = lambda data: sizes.append(len(data))
        line.transport.read_less(1_000_000)
        line.server.say(noise(40_000))
        line.until(lambda: len(line.recorder.data) == 40_000)
        assert sizes[0] <= LEAST_READ
        assert line.recorder.data == noise(40_000)

    def test_nor_does_a_pause(self, line: Line) -> None:
        def pause(data: bytes) -> None:
            line.transport.pauseProducing()
            line.recorder.on_data = lambda data: None

        line.recorder.on_data = pause
        line.transport.read_less(1_000_000)
        line.server.say(noise(40_000))
        line.until(lambda: line.recorder.data)
        line.poll.rest()
        assert len(line.recorder.data) <= LEAST_READ
        assert line.transport.has_input
        line.transport.resumeProducing()
        line.until(lambda: len(line.recorder.data) == 40_000)

    def test_what_fits_the_appetite_is_all_there_is(self, line: Line) -> None:
        """Else a connection to an upstream would not be kept for the next request."""
        found = []
        line.recorder.on_data = lambda data: found.append((len(data), line.transport.has_input))
        line.transport.read_less(1_000_000)
        line.server.say(noise(LEAST_READ))
        line.until(lambda: found)
        assert found == [(LEAST_READ, False)]

    def test_what_is_held_is_read_on_with_when_the_kernel_takes_again(self, tmp_path: Path) -> None:
        with connected() as (ours, theirs), Gate(fileno=ours.detach()) as gate:
            gate.setblocking(False)
            line = Line(gate, theirs, tmp_path)
            gate.is_shut = True
            line.transport.read_less(1_000_000)
            # The first wants an answer, and is held together with most of the second.
            line.server.left += records.key_update_and_data(
                line.server.secret, line.server.cipher, 2, noise(2000)
            )
            line.server._send()
            for _ in range(9):
                line.poll.look(0.01)
            line.transport.write(b"a request")
            for _ in range(9):
                line.poll.look(0.01)
            gate.is_shut = False
            line.until(lambda: len(line.recorder.data) == 2000)

    def test_what_is_no_record_is_answered_with_an_alert(self, line: Line) -> None:
        line.server.is_deaf = True
        line.server.left += b"\x17\x03\x03\x00\x20" + bytes(32)
        assert isinstance(line.until_lost(), error.ConnectionLost)
        line.server.tls.bio_write(line.server._socket.recv(PIECE))
        with pytest.raises(SSL.Error, match="alert bad record mac"):
            line.server.tls.recv(1)


class TestRecordsWithoutData:
    def test_data_behind_a_ticket_is_read(self, line: Line) -> None:
        sealed = records.split_tickets(line.server.secret, line.server.cipher, 2, size=100)
        line.server.left += b"".join(itertools.islice(sealed, 104 * (MOST_WITHOUT_DATA // 2)))
        line.server._send()
        line.transport.write(b"a request")
        line.until(lambda: line.server.data == b"a request")
        assert line.recorder.reason is None

    def test_a_ticket_in_records_of_one_byte_takes_many_events(self, line: Line) -> None:
        """OpenSSL would read it to its end, and everybody would wait for that."""
        sealed = records.split_tickets(line.server.secret, line.server.cipher, 2)
        line.server.left += b"".join(itertools.islice(sealed, 20_000))
        line.server._send()
        before = line.bytes_waiting
        assert before > PIECE, "the kernel holds more than is taken at once"
        assert line.transport.doRead() is None
        assert before - line.bytes_waiting <= PIECE

    def test_too_many_of_them_are_the_end(self, line: Line) -> None:
        sealed = records.split_tickets(line.server.secret, line.server.cipher, 2)
        line.server.left += b"".join(itertools.islice(sealed, 131_000))
        reason = line.until_lost()
        assert isinstance(reason, error.ConnectionLost)
        assert "too many records without data" in str(reason)

    def test_so_are_too_many_whole_ones(self, line: Line) -> None:
        updates = records.key_updates(line.server.secret, line.server.cipher, 2)
        line.server.left += b"".join(itertools.islice(updates, 2 * MOST_WITHOUT_DATA))
        assert "too many records without data" in str(line.until_lost())

    def test_a_server_that_reads_no_answers_is_held_up_or_cut_off(self, narrow: Line) -> None:
        narrow.server.is_deaf = True
        updates = records.key_updates(narrow.server.secret, narrow.server.cipher, 2)
        narrow.server.left += b"".join(itertools.islice(updates, 4000))
        left = 0
        while len(narrow.server.left) != left and narrow.recorder.reason is None:
            left = len(narrow.server.left)
            narrow.server._send()
            narrow.poll.rest()
        assert narrow.recorder.reason is not None or not narrow.poll.look(0.02)
