"""twistd as it comes, which also writes down what it holds when it gets :data:`ASK`.

Run as a program it takes the place of twistd; its first argument is the file that it writes to.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from pathlib import Path

ASK = signal.SIGRTMIN


def main() -> None:
    """Be twistd."""
    from twisted.internet import reactor
    from twisted.scripts.twistd import run

    from ipyproxy.upstream.health import HealthChecker

    file = Path(sys.argv.pop(1))

    def write() -> None:
        gc.collect()
        objects = gc.get_objects()
        checkers = [one for one in objects if isinstance(one, HealthChecker)]
        found = {
            "timers": len(reactor.getDelayedCalls()),
            "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208
            "objects": len(objects),
            "probes": sum(one.probes.total() for one in checkers),
        }
        written = file.with_suffix(".new")
        written.write_text(json.dumps(found))
        written.rename(file)

    signal.signal(ASK, lambda *_: reactor.callFromThread(write))  # type: ignore[attr-defined]
    run()


if __name__ == "__main__":
    main()
