"""From a development certificate to one that certbot renews, as docs/tls.md tells it."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.processes import free_port, poll
from tests.integration.proxy import Proxy

from .acme import Pebble, certbot, require_programs

pytestmark = pytest.mark.integration

HOST = "hub.example.org"
HOOK = Path(__file__).parents[2] / "etc" / "certbot-deploy-hook"


class Host:
    """One machine: the proxy, with plain HTTP where the ACME server asks, and certbot's files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.webroot, self.tls = directory / "acme", directory / "tls"
        for made in (self.webroot, self.tls):
            made.mkdir()
        self.http = free_port()
        self.proxy = Proxy(directory, self._configuration(""))
        # Debian's certbot bears one nonce that is refused, but not two in a row.
        self.pebble = Pebble(directory, self.http, faults={"PEBBLE_WFE_NONCEREJECT": "0"})

    def _configuration(self, tls: str) -> str:
        return (
            f'[listen]\nhttp = "tcp:{self.http}:interface=127.0.0.1"\n'
            f'acme_directory = "acme"\n[tls]\n{tls}\n'
        )

    def use_directory(self) -> None:
        """Tell the proxy where certificates lie from now on."""
        file = self.directory / "ipyproxy.toml"
        file.write_text(self._configuration('directory = "tls"\nhsts = 63072000'))
        os.kill(self.proxy.child.pid, signal.SIGHUP)

    def certbot(self, *arguments: str) -> None:
        """Run certbot, whose hook tells this proxy."""
        hook = {
            "IPYPROXY_TLS_DIRECTORY": str(self.tls),
            "IPYPROXY_RELOAD": f"kill -HUP {self.proxy.child.pid}",
        }
        certbot(self.directory, self.pebble, hook, *arguments)

    def connect(self, root: Path) -> ssl.SSLSocket:
        """A browser that knows the authority's root only."""
        tcp = socket.create_connection(("127.0.0.1", self.proxy.port), timeout=10)
        return ssl.create_default_context(cafile=root).wrap_socket(tcp, server_hostname=HOST)

    def serial(self, root: Path) -> str | None:
        """Which certificate it serves; None while it is one that the browser does not trust."""
        try:
            with self.connect(root) as connection:
                return str((connection.getpeercert() or {})["serialNumber"])
        except ssl.SSLError:
            return None

    def stop(self) -> None:
        self.pebble.stop()
        self.proxy.child.stop()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    require_programs()
    made = Host(tmp_path)
    yield made
    made.stop()


def get(connection: ssl.SSLSocket) -> bytes:
    connection.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    heard = connection.recv(65536)
    while b"</html>" not in heard:
        heard += connection.recv(65536)
    return heard


def test_a_certificate_is_got_served_and_renewed(host: Host, tmp_path: Path) -> None:
    root = host.pebble.write_root(tmp_path / "root.pem")
    host.certbot(
        *("certonly", "--webroot", "-w", str(host.webroot), "-d", HOST),
        *("--agree-tos", "--register-unsafely-without-email", "--deploy-hook", str(HOOK)),
    )
    (pem,) = host.tls.iterdir()
    assert pem.name == f"{HOST}.pem"
    assert stat.S_IMODE(pem.stat().st_mode) == 0o640

    host.use_directory()
    first = poll(lambda: host.serial(root), seconds=10, waiting_for="the certificate")
    with host.connect(root) as before:
        assert b"\r\nStrict-Transport-Security: max-age=63072000\r\n" in get(before)
        host.certbot("renew", "--force-renewal", "--no-random-sleep-on-renew")
        second = poll(
            lambda: serial if (serial := host.serial(root)) != first else None,
            seconds=10,
            waiting_for="the new certificate",
        )
        assert second is not None
        assert b"HTTP/1.1 200 " in get(before)
    assert list(host.tls.iterdir()) == [pem]
    log = host.proxy.child.log()
    assert "Traceback" not in log, log


def test_a_hook_that_fails_leaves_the_old_certificate(tmp_path: Path) -> None:
    lineage, directory = tmp_path / HOST, tmp_path / "tls"
    lineage.mkdir()
    directory.mkdir()
    (directory / f"{HOST}.pem").write_text("old")
    (lineage / "privkey.pem").write_text("key\n")  # and no chain
    environment = {
        "PATH": os.environ["PATH"],
        "RENEWED_LINEAGE": str(lineage),
        "IPYPROXY_TLS_DIRECTORY": str(directory),
        "IPYPROXY_RELOAD": "false",
    }
    done = subprocess.run([HOOK], env=environment, capture_output=True, timeout=30)
    assert done.returncode != 0
    assert [path.read_text() for path in directory.iterdir()] == ["old"]
