"""A real Jupyter whose only thread is held up: nothing is lost, as through nginx."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.integration.client import Client
from tests.integration.jupyter import Jupyter, notebook_port
from tests.integration.kernels import KernelSocket, kernel_socket
from tests.integration.processes import Child, free_port
from tests.integration.proxy import Proxy

pytestmark = pytest.mark.integration

TOKEN = "t" * 40
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

# What any slow piece of code in the server does.
_EXTENSION = """
import time
from tornado.web import RequestHandler

class Block(RequestHandler):
    def get(self):
        time.sleep(float(self.get_query_argument("seconds")))
        self.finish("done")

def _load_jupyter_server_extension(app):
    app.web_app.add_handlers(".*$", [(app.base_url + "block", Block)])
"""

_NGINX = """
daemon off; master_process off; pid nginx.pid; error_log stderr error;
events {{ worker_connections 128; }}
http {{
    access_log off;
    client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp;
    uwsgi_temp_path tmp; scgi_temp_path tmp;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_read_timeout 300s;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
        }}
    }}
}}
"""


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    directory = tmp_path_factory.mktemp("busy")
    (directory / "blocking.py").write_text(_EXTENSION)
    running = Jupyter(
        directory,
        notebook_port(),
        application="jupyter_server",
        credential={"JUPYTER_TOKEN": TOKEN, "PYTHONPATH": str(directory)},
        options=["--ServerApp.jpserver_extensions={'blocking': True}"],
    )
    yield running
    os.kill(running.child.pid, signal.SIGCONT)
    running.child.stop()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    running = Proxy(tmp_path_factory.mktemp("proxy"), "timeouts.response = 300\n")
    yield running
    running.child.stop()


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, jupyter: Jupyter) -> Iterator[str | None]:
    """The origin of an nginx beside it; None where there is none."""
    if NGINX is None:
        yield None
        return
    directory, port = tmp_path_factory.mktemp("nginx"), free_port()
    (directory / "tmp").mkdir()
    (directory / "config").write_text(_NGINX.format(port=port, upstream=jupyter.port))
    command = [NGINX, "-p", str(directory), "-c", "config", "-e", "stderr"]
    running = Child("nginx", command, {"PATH": os.environ["PATH"]}, directory)
    origin = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{origin}{jupyter.base_url}api").status_code == 200
        except httpx.TransportError:
            return False

    running.wait_until(answers, seconds=10)
    yield origin
    running.stop()


class Visitor:
    """Somebody at work in a notebook: a kernel's channel is open, and other requests are made."""

    def __init__(self, stack: ExitStack, client: Client) -> None:
        self.client = client
        client.http.timeout = httpx.Timeout(200)
        stack.callback(client.close)
        self._kernel = client.start_kernel()
        self._channel: KernelSocket = stack.enter_context(kernel_socket(client, self._kernel))
        assert self._channel.run("a = 41").status == "ok"

    def ask(self) -> tuple[int, float]:
        """The status of a request, and how long it took."""
        began = time.monotonic()
        status = self.client.http.get(self.client.path("api/kernels")).status_code
        return status, time.monotonic() - began

    def is_still_connected(self) -> bool:
        """Whether the channel of before goes on, with the kernel of before."""
        try:
            return self._channel.run("print(a + 1)").stdout == "42\n"
        except ConnectionClosed:
            return False


def held_up(jupyter: Jupyter, how: str, seconds: float) -> None:
    """Hold up the server's only thread: by its own code, or by stopping the process."""
    if how == "slept":
        url = f"http://127.0.0.1:{jupyter.port}{jupyter.base_url}block?seconds={seconds}"
        httpx.get(url, timeout=seconds + 30).raise_for_status()
    else:
        os.kill(jupyter.child.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(jupyter.child.pid, signal.SIGCONT)


def stays_whole(
    jupyter: Jupyter, proxy: Proxy, nginx: str | None, how: str, seconds: float
) -> None:
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(16))
        tls = proxy.client_tls()
        gateways = {
            "ipyproxy": Client(proxy.origin, jupyter.base_url, tls=tls, token=TOKEN),
        }
        if nginx is not None:
            gateways["nginx"] = Client(nginx, jupyter.base_url, tls=None, token=TOKEN)
        visitors = {name: Visitor(stack, client) for name, client in gateways.items()}
        holding = threading.Thread(target=held_up, args=(jupyter, how, seconds))
        holding.start()
        time.sleep(0.5)
        asked: dict[str, list[Future[tuple[int, float]]]] = {name: [] for name in visitors}
        # Some come while it is already known to be busy.
        for pause in (0, 0.5 * seconds, 0.3 * seconds):
            time.sleep(pause)
            for name, visitor in visitors.items():
                asked[name].append(pool.submit(visitor.ask))
        holding.join()
        for name, visitor in visitors.items():
            answers = [future.result() for future in asked[name]]
            print(f"{name}, {how} {seconds:g} s: {answers}")
            assert {status for status, _ in answers} == {200}, name
            assert answers[0][1] > 0.6 * seconds
            assert visitor.is_still_connected(), name
    said = proxy.child.log()
    assert f"port {jupyter.port}: up -> busy (silent)" in said
    assert "-> dead" not in said


def test_by_its_own_code(jupyter: Jupyter, proxy: Proxy, nginx: str | None) -> None:
    stays_whole(jupyter, proxy, nginx, "slept", 15)


@pytest.mark.soak
@pytest.mark.parametrize("how", ["slept", "stopped"])
def test_for_longer_than_a_minute(
    jupyter: Jupyter, proxy: Proxy, nginx: str | None, how: str
) -> None:
    stays_whole(jupyter, proxy, nginx, how, 75)
