"""Gateways under comparison; knows how each is started and talked to, not what is said."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import ssl
from pathlib import Path
from typing import NamedTuple, Protocol

from tests.integration.jupyter import notebook_port
from tests.integration.processes import Child, free_port
from tests.integration.proxy import Proxy

from .upstream import Upstream, first_request

#: Seconds without a byte after which a client takes what it has for all that will come.
_QUIET = 0.5
#: The same while answers are missing that are known to come.
_PATIENCE = 20.0

_STATUS = re.compile(rb"HTTP/1\.[01] ([2-5][0-9]{2}) ")

_NGINX = """
daemon off; master_process off; pid nginx.pid; error_log stderr error;
events {{ worker_connections 128; }}
http {{
    access_log off;
    client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp;
    uwsgi_temp_path tmp; scgi_temp_path tmp;
    large_client_header_buffers 4 32k;
    client_header_timeout 2s; client_body_timeout 2s; keepalive_timeout 2s;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_request_buffering off;
            proxy_next_upstream off;
        }}
    }}
}}
"""

_HAPROXY = """
global
    tune.bufsize 65536
defaults
    mode http
    retries 0
    http-reuse never
    timeout connect 2s
    timeout client 2s
    timeout server 2s
    timeout http-request 2s
frontend public
    bind 127.0.0.1:{port}
    default_backend notebooks
backend notebooks
    server notebook 127.0.0.1:{upstream}
"""


class Seen(NamedTuple):
    """What became of a client's bytes: the statuses it got, and what came upstream.

    ``requests`` are the whole ones, ``rest`` is everything else that upstream got.
    """

    statuses: tuple[int, ...]
    requests: tuple[bytes, ...]
    rest: bytes


class Gateway(Protocol):
    """Something between a client and an upstream."""

    upstream: Upstream

    def connect(self) -> socket.socket:
        """A client's connection."""

    def stop(self) -> None:
        """End it."""


class Rival:
    """nginx or HAProxy, with a configuration that passes everything on."""

    def __init__(self, directory: Path, command: list[str], template: str) -> None:
        """Start *command* in *directory*; raises Gone if it does not come up."""
        self.upstream = Upstream(notebook_port())
        self._port = free_port()
        (directory / "tmp").mkdir(parents=True)
        config = template.format(port=self._port, upstream=self.upstream.port)
        (directory / "config").write_text(config)
        env = {"PATH": os.environ["PATH"]}
        self._child = Child(Path(command[0]).name, command, env, directory)
        self._child.wait_until(self._listens, seconds=10)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            self.connect().close()
            return True
        return False

    def connect(self) -> socket.socket:
        """See :class:`Gateway`."""
        return socket.create_connection(("127.0.0.1", self._port), timeout=5)

    def stop(self) -> None:
        """See :class:`Gateway`."""
        self._child.stop()
        self.upstream.close()


class Ours:
    """ipyproxy."""

    def __init__(self, directory: Path) -> None:
        """Start it in *directory*; raises Gone if it does not come up."""
        self.upstream = Upstream(notebook_port())
        directory.mkdir()
        self._proxy = Proxy(directory)
        self._tls = self._proxy.client_tls()

    def connect(self) -> socket.socket:
        """See :class:`Gateway`."""
        tcp = socket.create_connection(("127.0.0.1", self._proxy.port), timeout=5)
        return self._tls.wrap_socket(tcp, server_hostname="localhost")

    def stop(self) -> None:
        """See :class:`Gateway`."""
        self._proxy.child.stop()
        self.upstream.close()


def missing() -> str | None:
    """Which rival is not installed; None if both are."""
    lacking = [name for name in ("nginx", "haproxy") if _find(name) is None]
    return f"not installed: {', '.join(lacking)}" if lacking else None


def _find(name: str) -> str | None:
    # Daemons are not on everybody's PATH.
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def start_all(directory: Path) -> dict[str, Gateway]:
    """Start all three below *directory*."""
    nginx, haproxy = _find("nginx"), _find("haproxy")
    assert nginx is not None
    assert haproxy is not None
    root = directory / "nginx"
    return {
        "ipyproxy": Ours(directory / "ipyproxy"),
        "nginx": Rival(root, [nginx, "-p", str(root), "-c", "config", "-e", "stderr"], _NGINX),
        "haproxy": Rival(directory / "haproxy", [haproxy, "-db", "-f", "config"], _HAPROXY),
    }


def send(gateway: Gateway, raw: bytes, expected: int = 0) -> Seen:
    """Send *raw* as a client, its port 10000 being that of the gateway's upstream.

    *expected* is how many answers are known to come.
    """
    answers = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError), gateway.connect() as client:
        client.sendall(raw.replace(b"10000", b"%d" % gateway.upstream.port))
        with contextlib.suppress(TimeoutError):
            data = raw
            while data:
                all_there = len(_STATUS.findall(answers)) >= expected
                client.settimeout(_QUIET if all_there else _PATIENCE)
                data = client.recv(65536)
                answers += data
    requests: list[bytes] = []
    rest = b""
    for stream in gateway.upstream.take():
        while found := first_request(stream):
            head, body, stream = found
            requests.append(head + b"\r\n\r\n" + body)
        rest += stream
    return Seen(tuple(map(int, _STATUS.findall(answers))), tuple(requests), rest)
