"""One client takes every place of a notebook, and the notebook's own user hardly notices."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from tests.integration.processes import poll
from tests.integration.proxy import Proxy

from .streams import Notebook, Stream, answer, browse, request

pytestmark = pytest.mark.integration

ATTACKER, USER = "127.0.0.2", "127.0.0.3"
#: As many as a port has places by default.
UPLOADS = 128
#: Half a second's worth, just above limits.body_rate.
PIECE = bytes(300)
ASKED = 40
#: Seconds; far above what the user waits, and far below what a request waits for a place.
AT_ONCE = 2.0

EMPTY = answer(b"Content-Length: 0")


class Uploads:
    """Keeps up so many uploads from one address; one that is ended begins anew."""

    def __init__(self, proxy: Proxy, tls: ssl.SSLContext, notebook: Notebook) -> None:
        self._proxy = proxy
        self._tls = tls
        self._start = request(b"POST " + notebook.path, b"Content-Length: 10000000") + PIECE
        self._streams: list[Stream] = []

    def begin(self) -> None:
        """Begin them all."""
        self._streams = [self._another() for _ in range(UPLOADS)]

    def _another(self) -> Stream:
        stream = browse(self._proxy.port, self._tls, source=ATTACKER)
        stream.say(self._start)
        return stream

    def keep_up(self, over: threading.Event) -> None:
        """Send a piece of each every half a second."""
        while not over.wait(0.5):
            for number, stream in enumerate(self._streams):
                if not stream.is_closed_within(0):
                    with suppress(OSError):
                        stream.say(PIECE)
                        continue
                stream.close()
                with suppress(OSError):
                    self._streams[number] = self._another()

    def end(self) -> None:
        """Hang up."""
        for stream in self._streams:
            stream.close()


@contextmanager
def going_on(uploads: Uploads) -> Iterator[None]:
    """Keep them up meanwhile."""
    over = threading.Event()
    keeping = threading.Thread(target=uploads.keep_up, args=(over,))
    keeping.start()
    try:
        yield
    finally:
        over.set()
        keeping.join()
        uploads.end()


def test_a_hundred_and_twenty_eight_uploads_leave_the_notebook_to_its_user(
    front: Proxy, tls: ssl.SSLContext, notebook: Notebook
) -> None:
    uploading: set[Stream] = set()

    def serve(stream: Stream) -> None:
        while head := stream.hear_head():
            if head.startswith(b"POST"):
                uploading.add(stream)
                stream.hear_rest()
                return
            stream.say(EMPTY)

    with ExitStack() as stack:
        stack.enter_context(notebook.serving(serve))
        uploads = Uploads(front, tls, notebook)
        uploads.begin()
        stack.enter_context(going_on(uploads))
        poll(lambda: len(uploading) >= UPLOADS or None, seconds=20, waiting_for="all the uploads")
        browser = stack.enter_context(browse(front.port, tls, source=USER))
        statuses, waits = [], []
        for _ in range(ASKED):
            began = time.monotonic()
            browser.say(request(b"GET " + notebook.path))
            statuses.append(browser.hear_status())
            waits.append(time.monotonic() - began)
            time.sleep(0.1)
    print(f"worst wait {max(waits) * 1e3:.0f} ms, median {sorted(waits)[ASKED // 2] * 1e3:.0f} ms")
    assert statuses == [200] * ASKED
    assert max(waits) < AT_ONCE
