"""Requests to an authority over real TLS: whom it believes, and what it does not put up with."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from twisted.internet.address import HostnameAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.client import ResponseNeverReceived

from ipyproxy.acme.client import Task
from ipyproxy.acme.documents import AcmeError, Challenge
from ipyproxy.acme.proofs import Http
from ipyproxy.acme.store import Store
from ipyproxy.acme.web import MOST_BYTES, Web, _explained
from tests.acme.office import at_once
from tests.certificates import Authority


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/endless":
            self._answer(200, bytes(MOST_BYTES + 1))
        elif self.path == "/away":
            self._answer(302, b"", Location="https://elsewhere.example/")
        elif self.path == "/silent":
            time.sleep(2)
            self.close_connection = True
        elif self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"so far")
            self.close_connection = True
        else:
            self._answer(200, b"{}", **{"Replay-Nonce": "n1", "Retry-After": "5"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        said = f"{self.headers['Content-Type']} {self.headers['User-Agent'].split('/')[0]} "
        self._answer(201, said.encode() + body)

    def do_HEAD(self) -> None:
        self._answer(200, b"", **{"Replay-Nonce": "n2"})

    def _answer(self, status: int, body: bytes, **fields: str) -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def port(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    directory = tmp_path_factory.mktemp("server")
    certificate, key = authority.issue("127.0.0.1").write(directory)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()


# Twisted's TLS knows the process's own reactor only, so there is a process for it.
ASK = """\
import json, sys
from pathlib import Path
from cryptography.x509 import load_pem_x509_certificates
from twisted.internet.task import react
from ipyproxy.acme import web
from ipyproxy.acme.client import Task
from ipyproxy.acme.documents import AcmeError, Challenge

async def main(reactor):
    asked = json.loads(sys.argv[1])
    web.TIMEOUT = asked["timeout"]
    ca = asked["ca"] and load_pem_x509_certificates(Path(asked["ca"]).read_bytes())
    send = web.Web(reactor, ca)
    for method, url, body in asked["requests"]:
        try:
            answer = await send(method, url, body and body.encode())
            print(json.dumps([answer.status, dict(answer.fields), answer.body.decode()]))
        except AcmeError as error:
            print(json.dumps(str(error)))

from twisted.internet.defer import CancelledError, Deferred
react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
"""


def ask(
    root: Path | None, *requests: tuple[str, str, str | None], timeout: float = 30.0
) -> list[Any]:
    """What comes of requests: status, fields and body, or why nothing does."""
    told = {"ca": root and str(root), "requests": requests, "timeout": timeout}
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(told)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_is_sent_and_what_comes_back(root: Path, port: int) -> None:
    url = f"https://127.0.0.1:{port}/"
    got, posted, nonce, moved, endless, short = ask(
        root,
        ("GET", url, None),
        ("POST", url, "signed"),
        ("HEAD", url, None),
        ("GET", url + "away", None),
        ("GET", url + "endless", None),
        ("GET", url + "short", None),
    )
    assert (got[0], got[2]) == (200, "{}")
    assert (got[1]["replay-nonce"], got[1]["retry-after"]) == ("n1", "5")
    assert (posted[0], posted[2]) == (201, "application/jose+json ipyproxy signed")
    assert nonce[1]["replay-nonce"] == "n2"
    assert moved[0] == 302  # and is not followed
    assert endless == "the authority's answer does not end"
    assert "cannot be asked" in short


def test_nobody_is_believed_whose_certificate_does_not_hold(port: int, tmp_path: Path) -> None:
    for trusted in None, Authority("Another").write(tmp_path):
        (said,) = ask(trusted, ("GET", f"https://127.0.0.1:{port}/", None))
        assert "certificate verify failed" in said


def test_nobody_waits_for_ever(root: Path, port: int) -> None:
    silent, closed, *odd = ask(
        root,
        ("GET", f"https://127.0.0.1:{port}/silent", None),
        ("GET", "https://127.0.0.1:1/dir", None),
        ("GET", "https://127.0.0.1:99999999/dir", None),
        ("GET", "https://:1/", None),
        timeout=0.5,
    )
    assert all("cannot be asked" in said for said in odd)
    assert silent.endswith("cannot be asked: no answer within 0.5 seconds")
    assert closed.startswith("127.0.0.1:1 cannot be asked: Connection was refused")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "https:/x", "file:///etc", "https://é/", "https://a/\n"]
)
def test_no_other_scheme_is_spoken(url: str) -> None:
    with pytest.raises(AcmeError, match="not https"):
        Web(Clock(), ())("GET", url)


def test_a_sandbox_that_lets_nothing_out_is_told_of() -> None:
    for error in (
        ConnectError(1, "Operation not permitted"),
        DNSLookupError("Temporary failure in name resolution"),
        ConnectTimeout(),
    ):
        explained = _explained(Failure(error), "acme.example", in_time=True)
        assert "The service's sandbox" in str(explained)


def test_so_is_one_that_is_late() -> None:
    for error in CancelledError(), ConnectingCancelledError(HostnameAddress(b"acme.example", 443)):
        explained = _explained(Failure(error), "acme.example", in_time=False)
        assert str(explained) == "acme.example cannot be asked: no answer within 30 seconds"


def test_one_that_is_no_longer_wanted_is_no_failure() -> None:
    for error in (
        CancelledError(),
        ConnectingCancelledError(HostnameAddress(b"acme.example", 443)),
        ResponseNeverReceived([Failure(CancelledError())]),
    ):
        explained = _explained(Failure(error), "acme.example", in_time=True)
        assert isinstance(explained, CancelledError)


@pytest.mark.parametrize("token", ["", "../../x", "a/b", "a.b", "é", "a\0"])
def test_no_token_of_an_authority_s_leads_out_of_the_directory(tmp_path: Path, token: str) -> None:
    store = Store(tmp_path, ["hub.example.org"])
    task = Task("hub.example.org", Challenge("http-01", "", token), "x", "")
    showing = Deferred.fromCoroutine(Http(store, at_once).show(task))
    failures: list[Any] = []
    showing.addErrback(failures.append)
    assert isinstance(failures[0].value, AcmeError)
    assert not list(tmp_path.rglob("*"))
