"""Environments of their own for programs that the tests run but do not import."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

#: Where they are, in the checkout and left there: installing takes up to a minute.
APPS = Path(__file__).parent.parent.parent / ".venv-apps"


def environment(name: str, requirements: Sequence[str]) -> Path:
    """The directory of the virtual environment *name*, which holds *requirements*, from PyPI.

    It is made at the first use and again when the requirements change; runs at the same time wait
    for each other. Raises CalledProcessError where it cannot be made.
    """
    APPS.mkdir(exist_ok=True)
    directory = APPS / name
    holds = directory / "requirements.json"
    wanted = json.dumps([sys.version_info[:2], list(requirements)])
    with (APPS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not holds.exists() or holds.read_text() != wanted:
            shutil.rmtree(directory, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
            pip = [str(directory / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
            subprocess.run([*pip, "install", "--quiet", *requirements], check=True)
            holds.write_text(wanted)
    return directory
