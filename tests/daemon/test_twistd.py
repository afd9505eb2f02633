"""Without systemd: twistd's own options do what twistd's users know them to do."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shutil
import subprocess
import sysconfig
import time
from pathlib import Path
from signal import SIGHUP, SIGTERM

import pytest

from tests.integration.processes import free_port, poll

from .running import LOCALHOST, PATIENCE, ROOT, Files, User

pytestmark = pytest.mark.integration
NOBODY = "nobody"


def twistd(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run twistd until it is in the background, or has given up."""
    return subprocess.run(
        [str(Path(sysconfig.get_path("scripts")) / "twistd"), *arguments],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": str(directory), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with configuration and certificate, that everybody may write to."""
    Files(tmp_path, "log.access = 'access.log'\nstate.directory = 'state'\n")
    (tmp_path / "state").mkdir()
    for path in (tmp_path, tmp_path / "state", *tmp_path.iterdir()):
        os.chown(path, pwd.getpwnam(NOBODY).pw_uid, -1)
    for parent in tmp_path.parents:
        # pytest keeps its directories to itself.
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    return tmp_path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(
    "reactor", ["epoll", "asyncio", pytest.param("select", marks=pytest.mark.soak)]
)
def test_it_goes_into_the_background_and_becomes_somebody_else(
    directory: Path, reactor: str
) -> None:
    port = free_port()
    done = twistd(
        directory, "--reactor", reactor, "--pidfile", "t.pid", "--logfile", "t.log",
        "--uid", NOBODY, "--gid", "nogroup",
        "ipyproxy", "--config", "ipyproxy.toml", "--https", f"tcp:{port}:interface={LOCALHOST}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    log = directory / "t.log"
    pid = int((directory / "t.pid").read_text())
    try:
        assert f"runs on {reactor}" in log.read_text().lower()
        user = User(port, directory / "authority.pem")
        assert asyncio.run(user.get("/")).status == 200
        status = Path(f"/proc/{pid}/status").read_text()
        assert re.search(r"^Uid:\s(\d+)", status, re.MULTILINE)[1] == "65534"  # type: ignore[index]
        # What it opens as this user it can open again.
        (directory / "access.log").rename(directory / "access.log.1")
        os.kill(pid, SIGHUP)
        wait_for(log, "#info] reloaded")
        assert asyncio.run(user.get("/")).status == 200
    finally:
        os.kill(pid, SIGTERM)
        poll(
            lambda: None if Path(f"/proc/{pid}").exists() else True,
            seconds=PATIENCE,
            waiting_for="its end",
        )
    assert not (directory / "t.pid").exists()
    assert "Traceback" not in log.read_text()
    assert (directory / "access.log").read_text().count("\n") >= 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_whom_it_becomes_is_whose_state_it_keeps(tmp_path: Path) -> None:
    """Not root's, where the certificate could be made, and never again be read."""
    options = ("-n", "--pidfile=", "ipyproxy", "--https", f"tcp:{free_port()}", "--user", NOBODY)
    done = twistd(tmp_path, *options)
    assert done.returncode == 2
    home = pwd.getpwnam(NOBODY).pw_dir
    said = f"ipyproxy: state.directory: The development certificate cannot be kept in {home}/"
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("problem", ["port", "log"])
def test_what_keeps_it_from_starting_is_told_to_whoever_starts_it(
    tmp_path: Path, problem: str
) -> None:
    Files(tmp_path, "log.access = 'no/such/directory/log'\n" if problem == "log" else "")
    endpoint = f"tcp:{free_port()}" if problem == "log" else "tcp:443:interface=192.0.2.77"
    told = "cannot listen on" if problem == "port" else "log.access: No such file or directory"
    options = ("ipyproxy", "--config", "ipyproxy.toml", "--https", endpoint)
    in_front = twistd(tmp_path, "-n", "--pidfile=", *options)
    assert in_front.returncode != 0
    assert told in in_front.stdout
    assert "Traceback" not in in_front.stdout + in_front.stderr
    behind = twistd(tmp_path, "--pidfile", "t.pid", "--logfile", "t.log", *options)
    assert behind.returncode != 0
    assert "look at log file" in behind.stderr
    wait_for(tmp_path / "t.log", told)
    assert not (tmp_path / "t.pid").exists()


def wait_for(log: Path, text: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while text not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def test_the_logrotate_snippet_is_one() -> None:
    if shutil.which("logrotate") is None:
        pytest.skip("logrotate is not installed")
    done = subprocess.run(
        ["logrotate", "--debug", str(ROOT / "etc" / "ipyproxy.logrotate")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr.lower()
