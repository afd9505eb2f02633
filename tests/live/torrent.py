"""Somebody who downloads at full speed, and where it comes from: in a process of their own.

``python -m tests.live.torrent PORT CERTIFICATE`` runs until it is ended, and says what it has got.
"""

from __future__ import annotations

import ssl
import sys

from .streams import Notebook, Stream, answer, browse, request

_SIZE = 2**40


def pour(upstream: Stream) -> None:
    """Answer without end."""
    upstream.hear_head()
    upstream.say(answer(b"Content-Length: %d" % _SIZE))
    upstream.pour(_SIZE)


def main(port: int, certificate: str) -> None:
    """Download; each 16 MiB are a line."""
    notebook = Notebook()
    with (
        notebook.serving(pour),
        browse(port, ssl.create_default_context(cafile=certificate)) as browser,
    ):
        browser.say(request(b"GET " + notebook.path))
        browser.hear_head()
        while browser.count(2**24):
            print(2**24, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
