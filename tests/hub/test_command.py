"""``ipyproxy-chp`` as a program: what configurable-http-proxy's own tests ask of its command.

With ``IPYPROXY_TEST_CHP`` naming another such program, the same calls are made of that one.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from ipyproxy.cli import chp
from tests.certificates import Authority

OTHER = os.environ.get("IPYPROXY_TEST_CHP")
COMMAND = [OTHER] if OTHER else [sys.executable, "-m", "ipyproxy.cli.chp"]
STARTED_WITHIN = 30.0


class _Told(BaseHTTPRequestHandler):
    """Answers with what was asked."""

    def do_GET(self) -> None:
        told = {"url": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    told = ThreadingHTTPServer(("127.0.0.1", 0), _Told)
    thread = Thread(target=told.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{told.server_address[1]}"
    told.shutdown()
    told.server_close()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Running:
    """The program, with its ports."""

    def __init__(self, *options: str, token: str = "secret") -> None:
        self.port, self.api_port = free_port(), free_port()
        self.token = token
        places = ["--ip", "127.0.0.1", "--port", str(self.port)]
        places += ["--api-ip", "127.0.0.1", "--api-port", str(self.api_port)]
        environment = {**os.environ, "CONFIGPROXY_AUTH_TOKEN": token}
        self.process = subprocess.Popen(
            [*COMMAND, *places, *options],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def wait(self) -> None:
        until = time.monotonic() + STARTED_WITHIN
        for port in self.port, self.api_port:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert self.process.poll() is None, self.process.stdout and (
                        self.process.stdout.read().decode()
                    )
                    assert time.monotonic() < until
                    time.sleep(0.02)

    def get(self, path: str, context: ssl.SSLContext | None = None) -> tuple[int, Any, bytes]:
        return exchange(self.port, "GET", path, {}, b"", context)

    def call(self, method: str, path: str, data: object = None) -> tuple[int, bytes]:
        fields = {"Authorization": f"token {self.token}"} if self.token else {}
        body = b"" if data is None else json.dumps(data).encode()
        status, _, told = exchange(self.api_port, method, f"/api/routes{path}", fields, body)
        return status, told


def exchange(
    port: int,
    method: str,
    path: str,
    fields: dict[str, str],
    body: bytes,
    context: ssl.SSLContext | None = None,
) -> tuple[int, Any, bytes]:
    connection = (
        http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        if context is None
        else http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
    )
    try:
        connection.request(method, path, body or None, fields)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


@contextmanager
def running(*options: str, token: str = "secret") -> Iterator[Running]:
    proxy = Running(*options, token=token)
    try:
        proxy.wait()
        yield proxy
    finally:
        proxy.process.send_signal(signal.SIGTERM)
        proxy.process.communicate(timeout=20)


@pytest.fixture(scope="module")
def proxy(server: str) -> Iterator[Running]:
    with running("--default-target", server) as started:
        yield started


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def test_requests_go_to_the_default_target(proxy: Running) -> None:
    status, _, body = proxy.get("/any/random/url?x=1")
    assert (status, json.loads(body)["url"]) == (200, "/any/random/url?x=1")


def test_routes_come_and_go(proxy: Running, server: str) -> None:
    assert proxy.call("POST", "/user/foo%40bar", {"target": server + "/base", "x": 1})[0] == 201
    told = json.loads(proxy.call("GET", "/user/foo%40bar")[1])
    assert (told["target"], told["x"]) == (server + "/base", 1)
    assert json.loads(proxy.get("/user/foo@bar/a%2Fb")[2])["url"] == "/base/user/foo@bar/a%2Fb"
    assert set(json.loads(proxy.call("GET", "")[1])) == {"/", "/user/foo@bar"}
    assert proxy.call("DELETE", "/user/foo%40bar") == (204, b"")
    assert proxy.call("DELETE", "/user/foo%40bar")[0] == 404
    assert proxy.call("GET", "/user/foo%40bar")[0] == 404


def test_what_the_api_refuses(proxy: Running) -> None:
    assert proxy.call("POST", "/x", {"target": 7})[0] == 400
    assert proxy.call("GET", "?inactiveSince=endoftheuniverse")[0] == 400
    assert proxy.call("PUT", "/x")[0] == 405
    assert exchange(proxy.api_port, "GET", "/api/routes", {}, b"")[0] == 403
    assert exchange(proxy.api_port, "GET", "/other", {}, b"")[0] == 404


def test_activity_moves(proxy: Running) -> None:
    hour = timedelta(hours=1)
    now = datetime.now(UTC)
    before = json.loads(proxy.call("GET", "")[1])["/"]["last_activity"]
    time.sleep(0.05)
    proxy.get("/x")
    until = time.monotonic() + 10
    while json.loads(proxy.call("GET", "")[1])["/"]["last_activity"] <= before:
        assert time.monotonic() < until
    past = (now - hour).isoformat().replace("+00:00", "Z")
    future = (now + hour).isoformat().replace("+00:00", "Z")
    assert json.loads(proxy.call("GET", f"?inactiveSince={past}")[1]) == {}
    assert "/" in json.loads(proxy.call("GET", f"?inactiveSince={future}")[1])


def test_health(proxy: Running) -> None:
    assert json.loads(proxy.get("/_chp_healthz")[2]) == {"status": "OK"}


def test_https_and_the_way_to_it(authority: Authority, server: str, tmp_path: Path) -> None:
    certificate, key = authority.issue("localhost").write(tmp_path)
    redirect = free_port()
    with running(
        "--ssl-cert", str(certificate), "--ssl-key", str(key),
        "--default-target", server, "--redirect-port", str(redirect),
        "--custom-header", "k1: v1", "--custom-header", " k2 : host:123 ",
    ) as proxy:  # fmt: skip
        headers = json.loads(proxy.get("/", unverified())[2])["headers"]
        assert (headers["k1"], headers["k2"]) == ("v1", "host:123")
        assert headers["x-forwarded-proto"] == "https"
        status, fields, _ = exchange(redirect, "GET", "/x?y", {}, b"")
        assert status == 301
        assert fields["location"] == f"https://127.0.0.1:{proxy.port}/x?y"


def test_sockets_metrics_and_pages_of_an_error_target(server: str, tmp_path: Path) -> None:
    metrics, pid = free_port(), tmp_path / "pid"
    with running(
        "--error-target", f"{server}/error", "--metrics-port", str(metrics), "--pid-file", str(pid)
    ) as proxy:
        status, fields, body = proxy.get("/foo/bar?x=1")
        assert (status, fields["content-type"]) == (404, "text/plain")
        assert json.loads(body)["url"] == "/error/404?url=%2Ffoo%2Fbar%3Fx%3D1"
        _, _, exposed = exchange(metrics, "GET", "/metrics", {}, b"")
        assert b'requests_proxy{status="404"} 1' in exposed
        assert int(pid.read_text()) == proxy.process.pid
    assert not pid.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--custom-header", "invalid"], "colon was expected"),
        (["--redirect-port", "1"], "certificates not provided"),
        (["--error-target", "http://x", "--error-path", "/x"], "Cannot specify both"),
    ],
)
def test_options_that_make_no_sense(options: list[str], said: str) -> None:
    done = subprocess.run([*COMMAND, *options], capture_output=True, timeout=30, check=False)
    assert done.returncode == 1
    assert said in (done.stdout + done.stderr).decode()


@pytest.mark.skipif(OTHER is not None, reason="they are ours alone to refuse")
@pytest.mark.parametrize("option", ["--storage-backend", "--change-origin", "--ssl-ciphers"])
def test_options_that_make_no_sense_here(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        chp.main([option, "x"])
    assert ended.value.code == 1
    assert f"{option} is not taken:" in capsys.readouterr().err


def test_without_a_token_it_warns(server: str) -> None:
    proxy = Running(token="")
    proxy.wait()
    assert proxy.call("GET", "")[0] == 200
    proxy.process.send_signal(signal.SIGTERM)
    said, _ = proxy.process.communicate(timeout=20)
    assert b"REST API is not authenticated." in said
