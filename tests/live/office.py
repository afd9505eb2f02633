"""A notebook with a small page, and a file that never ends; it takes uploads too.

``python -m tests.live.office`` says its port and serves until it is ended.
"""

from __future__ import annotations

import signal

from .streams import Notebook, Stream, answer

SMALL = bytes(1024)
LARGE = 2**30


def serve(upstream: Stream) -> None:
    """Answer one request after the other."""
    while head := upstream.hear_head():
        if head.startswith(b"POST"):
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            upstream.count(length)
        if b"large" in head.partition(b"\r\n")[0]:
            upstream.say(answer(b"Content-Length: %d" % LARGE))
            upstream.pour(LARGE)
        else:
            upstream.say(answer(b"Content-Length: %d" % len(SMALL), body=SMALL))


if __name__ == "__main__":
    notebook = Notebook()
    with notebook.serving(serve):
        print(notebook.port, flush=True)
        signal.pause()
