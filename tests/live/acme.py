"""A certificate authority of one's own with its DNS, and certbot; everything on loopback.

Pebble is Let's Encrypt's small ACME server for tests. Knows how to start the programs and what they
are told, not what is tested with them.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority
from tests.integration.processes import Child, free_port

REQUIRED = ("pebble", "pebble-challtestsrv", "certbot")
NEWER = "IPYPROXY_PEBBLE"
"""The variable of the environment that names a newer ``pebble`` than Debian's: 2.10 or later has
ARI, profiles and dns-persist-01."""
_CERTBOT_TIMEOUT = 120.0


def require_programs() -> None:
    """Skip the test where Debian's packages are missing."""
    missing = [name for name in REQUIRED if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (Debian: pebble, certbot)")


class Pebble:
    """The ACME server; to it every name is 127.0.0.1.

    :param http: the port that it asks for challenges instead of 80; ``tls`` likewise of 443.
    :param faults: what goes wrong, by the names of its environment variables.
    :param more: of its configuration.
    """

    def __init__(
        self,
        directory: Path,
        http: int,
        tls: int = 0,
        faults: dict[str, str] | None = None,
        more: dict[str, Any] | None = None,
    ) -> None:
        own = Authority("Pebble's own")
        certificate, key = own.issue("localhost").write(directory, "pebble")
        self.trusted = own.write(directory, "pebble-ca")
        self._port, self._management, dns = (free_port() for _ in range(3))
        self.url = f"https://localhost:{self._port}/dir"
        config = directory / "pebble.json"
        config.write_text(
            json.dumps(
                {
                    "pebble": {
                        "listenAddress": f"127.0.0.1:{self._port}",
                        "managementListenAddress": f"127.0.0.1:{self._management}",
                        "certificate": str(certificate),
                        "privateKey": str(key),
                        "httpPort": http,
                        "tlsPort": tls or free_port(),
                        **(more or {}),
                    }
                }
            )
        )
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "PEBBLE_VA_NOSLEEP": "1",
            **(faults or {}),
        }
        self.dns_management = free_port()
        self._dns = Child(
            "challtestsrv",
            [
                *("pebble-challtestsrv", "-defaultIPv6", "", "-dns01", f"127.0.0.1:{dns}"),
                *("-http01", "", "-https01", "", "-tlsalpn01", ""),
                *("-management", f"127.0.0.1:{self.dns_management}"),
            ],
            self._env,
            directory,
        )
        self._dns.wait_until(lambda: _answers(self.dns_management), seconds=30)
        resolver = ("-dnsserver", f"127.0.0.1:{dns}")
        self._command = [
            os.environ.get(NEWER, "pebble"),
            "-strict",
            "-config",
            str(config),
            *resolver,
        ]
        self._directory = directory
        self.start()

    def start(self) -> None:
        """Begin, with a new root and no memory of what was before."""
        self.child = Child("pebble", self._command, self._env, self._directory)
        self.child.wait_until(lambda: _answers(self._port), seconds=30)

    def write_root(self, path: Path) -> Path:
        """Write the root that its certificates lead to, which is made anew at each start."""
        path.write_bytes(self.manage("roots/0"))
        return path

    def manage(self, what: str, told: object = None) -> bytes:
        """Ask for something that only whoever runs it may ask for, or tell it something."""
        return self._ask(f"https://localhost:{self._management}/{what}", told)

    def _ask(self, url: str, told: object = None) -> bytes:
        context = ssl.create_default_context(cafile=self.trusted)
        body = None if told is None else json.dumps(told).encode()
        with urllib.request.urlopen(urllib.request.Request(url, body), context=context) as answer:
            content: bytes = answer.read()
            return content

    def is_revoked(self, serial: int) -> bool:
        """Whether it has revoked the certificate with this serial number."""
        told = json.loads(self.manage(f"cert-status-by-serial/{serial:x}"))
        return bool(told["Status"] == "Revoked")

    def require(self, entry: str) -> None:
        """Skip the test if its directory has no such entry: Debian's is not that new."""
        directory = json.loads(self._ask(self.url))
        if entry not in {**directory, **directory["meta"]}:
            pytest.skip(f"Pebble has no {entry}; {NEWER} names a newer one")

    def records(self, host: str, value: str) -> None:
        """Let the DNS have a TXT record."""
        told = json.dumps({"host": host, "value": value}).encode()
        url = f"http://127.0.0.1:{self.dns_management}/set-txt"
        urllib.request.urlopen(urllib.request.Request(url, told)).close()

    def lead_astray(self, name: str) -> None:
        """Let the DNS say that ``name`` is where nobody listens."""
        told = json.dumps({"host": f"{name}.", "addresses": ["127.0.0.2"]}).encode()
        url = f"http://127.0.0.1:{self.dns_management}/add-a"
        urllib.request.urlopen(urllib.request.Request(url, told)).close()

    def stop(self) -> None:
        """End both."""
        self.child.stop()
        self._dns.stop()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def certbot(directory: Path, pebble: Pebble, hook: dict[str, str], *arguments: str) -> None:
    """Run certbot, whose files lie in *directory*; *hook* is what the deploy hook is told."""
    kept = (f"--{kind}-dir={directory / kind}" for kind in ("config", "work", "logs"))
    done = subprocess.run(
        ["certbot", *arguments, "--non-interactive", "--server", pebble.url, *kept],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(directory),
            "REQUESTS_CA_BUNDLE": str(pebble.trusted),
            **hook,
        },
        capture_output=True,
        text=True,
        timeout=_CERTBOT_TIMEOUT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
