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
from typing import Any

ASK = signal.SIGRTMIN


def main() -> None:
    """Be twistd."""
    from twisted.internet import reactor
    from twisted.scripts.twistd import run

    from ipyproxy.net.sockets import Dial
    from ipyproxy.upstream import probes

    probed = 0

    class Counted(Dial):
        def __init__(self, *args: Any) -> None:
            nonlocal probed
            probed += 1
            super().__init__(*args)

    setattr(probes, "Dial", Counted)  # noqa: B010
    file = Path(sys.argv.pop(1))

    def write() -> None:
        gc.collect()
        found = {
            "timers": len(reactor.getDelayedCalls()),
            "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208
            "objects": len(gc.get_objects()),
            "probes": probed,
        }
        written = file.with_suffix(".new")
        written.write_text(json.dumps(found))
        written.rename(file)

    signal.signal(ASK, lambda *_: reactor.callFromThread(write))  # type: ignore[attr-defined]
    run()


if __name__ == "__main__":
    main()
