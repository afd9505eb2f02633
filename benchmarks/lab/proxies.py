"""The proxies that JupyterLab is opened through, each as an administrator would set it up for that.

Knows configurations and commands. Knows nothing of browsers and lines.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import _APACHE_MODULES, _CHECKOUT, _COMPILED, CADDY
from benchmarks.site import Site, nginx_user, render


@dataclass(frozen=True)
class Proxy:
    """One proxy in one setting.

    :param command: what to start, given the site, the port to listen on and a directory.
    :param needs: the program that has to be there, and Debian's package of it.
    """

    name: str
    title: str
    command: Callable[[Site, int, Path], list[str]]
    needs: str
    compiled: bool = False

    def missing(self) -> str:
        return "" if shutil.which(self.needs) else f"no {self.needs}"

    @property
    def env(self) -> dict[str, str]:
        home = _COMPILED if self.compiled and any(_COMPILED.glob("*.so")) else _CHECKOUT
        path = [str(home), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"PYTHONPATH": os.pathsep.join(path)}


def _ipyproxy(codings: str) -> Callable[[Site, int, Path], list[str]]:
    def command(site: Site, port: int, directory: Path) -> list[str]:
        settings = site.settings(port=port, directory=directory, codings=codings)
        config = render("lab-ipyproxy.toml", settings, directory / "ipyproxy.toml")
        twistd = str(Path(sys.executable).with_name("twistd"))
        pid_file = f"--pidfile={directory / 'twistd.pid'}"
        return [twistd, "--nodaemon", pid_file, "ipyproxy", "--config", str(config)]

    return command


def _nginx(http2: str) -> Callable[[Site, int, Path], list[str]]:
    def command(site: Site, port: int, directory: Path) -> list[str]:
        more = {"port": port, "directory": directory, "http2": http2, "user": nginx_user()}
        config = render("lab-nginx.conf", site.settings(**more), directory / "nginx.conf")
        return ["nginx", "-p", str(directory), "-c", str(config)]

    return command


def _apache(site: Site, port: int, directory: Path) -> list[str]:
    user = "User www-data\nGroup www-data" if os.geteuid() == 0 else ""
    more = {"port": port, "directory": directory, "user": user, "modules": _APACHE_MODULES}
    config = render("lab-apache.conf", site.settings(**more), directory / "apache.conf")
    return ["apache2", "-f", str(config), "-DFOREGROUND"]


def _caddy(site: Site, port: int, directory: Path) -> list[str]:
    settings = site.settings(port=port, directory=directory)
    config = render("lab-Caddyfile", settings, directory / "Caddyfile")
    return [CADDY, "run", "--config", str(config), "--adapter", "caddyfile"]


PROXIES = (
    Proxy(
        "ipyproxy", "ipyproxy", _ipyproxy('["zstd", "br", "gzip"]'), sys.executable, compiled=True
    ),
    Proxy("plain", "ipyproxy, no compression", _ipyproxy("[]"), sys.executable, compiled=True),
    Proxy("nginx2", "nginx, gzip and HTTP/2", _nginx("http2"), "nginx"),
    Proxy("nginx1", "nginx, gzip and HTTP/1.1", _nginx(""), "nginx"),
    Proxy("caddy", "Caddy, zstd and HTTP/2", _caddy, CADDY),
    Proxy("apache", "Apache, original recipe and mod_deflate", _apache, "apache2"),
)
