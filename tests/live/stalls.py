"""How long the event loop was kept by one thing at most, and by what; inside the process itself.

It is the processor's time that counts, so that other processes of the machine make no difference.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from typing import Any

_BEAT = 0.002
_LOOK = 0.004
_WORTH_A_LOOK = 0.008
_WORTH_NAMING = 0.002
_FRAMES = 4


class Stalls:
    """Beats in the event loop, and a thread that looks where the loop is while no beat comes."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._thread = threading.main_thread().ident or 0
        self._clock = time.pthread_getcpuclockid(self._thread)
        self._last = 0.0
        self._seen = ""
        self._collected_at = 0.0
        self.worst = 0.0
        """Seconds of the processor between two beats."""
        self.where = ""
        """Where the loop was seen meanwhile, and whether rubbish was collected there; empty where
        nothing could be seen in time."""

    def start(self) -> None:
        """Call it in the event loop."""
        threading.Thread(target=self._look, daemon=True).start()
        gc.callbacks.append(self._collects)
        self.forget()
        self._beat()

    def forget(self) -> None:
        """Begin anew."""
        self._last, self.worst, self.where, self._seen = time.thread_time(), 0.0, "", ""

    def _beat(self) -> None:
        now = time.thread_time()
        if now - self._last > self.worst:
            self.worst, self.where = now - self._last, self._seen
        self._last, self._seen = now, ""
        self._reactor.callLater(_BEAT, self._beat)

    def _collects(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._collected_at = time.thread_time()
        elif (took := time.thread_time() - self._collected_at) > _WORTH_NAMING:
            self._seen = f"generation {info['generation']} of the collector ({took * 1000:.1f} ms)"

    def _look(self) -> None:
        while True:
            time.sleep(_LOOK)
            took = time.clock_gettime(self._clock) - self._last
            if took > max(_WORTH_A_LOOK, self.worst):
                frame = sys._current_frames().get(self._thread)
                names: list[str] = []
                while frame is not None and len(names) < _FRAMES:
                    names.append(f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}")
                    frame = frame.f_back
                self._seen = " < ".join(names)
