"""What every proxy is put in front of: a certificate, two upstreams, a large file.

Knows the paths that the load generators ask for. Knows nothing of the proxies.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from benchmarks.processes import LOAD_CORE, Process

HERE = Path(__file__).parent
UPSTREAM_PORTS = range(10000, 15000)
PEER_PORTS = range(15000, 20000)

_CLIENT_TLS = """\
openssl_conf = settings
[settings]
ssl_conf = ssl
[ssl]
system_default = tls
[tls]
MinProtocol = TLSv1.3
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = X25519
"""


@dataclass(frozen=True)
class Site:
    """What is served, and where.

    :param directory: where everything that this run writes goes.
    :param http_port: of nginx, for requests and downloads.
    :param ws_port: of the WebSocket server, which takes uploads too.
    :param large_file: what is downloaded and uploaded.
    :param notebooks: ports that the proxies are to carry to besides.
    :param connections: as many as a proxy is to bear.
    :param ahead: what stands before the command of a load generator, for its priority.
    """

    directory: Path
    http_port: int
    ws_port: int
    large_file: Path
    large_bytes: int
    ahead: tuple[str, ...] = ()
    notebooks: range = range(0)
    connections: int = 4096

    @property
    def certificate(self) -> Path:
        return self.directory / "certificate.pem"

    @property
    def key(self) -> Path:
        return self.directory / "key.pem"

    @property
    def bundle(self) -> Path:
        """Certificate and key in one file."""
        return self.directory / "bundle.pem"

    @property
    def client_tls(self) -> Path:
        """An OpenSSL configuration for load generators that cannot be told what to offer."""
        return self.directory / "openssl.cnf"

    @property
    def static(self) -> Path:
        """A directory with a file of 1 KiB and one of 1 MiB."""
        return self.directory / "static"

    @property
    def socket(self) -> Path:
        """Where an application listens."""
        return self.directory / "upstream" / "application.sock"

    @property
    def http_prefix(self) -> str:
        return f"/ipython/{self.http_port}/"

    @property
    def ws_prefix(self) -> str:
        return f"/ipython/{self.ws_port}/"

    def _ports(self) -> list[int]:
        return [self.http_port, self.ws_port, *self.notebooks]

    def tool(self, name: str) -> str:
        """Give the path of a program compiled from wsload/."""
        return str(self.directory / name)

    def settings(self, **more: object) -> dict[str, str]:
        """Give what the templates in configs/ ask for."""
        return {
            "http_port": str(self.http_port),
            "ws_port": str(self.ws_port),
            "certificate": str(self.certificate),
            "key": str(self.key),
            "bundle": str(self.bundle),
            "large_file": str(self.large_file),
            "static": str(self.static),
            "socket": str(self.socket),
            "root": str(self.directory),
            "kibibyte": "x" * 1024,
            "connections": str(self.connections),
            "ports": ",".join(str(port) for port in self._ports()),
            "notebooks": "\n".join(
                f"    upstream notebook_{port} {{ server 127.0.0.1:{port}; keepalive 64; }}"
                for port in self._ports()
            ),
            **{name: str(value) for name, value in more.items()},
        }


def render(template: str, settings: Mapping[str, str], target: Path) -> Path:
    """Write a file of configs/ with each ``@name@`` replaced."""
    text = (HERE / "configs" / template).read_text()
    for name, value in settings.items():
        text = text.replace(f"@{name}@", value)
    target.write_text(text)
    return target


def free_ports(ports: range, count: int = 1) -> int:
    """Give the first of ``count`` ports in a row that nobody listens on."""
    for first in ports[:: count or 1]:
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise RuntimeError(f"no free port from {ports.start} to {ports.stop - 1}")


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def nginx_user() -> str:
    """Give the line by which nginx, started by root, goes on as root and reads our files."""
    return "user root;" if os.geteuid() == 0 else ""


def upstream_nginx(site: Site, directory: Path, listen: str, tls: str = "") -> list[str]:
    """Give the command that serves what the upstream serves, with or without TLS."""
    directory.mkdir(exist_ok=True)
    settings = site.settings(directory=directory, listen=listen, tls=tls, user=nginx_user())
    config = render("upstream.conf", settings, directory / "nginx.conf")
    return ["nginx", "-p", str(directory), "-c", str(config)]


def wait_for_port(process: Process, port: int, patience: float = 10) -> None:
    deadline = monotonic() + patience
    while monotonic() < deadline and process.is_alive():
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        sleep(0.02)
    raise RuntimeError(f"nothing answers on port {port}: {process.last_words()}")


@contextmanager
def open_site(
    directory: Path,
    large_bytes: int,
    ahead: tuple[str, ...] = (),
    notebooks: range = range(0),
    connections: int = 4096,
) -> Iterator[Site]:
    """Compile the tools, make the files, run the upstreams."""
    first = free_ports(UPSTREAM_PORTS, 2)
    large = directory / "large.bin"
    site = Site(directory, first, first + 1, large, large_bytes, ahead, notebooks, connections)
    _compile(site)
    _make_files(site)
    with ExitStack() as stack:
        for port, argv in _upstreams(site):
            process = Process(argv, directory / f"upstream-{port}.log", LOAD_CORE)
            stack.callback(process.stop)
            wait_for_port(process, port)
        yield site


def _upstreams(site: Site) -> Iterator[tuple[int, list[str]]]:
    yield site.http_port, _plain_nginx(site)
    yield site.ws_port, [site.tool("wsserve"), str(site.ws_port)]
    if site.notebooks:
        first, last = site.notebooks[0], site.notebooks[-1]
        yield last, [site.tool("wsserve"), f"{first}-{last}"]


def _plain_nginx(site: Site) -> list[str]:
    return upstream_nginx(site, site.directory / "upstream", f"127.0.0.1:{site.http_port}")


def _compile(site: Site) -> None:
    compiler = shutil.which("cc") or "cc"
    for name, files in (("wsload", ("load.c", "browser.c")), ("wsserve", ("serve.c",))):
        sources = [str(HERE / "wsload" / file) for file in (*files, "wire.c")]
        flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O3", "-Wall", "-Wextra"]
        libraries = ["-lssl", "-lcrypto"]
        subprocess.run([compiler, *flags, "-o", site.tool(name), *sources, *libraries], check=True)


def _make_files(site: Site) -> None:
    site.client_tls.write_text(_CLIENT_TLS)
    with site.large_file.open("wb") as file:
        file.truncate(site.large_bytes)
    site.static.mkdir()
    for name, size in (("kibibyte", 1024), ("mebibyte", 1024 * 1024)):
        (site.static / f"{name}.css").write_bytes(
            b"a { b: c }\n" * (size // 11) + b" " * (size % 11)
        )
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(site.key), "-out", str(site.certificate)]
    subprocess.run(
        ["openssl", "req", "-x509", *curve, *names, *files], check=True, capture_output=True
    )
    site.bundle.write_text(site.certificate.read_text() + site.key.read_text())
