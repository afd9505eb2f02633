"""What is attacked: a checkout of ipyproxy, compiled or not, and nginx configured to do the same.

Knows how each is configured and started. Knows nothing of attacks.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.integration.processes import Child, free_port

_STARTS_WITHIN = 30.0
_STOPS_WITHIN = 3.0


@dataclass(frozen=True)
class Settings:
    """What a proxy is to do, in words that are its own in each.

    :param notebooks: ports that are served.
    :param limited: whether one client may send 500 requests a second, 5,000 at once, or any number.
    :param tls_notebooks: whether the notebooks speak TLS.
    :param head_timeout: seconds for the head of a request.
    """

    notebooks: tuple[int, ...]
    limited: bool = True
    tls_notebooks: bool = False
    head_timeout: int = 10


class Running:
    """A proxy that listens.

    :ivar pid: of the process that does the work.
    """

    def __init__(self, child: Child, port: int, access_log: Path, *, has_master: bool) -> None:
        self._child = child
        self.port = port
        self.access_log = access_log
        child.wait_until(self._listens, seconds=_STARTS_WITHIN)
        workers = Path(f"/proc/{child.pid}/task/{child.pid}/children")
        self.pid = int(workers.read_text().split()[0]) if has_master else child.pid

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5):
            return True
        return False

    def log(self) -> str:
        """What it has said of itself."""
        return self._child.log()

    def stop(self) -> None:
        """End it at once; an attack's connections are not waited for."""
        pids = {self.pid, self._child.pid}
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(0.2)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._child.stop()


class Target(ABC):
    """Something that can be attacked."""

    name: str

    @property
    @abstractmethod
    def version(self) -> str:
        """What it is, for the head of a table."""

    @abstractmethod
    def start(self, settings: Settings, directory: Path, env: Mapping[str, str]) -> Running:
        """Start it in *directory*, where ``server.pem`` and ``authority.pem`` lie."""


class Checkout(Target):
    """``twistd ipyproxy`` with the code of a checkout."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        compiled = any(self._path.glob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"))
        tree = self._path.parents[1] if self._path.match("build/compiled") else self._path
        self.name = f"{tree.name}, {'compiled' if compiled else 'plain'}"
        self._tree = tree

    @property
    def version(self) -> str:
        """See :class:`Target`."""
        git = ["git", "-C", str(self._tree), "log", "-1", "--format=%h"]
        return f"{self._path} at {_first_line(git)}"

    def start(self, settings: Settings, directory: Path, env: Mapping[str, str]) -> Running:
        """See :class:`Target`."""
        file = directory / "ipyproxy.toml"
        file.write_text(_toml(settings))
        port = free_port()
        twistd = str(Path(sysconfig.get_path("scripts")) / "twistd")
        child = Child(
            "ipyproxy",
            [
                *(twistd, "-n", "--pidfile=", "ipyproxy", "--config", str(file)),
                *("--https", f"tcp:{port}:interface=127.0.0.1"),
            ],
            {
                "PATH": os.environ["PATH"],
                "HOME": str(directory),
                "STATE_DIRECTORY": str(directory),
                "PYTHONPATH": str(self._path),
                **env,
            },
            directory,
        )
        return Running(child, port, directory / "access.log", has_master=False)


def _toml(settings: Settings) -> str:
    lines = [
        'tls.certificate = "server.pem"',
        'tls.key = "server.key"',
        f'notebooks.ports = "{",".join(map(str, settings.notebooks))}"',
        'log.access = "access.log"',
        f"timeouts.head = {settings.head_timeout}",
    ]
    if not settings.limited:
        lines.append("limits.request_rate = 0")
    if settings.tls_notebooks:
        lines += ["notebooks.tls = true", 'notebooks.tls_ca = "authority.pem"']
    return "\n".join([*lines, ""])


class Nginx(Target):
    """nginx with one worker, the same limits and its own defaults beside them."""

    name = "nginx"

    @property
    def version(self) -> str:
        """See :class:`Target`."""
        return _first_line(["nginx", "-v"]).removeprefix("nginx version: ")

    def start(self, settings: Settings, directory: Path, env: Mapping[str, str]) -> Running:
        """See :class:`Target`."""
        file = directory / "nginx.conf"
        port = free_port()
        file.write_text(_nginx(settings, port, directory))
        environment = {"PATH": f"{os.environ['PATH']}:/usr/sbin", **env}
        child = Child(
            "nginx", ["nginx", "-p", str(directory), "-c", str(file)], environment, directory
        )
        return Running(child, port, directory / "access.log", has_master=True)


_NGINX = """\
{user}
daemon off;
pid {directory}/nginx.pid;
error_log stderr warn;
worker_processes 1;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    access_log {directory}/access.log combined;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    limit_req_zone $binary_remote_addr zone=requests:1m rate=500r/s;
    limit_req_status 429;
    limit_conn_zone $binary_remote_addr zone=connections:1m;
    limit_conn_status 429;
    {upstreams}
    server {{
        listen 127.0.0.1:{port} ssl backlog=1024;
        server_name localhost;
        ssl_certificate {directory}/server.pem;
        ssl_certificate_key {directory}/server.key;
        ssl_protocols TLSv1.2 TLSv1.3;
        client_max_body_size 0;
        client_header_timeout {head_timeout}s;
        large_client_header_buffers 4 16k;
        limit_conn connections 256;
        {limit}
        location / {{ root {directory}/nothing; log_not_found off; }}
        location ~ ^/ipython/(?<notebook>{ports})/ {{
            proxy_pass {scheme}://notebook_$notebook;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
            proxy_set_header Host 127.0.0.1:$notebook;
            proxy_set_header Origin http://127.0.0.1:$notebook;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_ssl_trusted_certificate {directory}/authority.pem;
            proxy_ssl_verify on;
            proxy_ssl_name localhost;
            proxy_ssl_server_name on;
            proxy_ssl_protocols TLSv1.2 TLSv1.3;
        }}
    }}
}}
"""


def _nginx(settings: Settings, port: int, directory: Path) -> str:
    upstreams = (
        f"upstream notebook_{notebook} {{ server 127.0.0.1:{notebook}; keepalive 64; }}"
        for notebook in settings.notebooks
    )
    return _NGINX.format(
        # Started by root it goes on as root, and so reads the files of this run.
        user="user root;" if os.geteuid() == 0 else "",
        directory=directory,
        upstreams="\n    ".join(upstreams),
        port=port,
        head_timeout=settings.head_timeout,
        limit="limit_req zone=requests burst=5000 nodelay;" if settings.limited else "",
        ports="|".join(map(str, settings.notebooks)),
        scheme="https" if settings.tls_notebooks else "http",
    )


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return (done.stdout + done.stderr).strip().partition("\n")[0]


def machine() -> str:
    """The interpreter and the machine, for the head of a table."""
    load = ", ".join(f"{figure:.1f}" for figure in os.getloadavg())
    python = sys.version.partition(" ")[0]
    when = time.strftime("%Y-%m-%d %H:%M")
    return f"{when}; Python {python} ({sys.executable}); {os.cpu_count()} cores, load {load}"
