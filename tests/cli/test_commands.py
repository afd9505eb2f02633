"""The command ``ipyproxy`` itself, and those of its words that only pass on what others find."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ipyproxy.cli import COMMANDS, main
from ipyproxy.cli.status import shown

ROOT = Path(__file__).parents[2]

DOCUMENT: dict[str, Any] = {
    "time": "2026-11-29T12:00:00+00:00",
    "phase": "serving",
    "started": "2026-11-29T09:00:00+00:00",
    "uptime_seconds": 10800.0,
    "versions": {},
    "listeners": [":: port 443", "socket /var/lib/ipyproxy/status.sock"],
    "certificates": [
        {"names": ["hub.example.org"], "not_after": "2027-02-01T00:00:00+00:00",
         "development": False},
        {"names": ["old.example.org"], "not_after": "2026-11-01T00:00:00+00:00",
         "development": False},
    ],
    "reloads": {"done": 3, "refused": 1},
    "connections": {"open": 12, "most": 4096},
    "requests": {"total": 9, "errors": 1, "p50_seconds": 0.004, "p99_seconds": None,
                 "per_minute": [4, 5], "errors_per_minute": [0, 1]},
    "open": {"exchanges": 2, "bridges": 5},
    "upstreams_by_state": {"up": 1, "dead": 1},
    "upstreams": [
        {"port": 10000, "state": "up", "since": "2026-11-29T11:00:00+00:00", "why": None,
         "requests": 8, "errors": 0, "p50_seconds": 0.004, "p99_seconds": 1.5,
         "open": {"exchanges": 2, "bridges": 5}, "person_active": "2026-11-29T11:59:50+00:00"},
        {"port": 10001, "state": "dead", "since": None, "why": "connection refused",
         "requests": 1, "errors": 1, "p50_seconds": None, "p99_seconds": None,
         "open": {"exchanges": 0, "bridges": 0}, "person_active": None},
    ],
    "upstreams_left_out": 0,
}  # fmt: skip


def test_help_tells_of_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    for command in COMMANDS:
        word = command.__name__.rpartition(".")[2]
        assert re.search(rf"^    {word}\s", told, re.MULTILINE)


def test_the_manual_page_knows_every_command() -> None:
    page = (ROOT / "packaging" / "ipyproxy.8").read_text().replace("\\-", "-")
    for command in COMMANDS:
        assert f"ipyproxy {command.__name__.rpartition('.')[2]}" in page


def test_check_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "i.toml"
    file.write_text("[listen]\nhttsp = 443\n")
    assert main(["check", "--config", str(file)]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == (
        "",
        f'ipyproxy: {file}:2: listen.httsp: unknown key; did you mean "http"?\n',
    )


def test_the_status_in_lines() -> None:
    assert list(shown(DOCUMENT)) == [
        "serving, for 3 h",
        "1 of 2 notebooks up, 5 WebSockets, 2 requests open, 12 of at most 4096 connections",
        "last hour: 9 requests, 1 errors, half within 4.0 ms, 99 of 100 within –",
        "listens on :: port 443, socket /var/lib/ipyproxy/status.sock",
        "certificate for hub.example.org: ends in 63 days, on 2027-02-01",
        "certificate for old.example.org: EXPIRED, on 2026-11-01",
        "reloads: 3 done, 1 refused",
        "",
        "PORT   STATE                      SINCE  REQUESTS  ERRORS  P50     P99    "
        "OPEN  WS  ACTIVE",
        "10000  up                         1 h    8         0       4.0 ms  1.5 s  "
        "2     5   less than a minute",
        "10001  dead (connection refused)  -      1         1       –       –      0     0   -",
    ]


def test_the_status_comes_from_the_daemons_socket(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "i.toml"
    file.write_text("state.directory = '.'\n")
    body = json.dumps(DOCUMENT).encode()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "status.sock"))
        listener.listen()

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                asked = peer.recv(65536)
                assert asked.startswith(b"GET /_ipyproxy/status.json HTTP/1.1\r\n")
                assert b"\r\nHost: localhost\r\n" in asked
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
                peer.sendall(head + body)

        thread = threading.Thread(target=answer)
        thread.start()
        assert main(["status", "--config", str(file), "--json"]) == 0
        thread.join()
    assert json.loads(capsys.readouterr().out) == DOCUMENT


def test_a_daemon_that_does_not_run_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "i.toml"
    file.write_text("state.directory = '.'\n")
    assert main(["status", "--config", str(file)]) == 2
    said = f"ipyproxy: no daemon answers at {tmp_path}/status.sock: No such file or directory"
    assert capsys.readouterr().err.startswith(said)


def test_who_reads_may_stop_reading() -> None:
    """As "ipyproxy doctor 10000 | head -1" does."""
    code = "from ipyproxy.cli import main; import sys; sys.exit(main(sys.argv[1:]))"
    script = f'{sys.executable} -c "{code}" doctor 1 2>err | true; cat err'
    done = subprocess.run(
        ["bash", "-c", f"cd $(mktemp -d) && {script}"],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert "Error" not in done.stdout + done.stderr
