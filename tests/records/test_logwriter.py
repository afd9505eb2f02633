"""How lines reach their file, whatever becomes of the disk or the pipe."""

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Thread, active_count

import pytest
from twisted.logger import capturedLogs, formatEvent

from ipyproxy.records import logwriter
from ipyproxy.records.logwriter import BATCH_BYTES, LogWriter


def wait_for(happened: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def flush_until(writer: LogWriter, events: Sequence[object]) -> None:
    def told() -> bool:
        writer.flush()
        return bool(events)

    wait_for(told)


def in_time(call: Callable[[], None]) -> None:
    """Call it in a thread of its own: a call that blocks fails the test, and does not hang it."""
    thread = Thread(target=call, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "the caller was blocked"


class Drain:
    """Reads a pipe to its end, in a thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._thread = Thread(target=self._run, daemon=True)
        self._received = bytearray()
        self._thread.start()

    def _run(self) -> None:
        while data := os.read(self._descriptor, 65536):
            self._received += data

    def to_the_end(self) -> bytes:
        self._thread.join(10)
        assert not self._thread.is_alive()
        return bytes(self._received)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe's reading and writing end; a test may have closed either."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logwriter, "_RETRY", 0.005)


class TestWriter:
    def test_appends_to_its_file(self, tmp_path: Path) -> None:
        path = tmp_path / "access.log"
        path.write_bytes(b"old\n")
        writer = LogWriter(path)
        writer.start()
        writer.write(b"new\n")
        writer.close()
        assert path.read_bytes() == b"old\nnew\n"
        assert writer.dropped == 0

    def test_makes_a_file_that_others_cannot_read(self, tmp_path: Path) -> None:
        writer = LogWriter(tmp_path / "access.log")
        before = os.umask(0o022)
        try:
            writer.start()
        finally:
            os.umask(before)
        writer.close()
        assert (tmp_path / "access.log").stat().st_mode & 0o777 == 0o640

    def test_says_at_once_that_a_file_cannot_be_opened(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            LogWriter(tmp_path / "missing" / "access.log").start()

    def test_writes_on_a_flush_without_waiting_for_the_close(self, tmp_path: Path) -> None:
        path = tmp_path / "access.log"
        writer = LogWriter(path)
        writer.start()
        writer.write(b"line\n")
        writer.flush()
        wait_for(lambda: path.read_bytes() == b"line\n")
        writer.close()

    def test_flushes_by_itself_when_much_is_gathered(self, tmp_path: Path) -> None:
        path = tmp_path / "access.log"
        writer = LogWriter(path)
        writer.start()
        line = b"x" * 1023 + b"\n"
        for _ in range(BATCH_BYTES // len(line)):
            writer.write(line)
        wait_for(lambda: path.stat().st_size == BATCH_BYTES)
        writer.close()

    def test_keeps_what_was_written_before_the_start(self, tmp_path: Path) -> None:
        writer = LogWriter(tmp_path / "access.log")
        writer.write(b"early\n")
        writer.flush()
        writer.start()
        writer.close()
        assert (tmp_path / "access.log").read_bytes() == b"early\n"

    def test_leaves_a_descriptor_open_for_its_owner(self, pipe: tuple[int, int]) -> None:
        reading, writing = pipe
        writer = LogWriter(writing)
        writer.start()
        writer.write(b"one\n")
        writer.reopen()
        writer.close()
        os.write(writing, b"two\n")
        assert os.read(reading, 100) == b"one\ntwo\n"

    def test_leaves_no_descriptor_and_no_thread_behind(self, tmp_path: Path) -> None:
        def held() -> tuple[list[str], int]:
            names = [entry.name for entry in Path("/proc/self/fd").iterdir()]
            return sorted(names), active_count()

        before = held()
        writer = LogWriter(tmp_path / "access.log")
        writer.start()
        assert held() != before
        writer.reopen()
        writer.close()
        assert held() == before

    def test_a_second_close_does_nothing(self, tmp_path: Path) -> None:
        writer = LogWriter(tmp_path / "access.log")
        writer.start()
        writer.close()
        writer.close()


class TestReopen:
    def test_goes_on_in_a_new_file_after_a_rename(self, tmp_path: Path) -> None:
        path, renamed = tmp_path / "access.log", tmp_path / "access.log.1"
        writer = LogWriter(path)
        writer.start()
        writer.write(b"first\n")
        path.rename(renamed)
        writer.write(b"second\n")
        writer.reopen()
        writer.write(b"third\n")
        writer.close()
        assert renamed.read_bytes() == b"first\nsecond\n"
        assert path.read_bytes() == b"third\n"

    def test_keeps_the_old_file_if_there_can_be_no_new_one(self, tmp_path: Path) -> None:
        home, moved = tmp_path / "log", tmp_path / "moved"
        home.mkdir()
        writer = LogWriter(home / "access.log")
        writer.start()
        home.rename(moved)
        with capturedLogs() as events:
            writer.reopen()
            writer.write(b"line\n")
            writer.close()
        assert (moved / "access.log").read_bytes() == b"line\n"
        assert [formatEvent(event) for event in events] == [
            f"{home}/access.log: not reopened, the old file is kept: No such file or directory"
        ]

    def test_loses_nothing_to_a_full_disk_that_is_left_behind(self, tmp_path: Path) -> None:
        path = tmp_path / "access.log"
        path.symlink_to("/dev/full")
        writer = LogWriter(path)
        writer.start()
        with capturedLogs() as events:
            writer.write(b"one\n")
            flush_until(writer, events)
            path.unlink()
            writer.write(b"two\n")
            writer.reopen()
            writer.write(b"three\n")
            writer.close()
        assert path.read_bytes() == b"one\ntwo\nthree\n"
        assert [formatEvent(event) for event in events] == [
            f"{path}: writing fails, and is tried again: No space left on device",
            f"{path}: writing works again",
        ]

    def test_a_new_file_begins_with_a_whole_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, renamed = tmp_path / "access.log", tmp_path / "access.log.1"
        room = 10
        write = os.write

        def write_while_there_is_room(descriptor: int, data: memoryview) -> int:
            nonlocal room
            if Path(f"/proc/self/fd/{descriptor}").readlink() == path:
                return write(descriptor, data)
            if not room:
                raise OSError(errno.ENOSPC, "No space left on device")
            done = write(descriptor, data[:room])
            room -= done
            return done

        monkeypatch.setattr(os, "write", write_while_there_is_room)
        writer = LogWriter(path)
        writer.start()
        path.rename(renamed)
        writer.write(b"first\n")
        writer.write(b"second\n")
        writer.flush()
        wait_for(lambda: room == 0)
        writer.reopen()
        wait_for(lambda: path.exists() and path.read_bytes())
        writer.close()
        assert renamed.read_bytes() == b"first\nseco"
        assert path.read_bytes() == b"second\n"
        assert writer.dropped == 0


class TestTrouble:
    LINE = b"%07d\n"

    def stick(self, writer: LogWriter, lines: int) -> None:
        """Write more than a pipe that nobody reads can hold."""

        def write() -> None:
            for number in range(lines):
                writer.write(self.LINE % number)
            writer.flush()

        in_time(write)

    def test_a_stuck_pipe_stops_no_caller_and_loses_nothing(self, pipe: tuple[int, int]) -> None:
        reading, writing = pipe
        writer = LogWriter(writing)
        writer.start()
        self.stick(writer, 100_000)
        drain = Drain(reading)
        writer.close()
        os.close(writing)
        assert drain.to_the_end() == b"".join(self.LINE % number for number in range(100_000))
        assert writer.dropped == 0

    def test_beyond_its_bound_it_drops_lines_and_says_how_many(self, pipe: tuple[int, int]) -> None:
        reading, writing = pipe
        writer = LogWriter(writing, waiting_bytes=4 * BATCH_BYTES)
        writer.start()
        with capturedLogs() as events:
            self.stick(writer, 100_000)
            dropped = writer.dropped
            assert dropped > 0
            assert events == [], "it is told once, when it is over"
            drain = Drain(reading)
            flush_until(writer, events)
            writer.write(b"later\n")
            writer.close()
        os.close(writing)
        received = drain.to_the_end().splitlines(keepends=True)
        assert received[-1] == b"later\n"
        # Which ones were dropped is the thread's doing, which may take a batch between two of ours.
        # Compared outside the assert, for nobody wants to read 100,000 lines when it fails.
        sent = {self.LINE % number: number for number in range(100_000)}
        numbers = [sent[line] for line in received[:-1]]
        in_order = numbers == sorted(set(numbers))
        assert in_order
        assert len(numbers) == 100_000 - dropped
        assert [formatEvent(event) for event in events] == [
            f"descriptor {writing}: {dropped} log lines were dropped"
        ]

    def test_a_stuck_pipe_cannot_hold_up_the_close(self, pipe: tuple[int, int]) -> None:
        reading, writing = pipe
        writer = LogWriter(writing)
        writer.start()
        self.stick(writer, 100_000)
        with capturedLogs() as events:
            in_time(lambda: writer.close(timeout=0.01))
        assert 90_000 < writer.dropped < 100_000, "all but the batch that the pipe itself holds"
        assert len(events) == 1
        drain = Drain(reading)  # lets the thread go
        os.close(writing)
        drain.to_the_end()

    def test_a_closed_pipe_is_survived_and_counted(self, pipe: tuple[int, int]) -> None:
        reading, writing = pipe
        os.close(reading)
        writer = LogWriter(writing)
        writer.start()
        with capturedLogs() as events:
            writer.write(b"one\n")
            flush_until(writer, events)
            writer.write(b"two\n")
            writer.close()
        assert writer.dropped == 2
        assert [formatEvent(event) for event in events] == [
            f"descriptor {writing}: writing fails, and is tried again: Broken pipe",
            f"descriptor {writing}: 2 log lines were dropped",
        ]

    def test_lines_of_a_broken_batch_that_were_written_are_not_counted_as_dropped(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "access.log"
        writer = LogWriter(path)
        writer.start()
        room = 6
        write = os.write

        def write_once(descriptor: int, data: memoryview) -> int:
            nonlocal room
            if not room:
                raise OSError(errno.ENOSPC, "No space left on device")
            done, room = write(descriptor, data[:room]), 0
            return done

        monkeypatch.setattr(os, "write", write_once)
        writer.write(b"one\n")
        writer.write(b"two\n")
        writer.write(b"three\n")
        writer.close()
        assert path.read_bytes() == b"one\ntw"
        assert writer.dropped == 2
