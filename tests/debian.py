"""The Debian package, built once for all tests that want it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHON = "/usr/bin/python3"
_FILES = ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in")
_DIRECTORIES = ("docs", "etc", "ipyproxy", "packaging", "twisted")


def run(*command: str | Path, **more: str) -> str:
    """What a command prints; it is to succeed."""
    env = {**os.environ, **more}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def why_not() -> str:
    """Why no package can be built here; empty if one can."""
    for tool, package in (("dpkg-deb", "dpkg"), ("strip", "binutils"), ("gcc", "gcc")):
        if shutil.which(tool) is None:
            return f"{package} is not installed"
    if subprocess.run([PYTHON, "-c", "import ensurepip"], capture_output=True).returncode:
        return "python3-venv is not installed"
    return ""


def build(directory: Path) -> Path:
    """The package, built in a copy of the checkout in ``directory``, so that none is left in it."""
    for name in _DIRECTORIES:
        shutil.copytree(
            ROOT / name,
            directory / name,
            ignore=shutil.ignore_patterns("__pycache__", "dropin.cache", "_build"),
        )
    for name in _FILES:
        shutil.copy(ROOT / name, directory)
    told = run(directory / "packaging" / "deb", SOURCE_DATE_EPOCH="1700000000")
    assert told.splitlines()[-1].startswith("==> Done: apt-get install ./dist/ipyproxy_")
    (built,) = (directory / "dist").glob("*.deb")
    return built


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
