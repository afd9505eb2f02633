"""A user of a Jupyter server; knows Jupyter's HTTP and WebSocket API, not what lies between."""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from tests.tlssocket import TLSSocket

#: Seconds for one request and its response, or for one WebSocket message to arrive.
TIMEOUT = 60.0


class Client:
    """Speaks to the Jupyter server below *base_url* at a public *origin*, keeping its cookies."""

    def __init__(
        self, origin: str, base_url: str, *, tls: ssl.SSLContext | None, token: str | None = None
    ) -> None:
        """Make a client; with *token*, every request carries it in the Authorization field."""
        self.origin = origin
        self.base_url = base_url
        self._tls = tls
        self.http = httpx.Client(
            base_url=origin,
            verify=tls or True,
            headers={"Authorization": f"token {token}"} if token else {},
            timeout=TIMEOUT,
            trust_env=False,
        )

    def close(self) -> None:
        """Close all connections."""
        self.http.close()

    def path(self, path: str) -> str:
        """The target of *path*, which is relative to the server's base URL and quoted."""
        return f"{self.base_url}{path}"

    def url(self, path: str) -> str:
        """The whole URL of *path*."""
        return f"{self.origin}{self.path(path)}"

    def request(
        self, method: str, path: str, *, expect: int | None = None, **more: Any
    ) -> httpx.Response:
        """Send one request; unless its status is *expect* (default: any 2xx), the test fails."""
        response = self.http.request(method, self.path(path), **more)
        right = response.is_success if expect is None else response.status_code == expect
        assert right, (
            f"{method} {self.path(path)}: got {response.status_code}, wanted {expect or '2xx'}\n"
            f"{response.headers}\n{response.text[:2000]}"
        )
        return response

    # Logging in, as a browser does

    def log_in(self, password: str, *, next_page: str = "") -> httpx.Response:
        """Fill in the login form with *password* and send it; returns the response to the form.

        From then on this client sends what a page of Jupyter's would: the login cookie, its
        own Origin and Referer, and the value of the XSRF cookie.
        """
        form = self.request("GET", "login")
        field = re.search(r'name="_xsrf"[^>]*value="([^"]+)"', form.text)
        assert field, f"no _xsrf in the login form:\n{form.text[:2000]}"
        self.http.headers.update({"Origin": self.origin, "Referer": self.url("login")})
        response = self.http.post(
            self.path("login"),
            params={"next": next_page or self.base_url},
            data={"_xsrf": field[1], "password": password},
        )
        self.http.headers["X-XSRFToken"] = self.http.cookies["_xsrf"]
        return response

    def logged_in(self) -> bool:
        """Whether a page for users only comes back, instead of the login form."""
        return self.http.get(self.path("lab")).status_code == 200

    # Files

    def save(self, name: str, content: bytes) -> None:
        """Upload *content* under *name*."""
        model = {
            "type": "file",
            "format": "base64",
            "content": base64.b64encode(content).decode("ascii"),
        }
        self.request("PUT", f"api/contents/{quote(name, safe='')}", json=model)

    def load(self, name: str) -> bytes:
        """Download the file called *name*."""
        return self.request("GET", f"files/{quote(name, safe='')}").content

    # Kernels

    def start_kernel(self) -> str:
        """Start a Python kernel; returns its id."""
        kernel_id = self.request("POST", "api/kernels", json={"name": "python3"}).json()["id"]
        assert isinstance(kernel_id, str)
        return kernel_id

    def interrupt(self, kernel_id: str) -> None:
        """Interrupt what the kernel is at."""
        self.request("POST", f"api/kernels/{kernel_id}/interrupt", expect=204)

    def restart(self, kernel_id: str) -> None:
        """Restart the kernel."""
        self.request("POST", f"api/kernels/{kernel_id}/restart", expect=200)

    def connections(self, kernel_id: str) -> int:
        """How many channels to the kernel Jupyter holds open."""
        count = self.request("GET", f"api/kernels/{kernel_id}").json()["connections"]
        assert isinstance(count, int)
        return count

    # WebSockets

    @contextmanager
    def websocket(
        self,
        path: str,
        *,
        origin: str | None = None,
        subprotocols: tuple[str, ...] = (),
        deflate: bool = False,
    ) -> Iterator[ClientConnection]:
        """Open a WebSocket with this client's credentials, and *origin* as its Origin field."""
        names = ("Authorization", "Cookie")
        headers = self.http.build_request("GET", self.path(path)).headers
        server = urlsplit(self.origin)
        address = (server.hostname or "", server.port or 443)
        sock: Any = TLSSocket(address, self._tls, TIMEOUT) if self._tls else None
        with connect(
            f"ws://{server.netloc}{self.path(path)}",
            sock=sock,
            origin=Origin(origin) if origin is not None else None,
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            compression="deflate" if deflate else None,
            # Browsers send no pings.
            ping_interval=None,
            additional_headers={name: headers[name] for name in names if name in headers},
            max_size=None,
            proxy=None,
        ) as connection:
            yield connection


def read_to_end(connection: ClientConnection) -> tuple[str | bytes, int]:
    """Read until the WebSocket closes; returns the last message and the close code."""
    last: str | bytes = b""
    try:
        while True:
            last = connection.recv(TIMEOUT)
    except ConnectionClosed as closed:
        return last, closed.rcvd.code if closed.rcvd else CloseCode.ABNORMAL_CLOSURE
