"""``make run``: a real JupyterLab behind a real ipyproxy, for a first look.

Knows how to start, watch and stop two programs. Knows nothing of what they do.
"""

from __future__ import annotations

import argparse
import getpass
import http.client
import importlib.util
import json
import os
import secrets
import signal
import socket
import ssl
import sys
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ipyproxy.cli.children import MARK, Child, DemoError, StopSignals, descendants
from ipyproxy.net.address import LOOPBACK

T = TypeVar("T")

TICK = 0.2
"""Seconds between two checks of the children and the signals."""
READY_WITHIN = 120.0
"""Seconds the notebook gets to answer through the proxy."""
GRACE = 10.0
"""Seconds a child gets to end by itself (Jupyter shuts its kernels down first)."""


class Stopped(Exception):  # noqa: N818 (a wish, not an error)
    """The user has stopped the demo: Ctrl-C, SIGTERM, or the terminal was closed."""


@dataclass(frozen=True)
class Options:
    """What the command line says: two TCP ports, and where the notebooks lie."""

    port: int
    https: int
    notebooks: Path

    @property
    def base_url(self) -> str:
        """The path below which both Jupyter and the proxy serve the notebook."""
        return f"/ipython/{self.port}/"


def parse(arguments: Sequence[str] | None) -> Options:
    """Return the options; argparse ends the program for wrong ones."""
    parser = argparse.ArgumentParser(prog="python -m ipyproxy.cli.demo", description=__doc__)
    parser.add_argument("--port", type=int, default=10000, help="JupyterLab's (%(default)s)")
    parser.add_argument("--https", type=int, default=8443, help="ipyproxy's (%(default)s)")
    parser.add_argument(
        "--notebooks", type=Path, default=Path("notebooks"), help="directory (./%(default)s)"
    )
    found = parser.parse_args(arguments)
    for name, port in (("--port", found.port), ("--https", found.https)):
        if not 1 <= port <= 65535:
            parser.error(f"{name} must be from 1 to 65535, not {port}")
    if found.port == found.https:
        parser.error("--port and --https must differ")
    return Options(found.port, found.https, found.notebooks.resolve())


def require_free(address: str, port: int, option: str) -> None:
    """Raise :class:`DemoError` unless a listener can be opened at ``address`` and ``port``."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except PermissionError:
            reason = "may not be opened by this user"
        except OSError:
            reason = "is in use by another program (ss -ltnp shows which); stop it"
        else:
            return
    raise DemoError(
        f"Port {port} {reason}, or choose another port: "
        f"make run {option.upper()}={port + 1 if port < 65535 else port - 1}"
    )


def jupyter_command(options: Options, *, as_root: bool) -> list[str]:
    """JupyterLab at one port and base URL, with its default token, XSRF and origin checks."""
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={options.port}",
        # Otherwise Jupyter would try the next free port, which the demo does not know.
        "--ServerApp.port_retries=0",
        f"--ServerApp.base_url={options.base_url}",
        f"--ServerApp.root_dir={options.notebooks}",
    ]  # fmt: skip
    return [*command, "--allow-root"] if as_root else command


def jupyter_environment(home: Path) -> dict[str, str]:
    """The demo's own directories, so that the user's configuration is not read."""
    rest = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    return rest | {
        f"JUPYTER_{name.upper()}_DIR": str(home / name) for name in ("config", "data", "runtime")
    }


def proxy_command(options: Options) -> list[str]:
    """``twistd -n ipyproxy`` for this one notebook.

    The empty ``--pidfile`` lets it run beside any other twistd that was started here.
    """
    twistd = Path(sysconfig.get_path("scripts"), "twistd")
    return [
        str(twistd), "-n", "--pidfile=", "ipyproxy",
        "--https", str(options.https), "--ports", str(options.port),
    ]  # fmt: skip


WELCOME = {
    "cells": [
        {
            "cell_type": "markdown",
            "id": "welcome",
            "metadata": {},
            "source": "# It works\n\nThis page came over HTTPS through ipyproxy. Run the next cell "
            "(Shift-Enter): what it prints comes over a WebSocket through the same proxy.",
        },
        {
            "cell_type": "code",
            "id": "first-cell",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": "import time\n\nfor number in range(5):\n    print(number)\n"
            "    time.sleep(0.5)",
        },
    ],
    "metadata": {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
    },
    "nbformat": 4,
    "nbformat_minor": 5,
}


def furnish(directory: Path) -> None:
    """Create the notebooks' directory if missing, with a welcome notebook and a .gitignore."""
    if directory.exists():
        return
    directory.mkdir(parents=True)
    (directory / ".gitignore").write_text("*\n")
    (directory / "Welcome.ipynb").write_text(json.dumps(WELCOME, indent=1) + "\n")


def answers(url: str) -> bool:
    """Whether a Jupyter server answers at ``url``.

    The certificate is not checked: it was just made on this machine, and the request contains no
    secret.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with urllib.request.urlopen(url, timeout=5, context=context) as response:
            return "version" in json.load(response)
    except (OSError, ValueError, http.client.HTTPException):
        return False


@dataclass
class Demo:
    """The two programs from start to stop; ``home`` holds their logs and Jupyter's own files."""

    options: Options
    home: Path
    signals: StopSignals
    children: list[Child] = field(default_factory=list)
    mark: str = field(default_factory=lambda: secrets.token_hex(8))

    def start(self) -> None:
        """Start JupyterLab and the proxy."""
        as_root = os.geteuid() == 0
        say(f"Starting JupyterLab on 127.0.0.1:{self.options.port}")
        if as_root:
            say("  with --allow-root, because you are root")
        jupyter = jupyter_command(self.options, as_root=as_root)
        self._start("JupyterLab", jupyter, jupyter_environment(self.home))
        proxy = proxy_command(self.options)
        say(f"Starting ipyproxy on port {self.options.https}: {' '.join(['twistd', *proxy[1:]])}")
        self._start("ipyproxy", proxy, dict(os.environ))
        say(f"Their logs, for as long as they run: {self.home}/*.log")

    def _start(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        marked = environment | {MARK: self.mark}
        log = self.home / f"{name.lower()}.log"
        self.children.append(Child.start(name, command, marked, log))

    def wait_until_ready(self) -> str:
        """Return the URL to open, once the notebook answers through the proxy."""
        token = self._wait_for("JupyterLab is up", self._token)
        # Only now: an earlier request, while nobody listens, would mark the port as dead.
        probe = f"https://127.0.0.1:{self.options.https}{self.options.base_url}api"
        self._wait_for("the notebook answers through ipyproxy", lambda: answers(probe))
        return f"https://localhost:{self.options.https}{self.options.base_url}lab?token={token}"

    def _token(self) -> str | None:
        """The token that Jupyter made for itself, from the file it writes once it listens."""
        for file in (self.home / "runtime").glob("jpserver-*.json"):
            try:
                return str(json.loads(file.read_text())["token"])
            except ValueError:  # it is writing just now
                return None
        return None

    def _wait_for(self, event: str, ask: Callable[[], T]) -> T:
        """Ask again and again; return the first answer that counts as true."""
        begun = reported = time.monotonic()
        while not (answer := ask()):
            self._look()
            now = time.monotonic()
            if now - begun > READY_WITHIN:
                logs = "\n".join(f"{child.name}:\n{child.tail()}" for child in self.children)
                raise DemoError(f"Waited {READY_WITHIN:.0f} s in vain until {event}.\n{logs}")
            if now - reported > 5:
                reported = now
                say(f"  {now - begun:5.1f} s  waiting until {event}")
        say(f"  {time.monotonic() - begun:5.1f} s  {event}")
        return answer

    def watch(self) -> None:
        """Stay until :class:`Stopped` or a child's death is raised."""
        while True:
            self._look()

    def _look(self) -> None:
        time.sleep(TICK)
        if self.signals.count:
            raise Stopped
        for child in self.children:
            child.require_alive()

    def stop(self) -> None:
        """End everything that was started. One more signal cuts the grace short.

        Jupyter goes first, which ends the open WebSockets that the proxy would wait for.
        """
        asked = self.signals.count
        for child in self.children:
            child.process.terminate()
            self._grace(child.ended, GRACE, asked)
        self._grace(lambda: not list(descendants(self.mark)), 1.0, asked)
        for pid in descendants(self.mark):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for child in self.children:
            child.process.wait()

    def _grace(self, done: Callable[[], bool], seconds: float, asked: int) -> None:
        deadline = time.monotonic() + seconds
        while not done() and time.monotonic() < deadline and self.signals.count == asked:
            time.sleep(TICK / 4)


def is_headless(environment: Mapping[str, str]) -> bool:
    """Whether this machine has no display, so that the browser is on another one."""
    return not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


def run(options: Options) -> None:
    """The demo from the first check to the last process; raises :class:`DemoError`."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise DemoError("JupyterLab is not installed here: pip install 'ipyproxy[demo]'")
    require_free(LOOPBACK, options.port, "port")
    require_free("0.0.0.0", options.https, "https")  # noqa: S104 (asks only whether it is free)
    furnish(options.notebooks)
    signals = StopSignals()
    signals.install()
    with tempfile.TemporaryDirectory(prefix="ipyproxy-demo-") as home:
        demo = Demo(options, Path(home), signals)
        try:
            demo.start()
            url = demo.wait_until_ready()
            say(f"\nOpen  {url}\n")
            if is_headless(os.environ):
                port = options.https
                say(
                    "No browser can be seen here. On the machine with the browser, first:\n"
                    f"      ssh -L {port}:localhost:{port} {getpass.getuser()}@{socket.getfqdn()}\n"
                )
            say("The browser warns of the certificate: it was made on this machine, to try with.")
            say(f"Notebooks are kept in {options.notebooks}. Ctrl-C stops everything.")
            demo.watch()
        except Stopped:
            say("\nStopping")
        finally:
            demo.stop()
    say("Nothing is left running")


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status; what went wrong is said in a few lines, without a traceback."""
    try:
        run(parse(arguments))
    except DemoError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
