"""The configuration of docs/from-nginx.md carries a real JupyterLab, and refuses what it says."""

from __future__ import annotations

import os
import re
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.certificates import Authority

from .client import Client
from .jupyter import Lab
from .kernels import V1, kernel_socket
from .processes import Child, free_port

pytestmark = pytest.mark.integration

PAGE = Path(__file__).parents[2] / "docs" / "from-nginx.md"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

_AROUND = """
daemon off; master_process off; pid nginx.pid; error_log stderr error;
events {{ worker_connections 128; }}
http {{
    access_log off;
    client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp;
    uwsgi_temp_path tmp; scgi_temp_path tmp;
    {written}
}}
"""


class Nginx(NamedTuple):
    origin: str
    plain: str
    tls: ssl.SSLContext


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    if NGINX is None:
        pytest.skip("nginx is not installed")
    directory = tmp_path_factory.mktemp("nginx")
    (directory / "tmp").mkdir()
    authority = Authority()
    certificate, key = authority.issue("localhost").write(directory)
    block = re.search(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block
    secure, plain = free_port(), free_port()
    written = block[1]
    for old, new in {
        "listen 443 ssl": f"listen 127.0.0.1:{secure} ssl",
        "listen 80": f"listen 127.0.0.1:{plain}",
        "server_name hub.example.org": "server_name localhost",
        "/etc/letsencrypt/live/hub.example.org/fullchain.pem": str(certificate),
        "/etc/letsencrypt/live/hub.example.org/privkey.pem": str(key),
    }.items():
        assert old in written
        written = written.replace(old, new)
    (directory / "config").write_text(_AROUND.format(written=written))
    command = [NGINX, "-p", str(directory), "-c", "config", "-e", "stderr"]
    running = Child("nginx", command, {"PATH": os.environ["PATH"]}, directory)
    tls = ssl.create_default_context(cafile=str(authority.write(directory)))
    origin = f"https://localhost:{secure}"

    def answers() -> bool:
        try:
            return httpx.get(origin, verify=tls, trust_env=False).status_code == 404
        except httpx.TransportError:
            return False

    running.wait_until(answers, seconds=20)
    yield Nginx(origin, f"http://localhost:{plain}", tls)
    running.stop()


@pytest.fixture
def client(nginx: Nginx, lab: Lab) -> Iterator[Client]:
    made = Client(nginx.origin, lab.base_url, tls=nginx.tls, token=lab.token)
    yield made
    made.close()


@pytest.fixture
def guest(nginx: Nginx, lab: Lab) -> Iterator[Client]:
    made = Client(nginx.origin, lab.base_url, tls=nginx.tls)
    yield made
    made.close()


@pytest.mark.parametrize("subprotocols", [(), (V1,)])
def test_a_cell_runs(client: Client, nginx: Nginx, subprotocols: tuple[str, ...]) -> None:
    kernel = client.start_kernel()
    with kernel_socket(
        client, kernel, origin=nginx.origin, subprotocols=subprotocols, deflate=True
    ) as channel:
        assert channel.run("print(6 * 7)").stdout == "42\n"


def test_a_page_logs_in_and_saves(guest: Client, lab: Lab) -> None:
    """By cookies alone, Jupyter checks Origin, Referer and Host, and finds its own."""
    answer = guest.log_in(lab.token, next_page=guest.path("lab"))
    assert answer.status_code == 302
    assert guest.logged_in()
    cookie = answer.headers["set-cookie"]
    assert f"Path={lab.base_url}" in cookie
    assert "secure" in cookie.lower()
    content = os.urandom(3_000_000)
    guest.save("ü 100% [1].bin", content)
    assert guest.load("ü 100% [1].bin") == content


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://localhost"])
def test_other_pages_are_refused(client: Client, origin: str) -> None:
    client.request("GET", "api/status", headers={"Origin": origin}, expect=403)
    kernel = client.start_kernel()
    with (
        pytest.raises(InvalidStatus) as caught,
        kernel_socket(client, kernel, origin=origin),
    ):
        pass
    assert caught.value.response.status_code == 403


@pytest.mark.parametrize("port", ["22", "80", "9999", "10250", "11211", "15000", "010000", "1000"])
def test_other_ports_are_refused(nginx: Nginx, port: str) -> None:
    answer = httpx.get(f"{nginx.origin}/ipython/{port}/", verify=nginx.tls, trust_env=False)
    assert answer.status_code == 404


def test_plain_http_leads_to_https(nginx: Nginx) -> None:
    answer = httpx.get(f"{nginx.plain}/ipython/10000/lab?a=b", trust_env=False)
    assert answer.status_code == 308
    assert answer.headers["location"] == "https://localhost/ipython/10000/lab?a=b"
