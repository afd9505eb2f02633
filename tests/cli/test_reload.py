"""``ipyproxy reload``: what the daemon has made of its files is what the command says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipyproxy.cli import main, reload
from ipyproxy.daemon.outcome import Outcome, outcome_file, read_outcome, write_outcome

# A daemon as far as this is about: at SIGHUP it writes down what came of it.
DAEMON = """
import os, signal, sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from ipyproxy.daemon.outcome import Outcome, outcome_file, write_outcome

def reload(*_):
    outcome = Outcome(os.getpid(), time.monotonic(), tuple({problems!r}))
    write_outcome(outcome_file(Path({state!r})), outcome)

signal.signal(signal.SIGHUP, reload)
print("up", flush=True)
while True:
    time.sleep(1)
"""
ROOT = Path(__file__).parents[2]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "i.toml"
    made.write_text("state.directory = 'state'\n")
    (tmp_path / "state").mkdir(mode=0o700)
    return made


@pytest.fixture
def daemon(file: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """Refuses a reload for the reasons that the test gives."""
    script = DAEMON.format(
        root=str(ROOT), problems=getattr(request, "param", []), state=str(file.parent / "state")
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process
        process.kill()


def test_a_reload_that_was_done_is_said_nothing_of(
    daemon: subprocess.Popen[str], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # What came of an earlier one does not count.
    earlier = Outcome(daemon.pid, time.monotonic() - 9, ("long mended",))
    write_outcome(outcome_file(file.parent / "state"), earlier)
    assert main(["reload", str(daemon.pid), "--config", str(file)]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("daemon", [["tls.key: /k cannot be read"]], indirect=True)
def test_one_that_was_refused_is_an_error(
    daemon: subprocess.Popen[str], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reload", str(daemon.pid), "--config", str(file)]) == 1
    said = "ipyproxy: NOT RELOADED, all stays as it was: tls.key: /k cannot be read\n"
    assert capsys.readouterr() == ("", said)


def test_a_daemon_that_says_nothing_is_told(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "_PATIENCE", 0.1)
    monkeypatch.setattr(signal, "SIGHUP", 0)
    assert main(["reload", str(os.getpid()), "--config", str(file)]) == 1
    assert "has not written to" in capsys.readouterr().err


def test_a_process_that_is_not_there_is_told(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reload", str(2**22 - 1), "--config", str(file)]) == 1
    assert "No such process" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"pid": "x"}', b"\xff"])
def test_a_file_that_makes_no_sense_is_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "reload.json").write_bytes(content)
    assert read_outcome(tmp_path / "reload.json") is None
