"""How a plain transport ends: by its owner, by its peer, and what is told of it."""

from __future__ import annotations

from twisted.internet import error

from ipyproxy.net.tcp import TCPTransport
from tests.net.lines import PEER, Line, reset
from tests.polls import Poll, connected


class TestClosing:
    def test_all_that_was_written_goes_first(self, narrow: Line) -> None:
        narrow.transport.write(b"x" * 300_000)
        narrow.transport.loseConnection()
        narrow.transport.write(b"too late")
        assert narrow.hear(300_000) == b"x" * 300_000
        narrow.poll.until(lambda: narrow.recorder.reason)
        assert narrow.heard_end() == "end"
        assert isinstance(narrow.recorder.reason, error.ConnectionDone)

    def test_never_inside_the_call(self, line: Line) -> None:
        line.transport.loseConnection()
        assert line.recorder.reason is None
        line.poll.rest()
        assert isinstance(line.recorder.reason, error.ConnectionDone)

    def test_even_while_paused(self, line: Line) -> None:
        line.transport.pauseProducing()
        line.transport.loseConnection()
        line.transport.resumeProducing()
        assert not line.transport.is_reading
        line.poll.rest()
        assert line.recorder.reason is not None

    def test_half(self, narrow: Line) -> None:
        narrow.transport.write(b"x" * 300_000)
        narrow.transport.loseWriteConnection()
        narrow.transport.write(b"too late")
        assert len(narrow.hear(300_000)) == 300_000
        assert narrow.heard_end() == "end"
        narrow.peer.sendall(b"still heard")
        narrow.poll.until(lambda: narrow.recorder.data)
        assert narrow.recorder.reason is None
        narrow.peer.close()
        narrow.poll.until(lambda: narrow.recorder.reason)
        assert isinstance(narrow.recorder.reason, error.ConnectionDone)

    def test_half_and_then_wholly(self, line: Line) -> None:
        line.transport.loseWriteConnection()
        line.transport.loseConnection()
        line.poll.rest()
        assert line.recorder.reason is not None
        assert line.heard_end() == "end"

    def test_with_a_reset(self, narrow: Line) -> None:
        narrow.transport.write(b"x" * 300_000)
        narrow.transport.abortConnection()
        assert narrow.recorder.reason is None
        narrow.poll.rest()
        assert isinstance(narrow.recorder.reason, error.ConnectionAborted)
        assert narrow.heard_end() == "reset"

    def test_however_often(self, line: Line) -> None:
        for _ in range(2):
            line.transport.loseWriteConnection()
            line.transport.loseConnection()
            line.transport.abortConnection()
        line.poll.rest()
        assert line.recorder.reason is not None
        line.transport.loseConnection()
        line.transport.abortConnection()
        line.transport.write(b"x")
        line.transport.resumeProducing()
        line.poll.rest()
        assert (line.poll.readers, line.poll.writers) == ([line.descriptors], [])


class TestBeingClosed:
    def test_by_the_peer(self, line: Line) -> None:
        line.peer.sendall(b"bye")
        line.peer.close()
        line.poll.until(lambda: line.recorder.reason)
        assert line.recorder.data == b"bye"
        assert isinstance(line.recorder.reason, error.ConnectionDone)

    def test_with_a_reset(self, line: Line) -> None:
        reset(line.peer)
        line.poll.until(lambda: line.recorder.reason)
        assert isinstance(line.recorder.reason, error.ConnectionLost)

    def test_with_a_reset_that_a_write_meets_first(self, line: Line) -> None:
        line.peer.sendall(b"this is why")
        reset(line.peer)
        for _ in range(3):
            line.transport.write(b"more")
        line.poll.until(lambda: line.recorder.reason)
        assert line.recorder.data == b"this is why"
        assert isinstance(line.recorder.reason, error.ConnectionLost)

    def test_with_a_reset_while_bytes_wait_and_nothing_is_read(self, narrow: Line) -> None:
        narrow.transport.pauseProducing()
        narrow.fill()
        reset(narrow.peer)
        narrow.poll.until(lambda: narrow.recorder.reason)
        assert isinstance(narrow.recorder.reason, error.ConnectionLost)

    def test_with_bytes_of_ours_unread(self, line: Line) -> None:
        line.transport.write(b"unread")
        line.peer.close()
        line.poll.until(lambda: line.recorder.reason)
        assert isinstance(line.recorder.reason, error.ConnectionLost)

    def test_a_mistake_in_the_protocol_costs_this_connection_only(self, poll: Poll) -> None:
        with connected() as (first, peer), connected() as (second, other):
            broken, sound = Line(poll, first, peer), Line(poll, second, other)
            sound.transport = TCPTransport(broken.descriptors, second, sound.recorder, PEER)
            sound.transport.start()

            def fail(data: bytes) -> None:
                raise RuntimeError("a mistake of ours")

            broken.recorder.on_data = fail
            peer.sendall(b"x")
            poll.until(lambda: broken.recorder.reason)
            assert isinstance(broken.recorder.reason, RuntimeError)
            other.sendall(b"hello")
            poll.until(lambda: sound.recorder.data)
            assert sound.recorder.reason is None
