"""The access log as an administrator's tools meet it: rotated, read, and whole at a stop."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.integration.proxy import Proxy

from .mortal import Mortal, Visitor, seconds_until
from .streams import browse, request

pytestmark = pytest.mark.integration

SAMPLE = Path(__file__).parents[2] / "etc" / "ipyproxy.logrotate"
PATIENCE = 10.0
LINE = re.compile(
    r'127\.0\.0\.1 - - \[[^]]+\] "GET /ipython/\d+/\S* HTTP/1\.1" \d{3} (\d+|-) "[^"]*" "[^"]*"'
    r'( "close [^"]*")?'
)


class Logging:
    """A proxy with an access log of its own, and a notebook behind it."""

    def __init__(self, directory: Path, form: str = "combined") -> None:
        self.file = directory / "access.log"
        self.proxy = Proxy(directory, f'[log]\naccess = "{self.file}"\nformat = "{form}"\n')
        self.tls = self.proxy.client_tls()
        self.notebook = Mortal()
        self.notebook.live()

    def visitor(self) -> Visitor:
        return Visitor(self.proxy.port, self.tls, self.notebook.port)

    def lines(self, *files: Path) -> list[str]:
        """All lines of the files, which are whole; none where there is no file."""
        there = [file for file in files or (self.file,) if file.exists()]
        text = "".join(file.read_text() for file in there)
        assert text == "" or text.endswith("\n")
        return text.splitlines()

    def tell(self, number: signal.Signals) -> None:
        os.kill(self.proxy.child.pid, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.notebook.die()
        self.proxy.child.stop()


@pytest.fixture
def logging(tmp_path: Path) -> Iterator[Logging]:
    with Logging(tmp_path) as made:
        yield made


@contextlib.contextmanager
def visits(logging: Logging) -> Iterator[list[int]]:
    """Requests one after the other while the test does something; gives their statuses."""
    statuses: list[int] = []
    over = threading.Event()

    def go_on() -> None:
        with logging.visitor() as visitor:
            while not over.is_set():
                statuses.append(visitor.status())

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join()


def test_every_line_is_apaches(logging: Logging) -> None:
    with logging.visitor() as visitor:
        for _ in range(10):
            visitor.status()
    logging.proxy.child.stop()
    lines = logging.lines()
    assert len(lines) == 10
    assert all(LINE.fullmatch(line) for line in lines), lines


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_after_a_signal_lines_go_to_the_file_that_is_there(
    logging: Logging, number: signal.Signals
) -> None:
    old = logging.file.with_suffix(".1")
    with visits(logging) as statuses:
        seconds_until(lambda: len(statuses) > 20, at_most=PATIENCE)
        logging.file.rename(old)
        logging.tell(number)
        seconds_until(logging.file.exists, at_most=PATIENCE)
        before = len(statuses)
        seconds_until(lambda: len(statuses) > before + 20, at_most=PATIENCE)
    logging.proxy.child.stop()
    assert set(statuses) == {200}
    assert len(logging.lines(old, logging.file)) == len(statuses)
    assert logging.lines()


def test_logrotate_loses_no_line(logging: Logging, tmp_path: Path) -> None:
    logrotate = shutil.which("logrotate", path=f"{os.environ['PATH']}:/usr/sbin")
    if logrotate is None:
        pytest.skip("logrotate is not installed")
    rules = tmp_path / "rules"
    text = SAMPLE.read_text()
    pid_file = tmp_path / "pid"
    pid_file.write_text(f"{logging.proxy.child.pid}\n")
    for theirs, ours in {
        "/var/log/ipyproxy/access.log": str(logging.file),
        # No systemd has started this one.
        "[ -d /run/systemd/system ]": "false",
        "/run/ipyproxy/ipyproxy.pid": str(pid_file),
        "    compress\n    delaycompress\n": "",
    }.items():
        assert theirs in text
        text = text.replace(theirs, ours)
    rules.write_text(text)
    rules.chmod(0o644)
    # logrotate has nothing to do with a directory that anybody may write to.
    tmp_path.chmod(0o755)
    rotated = [logging.file.with_suffix(f".log.{number}") for number in (3, 2, 1)]
    with visits(logging) as statuses:
        for done in range(1, 4):
            seconds_until(lambda: bool(logging.lines()), at_most=PATIENCE)
            command = [logrotate, "--force", "--state", str(tmp_path / "state"), str(rules)]
            subprocess.run(command, check=True)
            assert len([file for file in rotated if file.exists()]) == done
        seconds_until(logging.file.exists, at_most=PATIENCE)
    logging.proxy.child.stop()
    assert len(logging.lines(*rotated, logging.file)) == len(statuses)


def test_goaccess_reads_it(logging: Logging, tmp_path: Path) -> None:
    if shutil.which("goaccess") is None:
        pytest.skip("goaccess is not installed")
    with logging.visitor() as visitor:
        for _ in range(7):
            visitor.status()
        visitor.open_websocket().close()
    logging.proxy.child.stop()
    report = tmp_path / "report.json"
    command = ["goaccess", str(logging.file), "--log-format=COMBINED", "--no-global-config"]
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(tmp_path)}
    subprocess.run([*command, "-o", str(report)], check=True, env=env, capture_output=True)
    general = json.loads(report.read_text())["general"]
    assert (general["valid_requests"], general["failed_requests"]) == (8, 0)


def test_a_websocket_is_logged_at_its_end(tmp_path: Path) -> None:
    with Logging(tmp_path, "json") as logging:
        with logging.visitor() as visitor, visitor.open_websocket() as bridge:
            assert logging.lines() == []
            # A close frame with code 1000, masked with zeros.
            bridge.say(b"\x88\x82\0\0\0\0" + (1000).to_bytes(2, "big"))
            bridge.hear_rest()
        seconds_until(lambda: bool(logging.lines()), at_most=PATIENCE)
        [line] = logging.lines()
    document = json.loads(line)
    assert document["status"] == 101
    assert document["duration"] > 0
    assert document["bridge"]["close_code"] == 1000
    assert document["bridge"]["bytes_up"] == 8


def test_what_is_cut_at_a_stop_has_its_line_too(logging: Logging) -> None:
    """Requests that wait for a notebook that says nothing, and WebSockets."""
    with Mortal() as mute, contextlib.ExitStack() as stack:
        mute.live("mute")
        visitor = stack.enter_context(logging.visitor())
        for _ in range(3):
            stack.enter_context(visitor.open_websocket())
        for number in range(3):
            stream = stack.enter_context(browse(logging.proxy.port, logging.tls))
            stream.say(request(b"GET /ipython/%d/%d" % (mute.port, number)))
        time.sleep(0.5)
        # Asked twice, it ends at once; two signals at the same time are one.
        logging.tell(signal.SIGTERM)
        time.sleep(0.5)
        logging.proxy.child.stop()
    lines = logging.lines()
    assert len(lines) == 6, lines
    assert all(LINE.fullmatch(line) for line in lines), lines


FLOOD = 1500
"""Requests of one client, as fast as it can."""


@pytest.mark.parametrize("form", ["combined", "json"])
def test_one_client_can_not_fill_it(tmp_path: Path, form: str) -> None:
    def ask(proxy: Proxy, start: bytes) -> None:
        head = request(start, b"Referer: https://h/" + b"\xff" * 15000)
        with browse(proxy.port, proxy.client_tls()) as client:
            for _ in range(FLOOD):
                client.say(head)
                answer = client.hear_head().lower()
                length = int(answer.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                client.hear(length)

    with Logging(tmp_path, form) as made:
        began = time.monotonic()
        ask(made.proxy, b"GET /nothing/here")
        ask(made.proxy, b"GET /")
        took = time.monotonic() - began
        made.proxy.child.stop()
        size = made.file.stat().st_size
        lines = made.lines()
    print(f"{size / took / 2**20:.2f} MiB/s for {took:.1f} s, {len(lines)} lines")
    assert 20 <= len(lines) - FLOOD <= 20 + took + 1
    assert size < 4 * FLOOD * 1024
    if form == "json":
        assert all("target" in json.loads(line) for line in lines)
