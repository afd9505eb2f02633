"""twistd, which says on SIGUSR2 what it holds: timers, descriptors, and objects of ours; and its
worst stall since it was asked last.

    python -m tests.live.counted -n ipyproxy ...

One line on standard output each time: the word ``holds``, and JSON.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.scripts.twistd import run

from ipyproxy.daemon.memory import trim

from .stalls import Stalls

running: Any = reactor
stalls = Stalls(reactor)


def holdings() -> dict[str, Any]:
    """What the process holds, rubbish and free memory aside."""
    stall = {"seconds": stalls.worst, "where": stalls.where}
    gc.collect()
    trim()
    objects = Counter(
        type(thing).__qualname__
        for thing in gc.get_objects()
        if str(type(thing).__module__).startswith(("ipyproxy.", "autobahn.", "OpenSSL."))
        or isinstance(thing, Deferred)
    )
    stalls.forget()
    return {
        "stall": stall,
        "timers": len(running.getDelayedCalls()),
        "descriptors": len([*Path("/proc/self/fd").iterdir()]),
        "objects": objects,
        "resident": resident(),
    }


def resident() -> int:
    """Bytes of memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def tell(*_: object) -> None:
    """Called by the signal; between two events is the time to look."""
    # Not the standard output that twistd has put in its place.
    where = sys.__stdout__
    running.callFromThread(lambda: print("holds", json.dumps(holdings()), file=where, flush=True))


if __name__ == "__main__":
    running.callWhenRunning(stalls.start)
    running.callWhenRunning(signal.signal, signal.SIGUSR2, tell)
    sys.exit(run())
