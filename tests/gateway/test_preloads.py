"""What a page is going to ask for: learnt of its visitors, and told to the next: all bytes.

The file is long because it is one conversation: each test is about the same page and its visitors.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Any

import pytest

from ipyproxy.encoding.compression import Compression, Dynamic
from ipyproxy.encoding.store import Store
from ipyproxy.gateway import preloads as rules
from ipyproxy.gateway.preloads import Preloads
from ipyproxy.http.forwarding import TrustedProxies
from ipyproxy.http1.head import HeadLimits, parse_request
from ipyproxy.http1.lines import SpecialFields
from ipyproxy.net.sockdiag import Listener
from ipyproxy.net.tcp import FIRST_READ
from tests.encoding.work import Turns
from tests.web.gate import HOST, Gate, message
from tests.wires import Wire

PAGE = b"/ipython/10000/lab"
HTML = b"Content-Type: text/html; charset=UTF-8"
SCRIPT = b"Content-Type: text/javascript"
BODY = bytes(2000)

DOCUMENT = (b"Sec-Fetch-Dest: document", b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Site: none")
OF_THE_PAGE = (
    b"Sec-Fetch-Dest: script",
    b"Sec-Fetch-Mode: no-cors",
    b"Sec-Fetch-Site: same-origin",
    b"Referer: https://hub.example/ipython/10000/lab?reset",
)


class Scene:
    """A gate, visitors, and the notebook at port 10000."""

    def __init__(self, **options: Any) -> None:
        self.gate = Gate(preloads=Preloads(), **options)
        self._notebook: Wire | None = None

    def ask(
        self,
        target: bytes,
        *lines: bytes,
        answer: tuple[bytes, ...] = (SCRIPT,),
        status: bytes = b"200 OK",
        method: bytes = b"GET",
        client: str = "192.0.2.1",
        body: bytes = BODY,
    ) -> list[bytes]:
        """The Link fields that a client gets with what it asks for."""
        browser = self.gate.connect(client)
        browser.say(message(b"%b %b HTTP/1.1" % (method, target), HOST, *lines))
        if self._notebook is None or self._notebook.is_closed:
            self._notebook = self.gate.notebook()
        self._notebook.hear()
        told = message(
            b"HTTP/1.1 " + status, *answer, b"Content-Length: %d" % len(body),
            body=b"" if method == b"HEAD" else body,
        )  # fmt: skip
        self.gate.tell(self._notebook, told)
        head = browser.hear().partition(b"\r\n\r\n")[0]
        self.head = head
        return [line for line in head.split(b"\r\n") if line.lower().startswith(b"link:")]

    def visit(self, target: bytes = PAGE + b"?reset", *, client: str = "192.0.2.1") -> list[bytes]:
        return self.ask(target, *DOCUMENT, answer=(HTML,), client=client)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_the_second_visitor_is_told_what_the_first_has_asked_for(scene: Scene) -> None:
    assert scene.visit() == []
    scene.ask(b"/ipython/10000/static/lab/main.1f.js?v=1f", *OF_THE_PAGE)
    scene.ask(b"/ipython/10000/lab/ext.js", *OF_THE_PAGE)
    style = b"Sec-Fetch-Dest: style"
    scene.ask(b"/ipython/10000/a.css", style, *OF_THE_PAGE[1:], answer=(b"Content-Type: text/css",))
    (link,) = scene.visit(PAGE + b"?token=secret", client="192.0.2.2")
    assert link == (
        b"Link: <static/lab/main.1f.js?v=1f>;rel=preload;as=script, "
        b"<lab/ext.js>;rel=preload;as=script, <a.css>;rel=preload;as=style"
    )
    # The page in another directory needs other references.
    deep = b"/ipython/10000/lab/tree/x"
    assert scene.visit(deep) == []
    referer = b"Referer: https://hub.example" + deep
    scene.ask(b"/ipython/10000/static/b.js", *OF_THE_PAGE[:3], referer)
    assert scene.visit(deep) == [b"Link: </ipython/10000/static/b.js>;rel=preload;as=script"]


def test_the_largest_is_named_first_and_the_others_as_they_were_asked_for(scene: Scene) -> None:
    scene.visit()
    for name, size in ((b"a", 2000), (b"b", 90_000), (b"c", 1), (b"d", 50_000)):
        scene.ask(b"/ipython/10000/%b.js" % name, *OF_THE_PAGE, body=bytes(size))
    (link,) = scene.visit()
    assert re.findall(rb"<(\w)\.js>", link) == [b"b", b"a", b"c", b"d"]


A = b"/ipython/10000/a.js"
DEST, MODE, SITE, REFERER = OF_THE_PAGE


@pytest.mark.parametrize(
    ("target", "lines", "answer"),
    [
        (A + b"?token=secret", OF_THE_PAGE, SCRIPT),
        (A + b"?v=1&v=2", OF_THE_PAGE, SCRIPT),
        (A + b"?v=" + b"1" * 65, OF_THE_PAGE, SCRIPT),
        (b"/ipython/10000/" + b"a" * 300 + b".js", OF_THE_PAGE, SCRIPT),
        (b"/ipython/10000/a,b.js", OF_THE_PAGE, SCRIPT),
        (A, (b"Sec-Fetch-Dest: empty", MODE, SITE, REFERER), SCRIPT),
        (A, (DEST, DEST, MODE, SITE, REFERER), SCRIPT),
        (A, (DEST, b"Sec-Fetch-Mode: cors", SITE, REFERER), SCRIPT),
        (A, (DEST, MODE, b"Sec-Fetch-Site: cross-site", REFERER), SCRIPT),
        (A, (DEST, MODE, SITE), SCRIPT),
        (A, (DEST, MODE, SITE, REFERER, REFERER), SCRIPT),
        (A, (DEST, MODE, SITE, b"Referer: https://hub.example/ipython/10000/tree"), SCRIPT),
        (A, (DEST, MODE, SITE, b"Referer: https://evil.example/ipython/10000/lab"), SCRIPT),
        (A, OF_THE_PAGE, SCRIPT + b"\r\nCache-Control: no-store"),
        # What answers otherwise may do something when it is asked for.
        (b"/ipython/10000/logout", OF_THE_PAGE, HTML),
        (b"/ipython/10000/a.js", OF_THE_PAGE, b"Content-Type: text/css"),
        (b"/ipython/10000/a.js", OF_THE_PAGE, b"X-Content-Type: text/javascript"),
        (b"/ipython/10000/a.css", (b"Sec-Fetch-Dest: style", MODE, SITE, REFERER), SCRIPT),
    ],
)
def test_what_is_not_told_of(
    scene: Scene, target: bytes, lines: tuple[bytes, ...], answer: bytes
) -> None:
    scene.visit()
    scene.ask(target, *lines, answer=(answer,))
    assert scene.visit() == []


@pytest.mark.parametrize("status", [b"404 Not Found", b"302 Found", b"403 Forbidden"])
def test_what_is_not_there_is_not_told_of(scene: Scene, status: bytes) -> None:
    scene.visit()
    scene.ask(b"/ipython/10000/a.js", *OF_THE_PAGE, status=status)
    assert scene.visit() == []


def test_whoever_has_not_got_the_page_teaches_nothing(scene: Scene) -> None:
    scene.ask(PAGE, *DOCUMENT, answer=(HTML,), status=b"403 Forbidden", client="192.0.2.66")
    scene.ask(b"/ipython/10000/evil.js", *OF_THE_PAGE, client="192.0.2.66")
    scene.visit()
    scene.ask(b"/ipython/10000/evil.js", *OF_THE_PAGE, client="192.0.2.66")
    assert scene.visit() == []


def test_what_is_asked_for_later_is_no_part_of_the_page(scene: Scene) -> None:
    scene.visit()
    scene.gate.loop.advance(rules.LEARNING + 1)
    scene.ask(b"/ipython/10000/late.js", *OF_THE_PAGE)
    assert scene.visit() == []


def test_only_whoever_gets_the_page_is_told(scene: Scene) -> None:
    scene.visit()
    scene.ask(b"/ipython/10000/a.js", *OF_THE_PAGE)
    html = (HTML,)
    assert scene.ask(PAGE, *DOCUMENT, answer=html, status=b"403 Forbidden") == []
    assert scene.ask(PAGE, *DOCUMENT, answer=html, status=b"404 Not Found") == []
    assert scene.ask(PAGE, *DOCUMENT, answer=html, method=b"HEAD") == []
    assert scene.ask(PAGE, *DOCUMENT, answer=(b"Content-Type: text/plain",)) == []
    assert scene.ask(PAGE, answer=html) == []
    assert scene.ask(PAGE, b"Sec-Fetch-Dest: iframe", *DOCUMENT[1:], answer=html) == []
    assert scene.visit(b"/ipython/10000/tree") == []
    assert len(scene.visit()) == 1


@pytest.mark.parametrize(("proxies", "longest"), [((), 8192), (("192.0.2.1",), 4096)])
def test_the_head_stays_below_what_proxies_take_and_the_last_are_left_out(
    proxies: tuple[str, ...], longest: int
) -> None:
    scene = Scene(proxies=TrustedProxies([ip_network(proxy) for proxy in proxies]))
    scene.visit()
    for number in range(10, 74):
        path = b"/ipython/10000/lab/extensions/another-extension/static/"
        target = path + b"%d.7d0c8b1e5f2a4d39.js?v=7d0c8b1e5f2a4d39" % number
        scene.ask(target, *OF_THE_PAGE)
    (link,) = scene.ask(PAGE, *DOCUMENT, answer=(HTML, b"Set-Cookie: a=" + b"b" * 1400))
    assert longest - 300 < len(scene.head) < longest
    names = re.findall(rb"<(?:[a-z-]+/)+(\d+)\.", link)
    assert names == [b"%d" % number for number in range(10, 10 + len(names))]
    assert scene.ask(PAGE, *DOCUMENT, answer=(HTML, b"X-Long: " + b"b" * 8000)) == []


CONFIGURATION = (
    b'<!doctype html><html><head><script id="jupyter-config-data" type="application/json">%b'
    b'</script><script defer="defer" src="/ipython/10000/static/lab/main.js?v=1f"></script>'
)
EXTENSIONS = (
    b'{"fullLabextensionsUrl": "/ipython/10000/lab/extensions", "federated_extensions": '
    b'[{"name": "@a/b", "load": "static/entry.1f.js"}, {"name": "c", "load": "static/entry.js"}]}'
)


class TestTheFirstVisitor:
    """Nothing is known of the page but what it says itself."""

    def told(self, scene: Scene, body: bytes, *answer: bytes, **options: Any) -> list[bytes]:
        return scene.ask(PAGE, *DOCUMENT, answer=(HTML, *answer), body=body, **options)

    def test_learns_of_the_extensions_with_the_head_of_the_page(self, scene: Scene) -> None:
        assert self.told(scene, CONFIGURATION % EXTENSIONS) == [
            b"Link: </ipython/10000/static/lab/main.js?v=1f>;rel=preload;as=script, "
            b"</ipython/10000/lab/extensions/@a/b/static/entry.1f.js>;rel=preload;as=script, "
            b"</ipython/10000/lab/extensions/c/static/entry.js>;rel=preload;as=script"
        ]
        # What was asked for says more.
        scene.ask(A, *OF_THE_PAGE)
        assert self.told(scene, CONFIGURATION % EXTENSIONS) == [
            b"Link: <a.js>;rel=preload;as=script"
        ]

    def test_gets_all_of_the_page(self, scene: Scene) -> None:
        browser, page = scene.gate.connect(), CONFIGURATION % EXTENSIONS
        browser.say(message(b"GET %b HTTP/1.1" % PAGE, HOST, *DOCUMENT))
        notebook = scene.gate.notebook()
        notebook.hear()
        length = b"Content-Length: %d" % (len(page) + 4)
        scene.gate.tell(notebook, message(b"HTTP/1.1 200 OK", HTML, length, body=page))
        head, _, body = browser.hear().partition(b"\r\n\r\n")
        assert b"\r\nLink: " in head
        assert body == page
        scene.gate.tell(notebook, b"more")
        assert browser.hear() == b"more"

    def test_does_not_wait_for_a_body_that_has_not_come(self, scene: Scene) -> None:
        browser, page = scene.gate.connect(), CONFIGURATION % EXTENSIONS
        browser.say(message(b"GET %b HTTP/1.1" % PAGE, HOST, *DOCUMENT))
        notebook = scene.gate.notebook()
        notebook.hear()
        length = b"Content-Length: %d" % len(page)
        scene.gate.tell(notebook, message(b"HTTP/1.1 200 OK", HTML, length))
        head = browser.hear()
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Link: " not in head
        scene.gate.tell(notebook, page)
        assert browser.hear() == page

    def test_does_not_wait_for_more_than_the_frame_of_a_chunk(self, scene: Scene) -> None:
        browser = scene.gate.connect()
        browser.say(message(b"GET %b HTTP/1.1" % PAGE, HOST, *DOCUMENT))
        notebook = scene.gate.notebook()
        notebook.hear()
        head = message(b"HTTP/1.1 200 OK", HTML, b"Transfer-Encoding: chunked", body=b"f00\r\n")
        # The first read ends where the chunk's data does.
        filling = b"X-Filling: %b\r\n\r\n" % bytes(b"x" * (FIRST_READ - 0xF00 - len(head) - 13))
        head = head.replace(b"\r\n\r\n", b"\r\n" + filling)
        assert len(head) + 0xF00 == FIRST_READ
        scene.gate.tell(notebook, head + b"p" * 0xF00 + b"\r\n")
        assert browser.hear().endswith(b"p" * 0xF00 + b"\r\n")

    def test_gets_an_empty_page(self, scene: Scene) -> None:
        assert self.told(scene, b"") == []
        assert scene.head.startswith(b"HTTP/1.1 200 OK\r\n")

    @pytest.mark.parametrize(
        "said",
        [
            b"",
            b"{",
            b"[" * 60_000,
            b"[]",
            b"{}",
            EXTENSIONS.replace(b"/ipython/10000/lab", b"//evil.example"),
            EXTENSIONS.replace(b"/ipython/10000/lab", b"https://evil.example"),
            EXTENSIONS.replace(b'"@a/b"', b'"a>; rel=x, <b"').replace(b'"c"', b"7"),
            EXTENSIONS.replace(b'"@a/b"', b'"a\\r\\nSet-Cookie: b"').replace(b'"c"', b"null"),
            EXTENSIONS.replace(b"entry", b"entry?token=secret&"),
            b" " * 70_000 + EXTENSIONS,
        ],
    )
    def test_is_told_of_files_of_this_host_only(self, scene: Scene, said: bytes) -> None:
        told = self.told(scene, CONFIGURATION % said)
        assert scene.head.startswith(b"HTTP/1.1 200 OK\r\n")
        main = b"Link: </ipython/10000/static/lab/main.js?v=1f>;rel=preload;as=script"
        assert told in ([], [main])
        assert b"Cookie" not in scene.head

    def test_is_told_of_so_many(self, scene: Scene) -> None:
        one = b'{"name": "another-extension", "load": "static/entry.7d0c8b1e5f2a4d39.js"}'
        said = EXTENSIONS.replace(b"[", b"[" + b", ".join([one] * 500) + b", ")
        (link,) = self.told(scene, CONFIGURATION % said)
        assert link.count(b"another-extension") == 64
        (link,) = self.told(scene, CONFIGURATION % said, b"X-Long: " + b"b" * 7000)
        assert 4 < link.count(b"another-extension") < 64
        assert len(scene.head) < 8192

    def test_of_an_error_learns_nothing(self, scene: Scene) -> None:
        page = CONFIGURATION % EXTENSIONS
        assert self.told(scene, page, status=b"403 Forbidden") == []
        assert self.told(scene, page, method=b"HEAD") == []

    def test_of_a_page_that_breaks_off_gets_an_error(self, scene: Scene) -> None:
        browser = scene.gate.connect()
        browser.say(message(b"GET %b HTTP/1.1" % PAGE, HOST, *DOCUMENT))
        notebook = scene.gate.notebook()
        notebook.hear()
        chunked = b"Transfer-Encoding: chunked"
        scene.gate.tell(notebook, message(b"HTTP/1.1 200 OK", HTML, chunked, body=b"nonsense\r\n"))
        assert browser.hear().startswith(b"HTTP/1.1 502 ")


def test_small_files_are_a_part_as_well(scene: Scene) -> None:
    scene.visit()
    scene.ask(A, *OF_THE_PAGE, body=b"1")
    assert scene.visit() == [b"Link: <a.js>;rel=preload;as=script"]


def test_the_next_tenant_of_a_port_begins_anew(scene: Scene) -> None:
    scene.gate.listeners[10000] = Listener(1000, 1)
    scene.visit()
    scene.ask(b"/ipython/10000/a.js", *OF_THE_PAGE)
    assert len(scene.visit()) == 1
    scene.gate.listeners[10000] = Listener(1001, 2)
    scene.gate.tenants.sweep(1)
    scene.gate.loop.settle()
    assert scene.visit() == []


def test_what_comes_out_of_use_is_forgotten(scene: Scene) -> None:
    scene.visit()
    scene.ask(b"/ipython/10000/old.js", *OF_THE_PAGE)
    for _ in range(rules.RENEWED_AFTER):
        assert len(scene.visit()) == 1
    assert scene.visit() == []
    scene.ask(b"/ipython/10000/new.js", *OF_THE_PAGE)
    assert scene.visit() == [b"Link: <new.js>;rel=preload;as=script"]


def test_a_file_that_is_kept_compressed_counts_as_well() -> None:
    """The notebook answers 304, and the visitor gets it all the same."""
    compression = Compression(Store(1_000_000), Turns(), Turns())
    compression.configure((b"gzip",), 1_000_000, dynamic=Dynamic.NEVER)
    scene = Scene(compression=compression)
    gzip, tag = b"Accept-Encoding: gzip", b'ETag: "1"'
    scene.ask(A, gzip, answer=(SCRIPT, tag))
    scene.visit()
    scene.ask(A, gzip, *OF_THE_PAGE, answer=(tag,), status=b"304 Not Modified", body=b"")
    assert scene.head.startswith(b"HTTP/1.1 200 ")
    assert scene.visit() == [b"Link: <a.js>;rel=preload;as=script"]


def test_no_address_leads_to_another_host() -> None:
    preloads = Preloads()
    told, public = SpecialFields(), b"https://hub.example"
    told[b"content-type"] = [b"text/html"]

    def answered(target: bytes, *lines: bytes) -> bytes:
        block = b"\r\n".join([b"GET %b HTTP/1.1" % target, HOST, *lines])
        head = parse_request(block, HeadLimits())
        fields = b"" if lines == DOCUMENT else SCRIPT + b"\r\n"
        args = (head, public, told, fields, "client")
        return preloads.answered("owner", *args, now=0.0, size=0, longest=4000) or b""

    page = (DEST, MODE, SITE, b"Referer: https://hub.example/lab")
    assert answered(b"/lab", *DOCUMENT) == b""
    answered(b"//evil.example/a.js", *page)
    assert answered(b"/lab", *DOCUMENT) == b""
    # Nor does what is left of one that is near the page.
    answered(b"/x//evil.example/a.js", *page)
    assert b"<x//evil.example/a.js>" in answered(b"/lab", *DOCUMENT)
    answered(b"/x/", *DOCUMENT)
    answered(b"/x//evil.example/a.js", DEST, MODE, SITE, b"Referer: https://hub.example/x/")
    assert b"</x//evil.example/a.js>" in answered(b"/x/", *DOCUMENT)


class TestBounds:
    """One upstream, one client, one page take no more than their part."""

    def told(self, preloads: Preloads, owner: str, path: bytes, client: str = "a") -> bytes:
        lines = b"\r\n".join([b"GET %b HTTP/1.1" % path, HOST, *DOCUMENT])
        head = parse_request(lines, HeadLimits())
        html = SpecialFields()
        html[b"content-type"] = [b"text/html"]
        args = (owner, head, b"https://hub.example", html, b"", client)
        return preloads.answered(*args, now=0.0, size=0, longest=4000) or b""

    def teach(self, preloads: Preloads, owner: str, path: bytes, client: str = "a") -> None:
        referer = b"Referer: https://hub.example" + path
        lines = b"\r\n".join([b"GET /x.js HTTP/1.1", HOST, *OF_THE_PAGE[:3], referer])
        head, public = parse_request(lines, HeadLimits()), b"https://hub.example"
        args = (owner, head, public, SpecialFields(), SCRIPT + b"\r\n", client)
        preloads.answered(*args, now=1.0, size=0, longest=4000)

    def test_those_who_have_many_pages_push_out_their_own(self) -> None:
        preloads = Preloads()
        for owner in ("modest", "greedy"):
            for number in range(3 if owner == "modest" else 1000):
                path = b"/p%d" % number
                self.told(preloads, owner, path)
                self.teach(preloads, owner, path)
        assert self.told(preloads, "modest", b"/p0")
        assert self.told(preloads, "greedy", b"/p999")
        assert not self.told(preloads, "greedy", b"/p0")

    def test_so_many_upstreams(self) -> None:
        preloads = Preloads()
        for number in range(1000):
            self.told(preloads, str(number), b"/p")
            self.teach(preloads, str(number), b"/p")
        known = [n for n in range(1000) if self.told(preloads, str(n), b"/p")]
        assert known == []  # each of these questions was news, and the oldest had to go
        self.teach(preloads, "999", b"/p")
        assert self.told(preloads, "999", b"/p")

    def test_so_many_visitors_teach_at_a_time(self) -> None:
        preloads = Preloads()
        for number in range(1000):
            self.told(preloads, "o", b"/p", str(number))
        self.teach(preloads, "o", b"/p", "0")
        assert not self.told(preloads, "o", b"/p", "999")
        self.teach(preloads, "o", b"/p", "999")
        assert self.told(preloads, "o", b"/p", "999")
