"""A gate that compresses, a browser, and a notebook that the test plays."""

from __future__ import annotations

from typing import NamedTuple

from ipyproxy.encoding.codecs import CODINGS as ALL
from ipyproxy.encoding.compression import Compression, Dynamic
from ipyproxy.encoding.store import Store
from tests.encoding.bodies import decoded, script
from tests.encoding.work import Turns
from tests.http1 import grammar
from tests.web.gate import HOST, Gate, message
from tests.wires import Wire

GET = b"GET /ipython/10000/a.js HTTP/1.1"
GZIP = b"Accept-Encoding: gzip"
SCRIPT = b"Content-Type: text/javascript"
BODY = script(5000)
LARGE = script(500_000)
TAG = b'ETag: "1"'


class Heard(NamedTuple):
    """An answer, its framing undone."""

    status: int
    fields: dict[bytes, bytes]
    body: bytes

    @property
    def text(self) -> bytes:
        """The body without its coding."""
        coding = self.fields.get(b"content-encoding")
        return self.body if coding is None else decoded(coding, self.body)


def heard(stream: bytes, method: bytes = b"GET") -> Heard:
    head, _, rest = stream.partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b": ")
        assert name.lower() not in fields
        fields[name.lower()] = value
    if b"transfer-encoding" in fields and method != b"HEAD":
        chunked = grammar.chunked_body(rest)
        assert chunked is not None
        rest, behind = chunked
        assert behind == b""
    elif b"content-length" in fields and method != b"HEAD" and b" 304 " not in start:
        assert len(rest) == int(fields[b"content-length"])
    return Heard(int(start.split(b" ")[1]), fields, rest)


class Scene:
    """A gate that compresses, a browser, and the notebook at port 10000.

    :ivar idler: compresses anew when the test says so.
    """

    def __init__(self, **options: object) -> None:
        self.store = Store(1_000_000)
        self.worker, self.idler = Turns(), Turns()
        self.compression = Compression(self.store, self.worker, self.idler)
        self.configure()
        self.gate = Gate(compression=self.compression, **options)  # type: ignore[arg-type]
        self.worker.loop = self.gate.loop
        self._notebook: Wire | None = None

    def configure(self, *, dynamic: Dynamic = Dynamic.NEVER, limit: int = 1_000_000) -> None:
        self.compression.configure(ALL, limit, dynamic=dynamic)

    @property
    def notebook(self) -> Wire:
        if self._notebook is None or self._notebook.is_closed:
            self._notebook = self.gate.notebook()
        return self._notebook

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is open or being encoded."""
        return self.gate.upstream().open_work == 0 and self.compression.encoding == 0

    def tell(self, start: bytes, *lines: bytes, body: bytes = b"") -> None:
        """The notebook answers, its length stated."""
        if b" 304 " not in start:
            lines = (*lines, b"Content-Length: %d" % len(body))
        self.gate.tell(self.notebook, message(start, *lines, body=body))

    def fetch(
        self,
        *lines: bytes,
        request: bytes = GET,
        accepts: bytes = GZIP,
        body: bytes = BODY,
        host: bytes = HOST,
        status: bytes = b"200 OK",
    ) -> Heard:
        """A client asks for something that the notebook then sends with ``lines``."""
        browser = self.gate.connect()
        browser.say(message(request, host, accepts))
        self.notebook.hear()
        self.tell(b"HTTP/1.1 " + status, *lines, body=body)
        return heard(browser.hear(), request.partition(b" ")[0])

    def question(self, *lines: bytes, request: bytes = GET, host: bytes = HOST) -> bytes:
        """What the notebook is asked for a client, which then waits as :attr:`browser`."""
        self.browser = self.gate.connect()
        self.browser.say(message(request, host, *lines))
        return self.notebook.hear()
