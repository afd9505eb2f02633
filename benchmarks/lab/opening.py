"""One JupyterLab, one browser, one line: how long it takes until a person can begin.

Knows when JupyterLab is open. Knows nothing of the proxies but their port.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from benchmarks.processes import Process
from benchmarks.site import Site, free_ports, wait_for_port

PATIENCE = 120_000  # milliseconds
READY = ".jp-LauncherCard"
SETTLED = 1.5
"""Seconds that a browser has for itself after its start, before it is asked for anything."""
_CHECKOUT = Path(__file__).parents[2]
_CORE = 1


@dataclass(frozen=True)
class Link:
    """A line: round trip in milliseconds, megabits a second (0: any)."""

    round_trip: int
    megabits: int

    @property
    def order(self) -> tuple[int, int]:
        """Slow ones stand last."""
        return self.round_trip, -self.megabits

    @property
    def title(self) -> str:
        rate = f"{self.megabits} Mbit/s" if self.megabits else "any rate"
        return f"{self.round_trip} ms, {rate}" if self.round_trip else f"no delay, {rate}"


@dataclass(frozen=True)
class Opened:
    """How long it took, in seconds, and how many bytes went down the line."""

    seconds: float
    down: int


def lab(site: Site) -> Process:
    """A JupyterLab on the site's port that needs no token."""
    home = site.directory / "jupyter"
    home.mkdir()
    argv = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1"),
        *(["--allow-root"] if os.geteuid() == 0 else []),
        f"--ServerApp.port={site.http_port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.base_url={site.http_prefix}",
        f"--ServerApp.root_dir={home}",
        "--IdentityProvider.token=",
        # As notebooks behind the original recipe have it, which speaks of another origin to them.
        "--ServerApp.allow_origin=*",
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    own = {name: str(home) for name in ("HOME", "JUPYTER_CONFIG_DIR", "IPYTHONDIR")}
    process = Process(argv, site.directory / "jupyter.log", _CORE, own)
    wait_for_port(process, site.http_port, patience=60)
    return process


def many(site: Site) -> Process:
    """A page of many small requests on the site's port."""
    argv = [sys.executable, str(Path(__file__).with_name("many.py")), str(site.http_port)]
    process = Process(argv, site.directory / "many.log", _CORE)
    wait_for_port(process, site.http_port, patience=20)
    return process


@contextmanager
def line(link: Link, to_port: int) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A relay to ``to_port``; gives its own port and its process."""
    port = free_ports(range(20000, 24000))
    argv = [sys.executable, "-m", "benchmarks.lab.relay", str(port), str(to_port)]
    argv += [str(link.round_trip), str(link.megabits)]
    relay = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_CHECKOUT
    )
    try:
        assert relay.stdout is not None
        relay.stdout.readline()
        yield port, relay
    finally:
        relay.kill()
        relay.wait()


def _carried(relay: subprocess.Popen[str]) -> int:
    assert relay.stdin is not None
    assert relay.stdout is not None
    relay.stdin.write("\n")
    relay.stdin.flush()
    return int(relay.stdout.readline())


def spki(certificate: Path) -> str:
    """The certificate's public key, as Chromium takes it for one to trust."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    info = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(info).digest()).decode("ascii")


class Browsers:
    """Chromium, begun anew for each visitor."""

    def __init__(self, playwright: object, site: Site) -> None:
        self._chromium = playwright.chromium  # type: ignore[attr-defined]
        self._site = site
        self._arguments = [
            "--no-first-run",
            f"--ignore-certificate-errors-spki-list={spki(site.certificate)}",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-gpu",
            "--disable-quic",
            "--disable-sync",
        ]

    def visit(self, relay_port: int, relay: subprocess.Popen[str], times: int) -> list[Opened]:
        """Open JupyterLab with an empty cache, and then again with what it has kept."""
        profile = tempfile.mkdtemp(prefix="visitor-", dir=self._site.directory)
        try:
            return [self._open(profile, relay_port, relay) for _ in range(times)]
        finally:
            shutil.rmtree(profile, ignore_errors=True)

    def _open(self, profile: str, port: int, relay: subprocess.Popen[str]) -> Opened:
        context = self._chromium.launch_persistent_context(
            profile,
            executable_path=shutil.which("chromium"),
            headless=True,
            chromium_sandbox=os.geteuid() != 0,
            args=self._arguments,
            viewport={"width": 1280, "height": 800},
        )
        try:
            page = context.pages[0]
            sleep(SETTLED)
            before, began = _carried(relay), monotonic()
            page.goto(
                f"https://localhost:{port}{self._site.http_prefix}lab?reset",
                wait_until="commit",
                timeout=PATIENCE,
            )
            page.locator(READY).first.wait_for(state="visible", timeout=PATIENCE)
            seconds = monotonic() - began
            sleep(0.5)  # what is still under way belongs to it
            return Opened(seconds, _carried(relay) - before)
        finally:
            context.close()
