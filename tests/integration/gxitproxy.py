"""gx-it-proxy, which Galaxy itself sends people through: from npm, beside us on the same map."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from .apps import APPS
from .processes import Child, free_port

_PACKAGE = "@galaxyproject/gx-it-proxy@0.2.3"
_STAND_IN = Path(__file__).parent / "applications" / "sqlite3_by_python.js"


def installed() -> Path:
    """The directory of gx-it-proxy, got at the first use; its scripts compile, and are not run."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("Node.js is not installed (apt install nodejs npm)")
    APPS.mkdir(exist_ok=True)
    directory = APPS / "gx-it-proxy"
    package = directory / "node_modules" / "@galaxyproject" / "gx-it-proxy"
    with (APPS / "gx-it-proxy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "whole").exists():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            npm = ["npm", "install", "--prefix", str(directory), "--ignore-scripts", "--no-audit"]
            subprocess.run([*npm, "--no-fund", "--omit=optional", _PACKAGE], check=True)
            (directory / "whole").touch()
    return package


class GxItProxy:
    """gx-it-proxy on a free port, as Galaxy's gravity starts it."""

    def __init__(self, directory: Path, sessions: str, prefix: str = "/interactivetool/ep") -> None:
        self.port = free_port()
        self.child = Child(
            "gx-it-proxy",
            [
                *("node", "--require", str(_STAND_IN), str(installed() / "lib" / "main.js")),
                *("--ip", "127.0.0.1", "--port", str(self.port), "--sessions", sessions),
                *("--proxyPathPrefix", prefix),
            ],
            {"PATH": os.environ["PATH"], "HOME": str(directory)},
            directory,
        )
        self.child.wait_until(self._listens, seconds=30)

    def _listens(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0
