"""The programs that the tests of this package run: JupyterHub, and the proxy it comes with.

Knows how they are installed and found, not what is asked of them.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.apps import APPS, environment

ROOT = Path(__file__).parents[2]

#: What people install, with a page for their users and a culler; and the checkout, as a package.
HUB = ("jupyterhub==6.1.*", "jupyterlab==4.6.*", "jupyterhub-idle-culler", "--editable", str(ROOT))
#: The version before, which asks its proxy by Tornado's client.
FORMER_HUB = ("jupyterhub==5.5.*", "jupyter-server", "--editable", str(ROOT))
#: What JupyterHub's own tests need besides.
_TESTS = (
    *("pytest", "pytest-asyncio", "pytest-rerunfailures", "beautifulsoup4[html5lib]"),
    *("requests-mock", "virtualenv"),
)
_CHP = "configurable-http-proxy@5.3.0"

#: The proxy under test, as a program; the code that these tests import is the code that runs.
COMMAND = (sys.executable, "-c", "from ipyproxy.cli.chp import main; main()")


def jupyterhub(*, former: bool = False) -> Path:
    """The directory with the commands of an environment that has JupyterHub."""
    if former:
        return environment("jupyterhub5", (*FORMER_HUB, *_TESTS)) / "bin"
    return environment("jupyterhub", (*HUB, *_TESTS)) / "bin"


def configurable_http_proxy() -> Path:
    """The directory with the command of that name; the test is skipped where there is no Node."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    directory = APPS / "configurable-http-proxy"
    commands = directory / "node_modules" / ".bin"
    directory.mkdir(parents=True, exist_ok=True)
    with (APPS / "configurable-http-proxy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (commands / "configurable-http-proxy").exists():
            install = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(directory), _CHP]
            subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
    return commands


def in_its_place(directory: Path) -> Path:
    """A directory, made in *directory*, where ours has the name of configurable-http-proxy."""
    commands = directory / "in-its-place"
    commands.mkdir()
    command = commands / "configurable-http-proxy"
    line = f'PYTHONPATH="{ROOT}" exec {shlex.join(COMMAND)} "$@"'
    command.write_text(f"#!/bin/sh\n{line}\n")
    command.chmod(0o755)
    return commands


def path(*directories: Path) -> str:
    """A PATH that begins with *directories*."""
    return os.pathsep.join([*map(str, directories), os.environ["PATH"]])
