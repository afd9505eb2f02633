"""``twistd`` on a machine with a slow disk: ``python slowdisk.py MARK SECONDS ARGUMENTS``.

While there is a file MARK, each look at a file below its directory takes so many seconds.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.scripts.twistd import run

_MARK = Path(sys.argv[1])
_SECONDS = float(sys.argv[2])


def slowed(call: Callable[..., Any]) -> Callable[..., Any]:
    """*call*, which takes a path first, as slow as the disk is now."""

    def wait_and_call(path: Any, *arguments: Any, **named: Any) -> Any:
        if str(path).startswith(str(_MARK.parent)) and os.access(_MARK, os.F_OK):
            time.sleep(_SECONDS)
        return call(path, *arguments, **named)

    return wait_and_call


os.stat = slowed(os.stat)
os.open = slowed(os.open)
del sys.argv[1:3]
run()
