"""The status page before somebody's eyes, and what else the status listener has to say."""

from __future__ import annotations

import http.server
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from .client import Client
from .jupyter import notebook_port
from .processes import poll
from .proxy import Proxy

pytestmark = pytest.mark.integration

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.status.pictures import CHROMIUM, LOOKS, Look, chromium, scene  # noqa: E402

#: Seconds that anything has that a person waits for, on a machine with much to do.
PATIENCE = 30.0

USER, PASSWORD = "admin", "let me see"
#: By ``openssl passwd -apr1 -salt ipyproxy``.
HTPASSWD = f"{USER}:$apr1$ipyproxy$djZnGMc25dBPfJQ2mhPV7/\n"
PUBLIC = """
[status]
public = true
[auth]
htpasswd = "users"
[[auth.rules]]
path = "/_ipyproxy"
require = "htpasswd"
[[auth.rules]]
path = "/_ipyproxy/readyz"
require = "none"
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium, or the reason why there is none."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with ExitStack() as stack:
        try:
            running = stack.enter_context(chromium())
        except sync_api.Error as error:
            pytest.skip(f"playwright's driver does not start (Debian: install libatomic1): {error}")
        yield running


def watched(page: Any) -> list[str]:
    """What a page complains of: of its policy, say, or of what it could not have."""
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(f"{said.type}: {said.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_default_timeout(PATIENCE * 1000)
    return complaints


def background(page: Any) -> int:
    """How bright the page's ground is, from 0 to 255."""
    said = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return max(map(int, re.findall(r"\d+", said)[:3]))


@pytest.fixture(scope="module")
def day() -> Iterator[str]:
    """Where the page of an invented busy day is."""
    with scene() as url:
        yield url


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_the_page_is_whole_and_goes_on(browser: Any, day: str, look: Look, tmp_path: Path) -> None:
    context = look.context(browser)
    page = context.new_page()
    complaints = watched(page)
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.goto(day)
    page.locator("#live.on").wait_for()
    assert page.locator("#rows tr").count() == 9
    assert page.locator("#port-10023 .dead").inner_text() == "dead"
    # Nothing has to be moved sideways to be seen.
    assert page.evaluate("document.documentElement.scrollWidth") <= look.width
    assert (background(page) < 60) is (look.scheme == "dark")
    before = page.locator("#port-10042").inner_text()
    page.evaluate("window.stillTheSamePage = true")
    page.wait_for_function(
        "text => document.getElementById('port-10042').innerText !== text", arg=before
    )
    assert page.evaluate("window.stillTheSamePage")
    page.screenshot(path=tmp_path / f"{look.name}.png", full_page=True)
    context.close()
    assert hosts == {day.split("/")[2]}
    assert not complaints


def test_without_scripts_there_is_the_page_all_the_same(browser: Any, day: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(day)
    assert page.locator("#rows tr").count() == 9
    assert page.locator("#live").inner_text().startswith("as of ")
    context.close()


@pytest.fixture
def open_proxy(tmp_path: Path) -> Iterator[Proxy]:
    """A proxy that shows its status page to whoever knows the password."""
    (tmp_path / "users").write_text(HTPASSWD)
    running = Proxy(tmp_path, PUBLIC)
    yield running
    if running.child.is_running:
        running.child.stop()


@contextmanager
def program(port: int) -> Iterator[None]:
    """A program that answers on ``port`` for a while."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *said: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield
        server.shutdown()
        thread.join()


def test_a_notebook_comes_and_goes_before_somebodys_eyes(browser: Any, open_proxy: Proxy) -> None:
    port = notebook_port()
    page = browser.new_context(ignore_https_errors=True).new_page()
    with httpx.Client(verify=open_proxy.client_tls(), timeout=PATIENCE) as visitor:
        complaints = watched(page)
        page.goto(f"{open_proxy.origin}/_ipyproxy/")
        page.get_by_label("Name").fill(USER)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.locator("#live.on").wait_for()
        assert page.locator("#rest").inner_text().startswith("Nobody has asked for a notebook")
        notebook = f"{open_proxy.origin}/ipython/{port}/"
        assert visitor.get(notebook).status_code == 503
        page.locator(f"#port-{port} .starting").wait_for()
        with program(port):
            page.locator(f"#port-{port} .up").wait_for()
            assert visitor.get(notebook).status_code == 200
            # What nobody answered before it was there is not counted as the notebook's.
            requests = page.locator(f"#port-{port} [data-label=Requests]")
            sync_api.expect(requests).to_have_text("1", timeout=PATIENCE * 1000)
            errors = page.locator(f"#port-{port} [data-label=Errors]")
            sync_api.expect(errors).to_have_text("0", timeout=PATIENCE * 1000)
        page.locator(f"#port-{port} .dead").wait_for()
        assert "connection refused" in page.locator(f"#port-{port}").inner_text()
        page.context.close()
    assert not complaints


def test_the_public_page_is_for_whom_the_rule_lets_in(open_proxy: Proxy) -> None:
    tls = open_proxy.client_tls()
    with httpx.Client(verify=tls, base_url=open_proxy.origin, timeout=PATIENCE) as client:
        for path in ("", "live", "status.json", "metrics"):
            assert client.get(f"/_ipyproxy/{path}").status_code == 401
        assert client.get("/_ipyproxy/readyz").text == "ready\n"
        shown = client.get("/_ipyproxy/status.json", auth=(USER, PASSWORD))
        assert shown.json()["phase"] == "serving"


def test_who_looks_does_not_hold_up_the_end(open_proxy: Proxy) -> None:
    tls = open_proxy.client_tls()
    with httpx.Client(verify=tls, base_url=open_proxy.origin, timeout=PATIENCE) as client:
        with client.stream("GET", "/_ipyproxy/live", auth=(USER, PASSWORD)) as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("id: ")
            began = time.monotonic()
            open_proxy.child.signal(signal.SIGTERM)
            for _ in lines:
                pass
        open_proxy.child.wait(PATIENCE)
        # The time that a drain has at most is 30 s.
        assert time.monotonic() - began < 20


@pytest.fixture
def status(proxy: Proxy) -> Iterator[httpx.Client]:
    """What ``curl --unix-socket`` is, for the proxy under test."""
    transport = httpx.HTTPTransport(uds=str(proxy.certificate.parent / "status.sock"))
    with httpx.Client(transport=transport, base_url="http://localhost/_ipyproxy") as client:
        yield client


def test_what_jupyter_is_asked_is_counted_on_the_socket(
    status: httpx.Client, client: Client
) -> None:
    port = int(client.base_url.strip("/").split("/")[-1])

    def seen() -> Any:
        upstreams = status.get("/status.json").json()["upstreams"]
        return next((one for one in upstreams if one["port"] == port), {"requests": 0})

    before = seen()["requests"]
    for _ in range(3):
        client.request("GET", "api/status", expect=200)
    after = seen()
    assert after["state"] == "up"
    assert after["requests"] >= before + 3
    assert sum(after["per_minute"]) >= 3
    assert 0 < after["p50_seconds"] <= after["p99_seconds"]


def test_the_event_loop_is_not_held_up_by_who_looks(status: httpx.Client) -> None:
    with status.stream("GET", "/live") as stream:
        lines = stream.iter_lines()
        for _ in range(3):
            assert next(lines) is not None
        for _ in range(20):
            status.get("/metrics")
            status.get("/status.json")
    lag = status.get("/status.json").json()["event_loop"]["worst_lag_seconds_last_minute"]
    # A machine with much else to do is late by itself.
    assert lag < 2.0


def test_the_metrics_of_a_real_proxy_are_to_promtools_liking(
    status: httpx.Client, client: Client
) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    client.request("GET", "api/status", expect=200)
    text = status.get("/metrics").content
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    done = re.search(rb"^ipyproxy_tls_handshakes_total (.*)$", text, re.MULTILINE)
    assert done is not None
    assert float(done[1]) > 0


def test_the_socket_is_for_this_user_only(proxy: Proxy) -> None:
    path = proxy.certificate.parent / "status.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_failed_handshake_is_counted(proxy: Proxy, status: httpx.Client) -> None:
    def failures() -> float:
        text = status.get("/metrics").text
        found = re.search(r"^ipyproxy_tls_handshake_failures_total (.*)$", text, re.MULTILINE)
        assert found is not None
        return float(found[1])

    before = failures()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    poll(
        lambda: True if failures() > before else None,
        seconds=PATIENCE,
        waiting_for="the handshake to be counted as failed",
    )
