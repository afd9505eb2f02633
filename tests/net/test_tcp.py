"""Plain transports on real sockets: what is written arrives, in order, whole or visibly not."""

from __future__ import annotations

import hashlib
import socket
import struct
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from ipyproxy.net.tcp import HIGH_WATER, TCPTransport, address_of
from tests.net.lines import PEER, Line, Producer, Recorder
from tests.polls import Poll, connected


class TestCarrying:
    def test_both_ways(self, line: Line) -> None:
        line.peer.sendall(b"hello")
        line.poll.until(lambda: line.recorder.data)
        assert line.recorder.data == b"hello"
        line.transport.write(b"how ")
        line.transport.writeSequence([b"do ", b"you do"])
        assert line.hear(13) == b"how do you do"

    def test_a_write_goes_out_at_once(self, line: Line) -> None:
        line.transport.write(b"now")
        assert line.peer.recv(10) == b"now"
        assert (line.transport.bytes_waiting, line.transport.bytes_sent) == (0, 3)

    def test_what_the_kernel_does_not_take_follows_in_order(self, narrow: Line) -> None:
        sent = b"".join(b"%08d" % number for number in range(200_000))
        for at in range(0, len(sent), 50_000):
            narrow.transport.write(sent[at : at + 50_000])
        assert narrow.transport.bytes_waiting > 1_000_000
        heard = narrow.hear(len(sent))
        assert hashlib.sha256(heard).digest() == hashlib.sha256(sent).digest()
        assert narrow.transport.bytes_sent == len(sent)

    def test_the_facts(self, line: Line) -> None:
        transport = line.transport
        assert transport.getPeer() == PEER
        assert transport.getHost().port == line.peer.getpeername()[1]
        transport.setTcpNoDelay(True)
        assert transport.getTcpNoDelay()
        transport.setTcpKeepAlive(True)
        assert transport.getTcpKeepAlive()

    def test_a_unix_socket_is_carried_too(self, poll: Poll) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            line = Line(poll, ours, theirs)
            line.transport.setTcpKeepAlive(True)
            assert not line.transport.has_hung_up
            line.transport.write(b"hello")
            assert theirs.recv(10) == b"hello"


class TestReading:
    def test_a_paused_transport_reads_nothing(self, line: Line) -> None:
        line.transport.pauseProducing()
        line.peer.sendall(b"hello")
        line.poll.rest()
        assert (line.recorder.data, line.transport.is_reading) == (b"", False)
        line.transport.resumeProducing()
        line.poll.until(lambda: line.recorder.data)
        assert (line.recorder.data, line.transport.is_reading) == (b"hello", True)

    def test_pausing_makes_the_peer_wait(self, narrow: Line) -> None:
        narrow.transport.pauseProducing()
        narrow.peer.setblocking(False)
        sent = 0
        try:
            while sent < 10_000_000:
                sent += narrow.peer.send(b"x" * 4096)
        except BlockingIOError:
            pass
        assert sent < 1_000_000

    def test_whether_there_is_input_can_be_asked(self, line: Line) -> None:
        line.transport.pauseProducing()
        assert not line.transport.has_input
        line.peer.sendall(b"x")
        line.poll.until(lambda: line.transport.has_input)
        line.transport.resumeProducing()
        line.poll.until(lambda: line.recorder.data)
        assert line.recorder.data == b"x"
        line.transport.pauseProducing()
        assert not line.transport.has_input
        line.peer.close()
        line.poll.until(lambda: line.transport.has_input)

    @pytest.mark.parametrize("ending", ["close", "reset"])
    def test_a_peer_s_end_can_be_asked_for_though_nothing_is_read(
        self, poll: Poll, ending: str
    ) -> None:
        with connected() as (ours, theirs):
            line = Line(poll, ours, theirs)
            line.transport.pauseProducing()
            theirs.sendall(b"before it")
            assert not line.transport.has_hung_up
            if ending == "reset":
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            theirs.close()
            poll.until(lambda: line.transport.has_hung_up)


class TestBackpressure:
    def test_a_producer_is_paused_and_resumed_once_each(self, narrow: Line) -> None:
        producer = Producer()
        narrow.transport.registerProducer(producer, True)
        narrow.transport.write(b"x" * 10)
        assert producer.events == []
        narrow.fill()
        narrow.transport.write(b"x" * 100_000)
        assert producer.events == ["pause"]
        assert narrow.transport.is_full
        narrow.hear(narrow.transport.bytes_sent + narrow.transport.bytes_waiting)
        assert producer.events == ["pause", "resume"]

    def test_a_producer_that_comes_when_all_is_full_is_paused_at_once(self, narrow: Line) -> None:
        narrow.fill()
        producer = Producer()
        narrow.transport.registerProducer(producer, True)
        assert producer.events == ["pause"]

    def test_one_that_has_left_hears_nothing(self, narrow: Line) -> None:
        producer = Producer()
        narrow.transport.registerProducer(producer, True)
        narrow.fill()
        narrow.transport.unregisterProducer()
        narrow.hear(narrow.transport.bytes_sent + narrow.transport.bytes_waiting)
        assert producer.events == ["pause"]

    def test_there_is_one_and_it_pushes(self, line: Line) -> None:
        line.transport.registerProducer(Producer(), True)
        with pytest.raises(RuntimeError):
            line.transport.registerProducer(Producer(), True)
        line.transport.unregisterProducer()
        with pytest.raises(TypeError):
            line.transport.registerProducer(Producer(), False)

    def test_one_that_comes_too_late_is_stopped(self, line: Line) -> None:
        line.transport.abortConnection()
        line.poll.rest()
        producer = Producer()
        line.transport.registerProducer(producer, True)
        assert producer.events == ["stop"]

    def test_the_mark_is_as_configured(self, poll: Poll) -> None:
        with connected(buffers=4096) as (ours, _):
            transport = TCPTransport(poll, ours, Recorder(), PEER, high_water=5000)
            transport.start()
            while transport.bytes_waiting <= 5000:
                assert not transport.is_full
                transport.write(b"x" * 1000)
            assert transport.is_full


class TestRelay:
    def test_16_mib_from_a_slow_sender_to_a_slow_reader(self, poll: Poll) -> None:
        size = 16 * 2**20
        with (
            connected(buffers=16384) as (first, sender),
            connected(buffers=16384) as (second, reader),
        ):
            entry, way_out = Line(poll, first, sender), Line(poll, second, reader)
            entry.recorder.on_data = way_out.transport.write
            way_out.transport.registerProducer(entry.transport, True)
            sender.setblocking(False)
            reader.setblocking(False)
            sent, heard = hashlib.sha256(), hashlib.sha256()
            counts = {"rounds": 0, "sent": 0, "heard": 0, "most": 0}

            def pump() -> None:
                # Now the sender is the slower one, now the reader.
                counts["rounds"] += 1
                reader_is_slow = counts["rounds"] // 100 % 2
                self.send(sender, sent, counts, size)
                for _ in range(1 if reader_is_slow else 20):
                    self.read(reader, heard, counts)
                counts["most"] = max(counts["most"], way_out.transport.bytes_waiting)

            poll.until(lambda: counts["heard"] >= size, pump)
            assert heard.digest() == sent.digest()
            assert HIGH_WATER < counts["most"] <= 2 * HIGH_WATER

    def send(self, sock: socket.socket, digest: Any, counts: dict[str, int], size: int) -> None:
        piece = bytes([counts["sent"] % 251]) * min(30_011, size - counts["sent"])
        try:
            count = sock.send(piece) if piece else 0
        except BlockingIOError:
            return
        digest.update(piece[:count])
        counts["sent"] += count

    def read(self, sock: socket.socket, digest: Any, counts: dict[str, int]) -> None:
        try:
            piece = sock.recv(2_011)
        except BlockingIOError:
            return
        digest.update(piece)
        counts["heard"] += len(piece)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        (("192.0.2.1", 80), IPv4Address("TCP", "192.0.2.1", 80)),
        (("2001:db8::1", 80, 0, 0), IPv6Address("TCP", "2001:db8::1", 80)),
        (("::ffff:192.0.2.1", 80, 0, 0), IPv4Address("TCP", "192.0.2.1", 80)),
        ("/run/x", UNIXAddress("/run/x")),
        (b"", UNIXAddress(None)),
    ],
)
def test_addresses_are_spelled_in_one_way(name: Any, address: object) -> None:
    assert address_of(name) == address
