"""A reload that changes whom we trust: what was open on the old trust ends."""

from __future__ import annotations

import base64
import hashlib
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import Authority, Issued
from tests.integration.processes import poll
from tests.integration.proxy import Proxy

from .streams import Notebook, Stream, answer, browse, request

pytestmark = pytest.mark.integration

CONFIG = """
health.mode = "off"
auth.certificates = ["CN={user}"]
tls.client_ca = "clients.pem"
tls.client_certificates = "optional"
[[auth.rules]]
path = "/ipython"
require = "certificate"
"""
UPGRADE = (b"Upgrade: websocket", b"Connection: Upgrade")


@pytest.fixture
def staff() -> Authority:
    return Authority("Staff")


@pytest.fixture
def proxy(staff: Authority, tmp_path: Path) -> Iterator[Proxy]:
    staff.write(tmp_path, "clients")
    running = Proxy(tmp_path, CONFIG)
    yield running
    running.child.stop()


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    made = Notebook()

    def serve(stream: Stream) -> None:
        while head := stream.hear_head():
            if b"\r\nUpgrade: websocket\r\n" not in head:
                stream.say(answer(b"Content-Length: 0"))
                continue
            key = head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
            digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
            accept = b"Sec-WebSocket-Accept: " + base64.b64encode(digest)
            stream.say(answer(*UPGRADE, accept, status=b"101 Switching Protocols"))

    with made.serving(serve):
        yield made
    made.close()


def showing(proxy: Proxy, issued: Issued, directory: Path) -> ssl.SSLContext:
    tls = proxy.client_tls()
    tls.load_cert_chain(*issued.write(directory, "alice"))
    return tls


def get(stream: Stream, notebook: Notebook) -> int:
    stream.say(request(b"GET " + notebook.path))
    return stream.hear_status()


def open_websocket(stream: Stream, notebook: Notebook) -> int:
    key = b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16))
    stream.say(request(b"GET " + notebook.path, *UPGRADE, b"Sec-WebSocket-Version: 13", key))
    return stream.hear_status()


def reload(proxy: Proxy, times: int) -> None:
    proxy.child.signal(signal.SIGHUP)

    def look() -> bool | None:
        return proxy.child.log().count("reloaded") >= times or None

    poll(look, seconds=20, waiting_for="the reload")


def test_another_authority_of_clients_or_of_notebooks(
    proxy: Proxy, staff: Authority, notebook: Notebook, tmp_path: Path
) -> None:
    tls = showing(proxy, staff.issue(subject="alice"), tmp_path)
    with browse(proxy.port, tls) as kept, browse(proxy.port, tls) as bridged:
        assert get(kept, notebook) == 200
        assert open_websocket(bridged, notebook) == 101
        reload(proxy, 1)
        # Nothing has changed, so all goes on.
        assert get(kept, notebook) == 200
        assert not bridged.is_closed_within(1)
        # How notebooks are spoken to: WebSockets end, and clients stay.
        config = tmp_path / "ipyproxy.toml"
        config.write_text(CONFIG.replace("[[", "notebooks.tls = true\n[[", 1))
        reload(proxy, 2)
        assert bridged.is_closed_within(20)
        config.write_text(CONFIG)
        reload(proxy, 3)
        assert get(kept, notebook) == 200
        # Whose certificates count: nothing more is served to whoever has shown one.
        with browse(proxy.port, tls) as again:
            assert open_websocket(again, notebook) == 101
            Authority("Others").write(tmp_path, "clients")
            reload(proxy, 4)
            assert again.is_closed_within(20)
            assert kept.is_closed_within(20)
    with pytest.raises((ssl.SSLError, ConnectionError)), browse(proxy.port, tls) as stale:
        get(stale, notebook)
