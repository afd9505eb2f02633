"""Applications at routes, with real software: gunicorn on UNIX sockets, uvicorn with TLS."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets import Origin
from websockets.sync.client import connect

from tests.certificates import Authority
from tests.integration.apps import environment
from tests.integration.processes import Child, free_port
from tests.integration.proxy import Proxy
from tests.tlssocket import TLSSocket

pytestmark = pytest.mark.integration

APPLICATIONS = Path(__file__).parent / "applications"
PROGRAMS = ("gunicorn==23.0.0", "uvicorn==0.38.0", "websockets==15.0.1")
#: Seconds of silence between two events; longer forms are tests with a played clock.
SILENCE = 2.0

CONFIGURATION = """
[tls]
certificate = "server.pem"
key = "server.key"

[site]
hosts = ["localhost"]

[health]
interval = 0.2
idle_interval = 0.2

[[routes]]
to = ["unix:{directory}/one.sock", "unix:{directory}/two.sock"]

[[routes]]
path = "/reports"
to = "unix:{directory}/one.sock"
strip = true

[[routes]]
host = "echo.example.org"
to = "https://127.0.0.1:{port}"
tls_ca = "authority.pem"
headers = {{ X-Robots-Tag = "none" }}
"""


def gunicorn(programs: Path, directory: Path, name: str) -> Child:
    path = directory / f"{name}.sock"
    command = [
        *(str(programs / "bin" / "gunicorn"), "--bind", f"unix:{path}", "--threads", "8"),
        *("--chdir", str(APPLICATIONS), "--forwarded-allow-ips", "*", "wsgi_app:application"),
    ]
    child = Child(f"gunicorn-{name}", command, {"PATH": os.environ["PATH"]}, directory)
    child.wait_until(lambda: listens(str(path)), seconds=30)
    return child


def listens(where: str | tuple[str, int]) -> bool:
    family = socket.AF_UNIX if isinstance(where, str) else socket.AF_INET
    with socket.socket(family) as sock:
        return sock.connect_ex(where) == 0


class Site:
    """The proxy, two gunicorns and one uvicorn behind it, and clients."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.programs = environment("servers", PROGRAMS)
        authority = Authority()
        authority.write(directory, "authority")
        authority.issue("localhost", "echo.example.org").write(directory)
        certificate, key = authority.issue("127.0.0.1").write(directory, "app")
        self.port = free_port()
        self.servers = {name: gunicorn(self.programs, directory, name) for name in ("one", "two")}
        self.servers["echo"] = Child(
            "uvicorn",
            [
                *(str(self.programs / "bin" / "uvicorn"), "--port", str(self.port)),
                *("--app-dir", str(APPLICATIONS), "--lifespan", "off"),
                *("--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)),
                "asgi_echo:application",
            ],
            {"PATH": os.environ["PATH"]},
            directory,
        )
        self.servers["echo"].wait_until(lambda: listens(("127.0.0.1", self.port)), seconds=30)
        self.proxy = Proxy(
            directory,
            CONFIGURATION.format(directory=directory, port=self.port),
            trusted=directory / "authority.pem",
        )
        self.tls = self.proxy.client_tls()

    def connect(self, host: str = "localhost") -> ssl.SSLSocket:
        sock = socket.create_connection(("127.0.0.1", self.proxy.port), timeout=20)
        return self.tls.wrap_socket(sock, server_hostname=host)

    def ask(
        self, path: str, method: str = "GET", host: str = "localhost", **more: Any
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, fields and body of an answer."""
        connection = http.client.HTTPConnection(host, self.proxy.port)
        connection.sock = self.connect(host)
        connection.request(method, path, **more)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers, body

    def stop(self) -> None:
        assert self.proxy.child.stop() == 0, self.proxy.child.log_tail()
        for child in self.servers.values():
            child.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    running = Site(tmp_path_factory.mktemp("routes"))
    yield running
    running.stop()


def test_an_application_is_told_who_asks_and_for_what(site: Site) -> None:
    fields = {"Cookie": "galaxysession=1", "Origin": "https://genome.example.com"}
    status, _, body = site.ask("/a%20b?c=d", headers={**fields, "X-URL-SCHEME": "http"})
    assert status == 200
    told = json.loads(body)
    host = f"localhost:{site.proxy.port}"
    assert (told["PATH_INFO"], told["QUERY_STRING"]) == ("/a b", "c=d")
    assert (told["HTTP_HOST"], told["HTTP_X_FORWARDED_HOST"]) == (host, host)
    assert told["wsgi.url_scheme"] == "https"
    assert told["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"
    assert told["HTTP_COOKIE"] == "galaxysession=1"
    assert told["HTTP_ORIGIN"] == "https://genome.example.com"
    assert "HTTP_X_URL_SCHEME" not in told


def test_a_prefix_is_taken_off_and_put_back(site: Site) -> None:
    told = json.loads(site.ask("/reports/x")[2])
    assert (told["PATH_INFO"], told["HTTP_X_FORWARDED_PREFIX"]) == ("/x", "/reports")
    status, fields, _ = site.ask("/reports/login")
    assert (status, fields["Location"]) == (302, "/reports/welcome")
    assert fields["Set-Cookie"] == "s=1; Path=/"


def test_events_come_when_they_are_sent(site: Site) -> None:
    with site.connect() as sock:
        sock.sendall(
            b"GET /events?%.1f HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % (SILENCE, site.proxy.port)
        )
        heard = b""
        times: list[float] = []
        while len(times) < 3:
            heard += sock.recv(65536)
            times += [time.monotonic()] * (heard.count(b"data: ") - len(times))
    # Kept back, they would come together.
    assert min(times[1] - times[0], times[2] - times[1]) > SILENCE / 4


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_of_100_mb_arrives_whole(site: Site, chunked: bool) -> None:
    piece, count = os.urandom(1_000_000), 100
    expected = hashlib.sha256(piece * count).hexdigest()
    fields = {} if chunked else {"Content-Length": str(len(piece) * count)}
    pieces = (piece for _ in range(count))
    status, _, body = site.ask(
        "/upload", "PUT", body=pieces, headers=fields, encode_chunked=chunked
    )
    assert status == 200
    assert json.loads(body) == {"sha256": expected, "size": len(piece) * count}


def test_a_websocket_to_a_server_with_tls(site: Site) -> None:
    sock: Any = TLSSocket(("127.0.0.1", site.proxy.port), site.tls, 20, "echo.example.org")
    url = f"ws://echo.example.org:{site.proxy.port}/a/b"
    origin = Origin("https://other.example")
    with connect(url, sock=sock, origin=origin) as there:
        told = json.loads(there.recv())
        assert told == {
            "origin": "https://other.example",
            "host": f"echo.example.org:{site.proxy.port}",
            "path": "/a/b",
        }
        for said in "hello", b"x" * 100_000:
            there.send(said)
            assert there.recv() == said
    status, fields, body = site.ask("/", host="echo.example.org")
    assert (status, body) == (200, b"https")
    assert fields["X-Robots-Tag"] == "none"


def test_if_one_of_two_servers_ends_the_other_is_asked(site: Site) -> None:
    """And an application that is gone gets an honest page."""
    one, two = site.servers["one"], site.servers["two"]
    try:
        one.stop()
        assert {site.ask("/", "POST", body=b"x")[0] for _ in range(20)} == {200}
        os.kill(two.pid, signal.SIGKILL)
        two.stop()
        status, fields, body = site.ask("/", headers={"Accept": "text/html"})
        assert (status, "Retry-After" in fields) == (503, True)
        assert b"The application is not running" in body
    finally:
        for name in "one", "two":
            (site.directory / f"{name}.sock").unlink(missing_ok=True)
            site.servers[name] = gunicorn(site.programs, site.directory, name)
    deadline = time.monotonic() + 20
    while site.ask("/")[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
