"""A machine that gets its certificates from a Pebble of its own, and what browsers see of it.

Knows how the proxy is told of the authority, and whom browsers trust. Knows nothing of what is
tested.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509

from ipyproxy.acme.store import Store
from tests.integration.processes import free_port, poll
from tests.integration.proxy import Proxy

from .acme import Pebble, require_programs


class _Started(Proxy):
    """A proxy that is up once it says so, whatever certificate it has."""

    def _shakes_hands(self) -> bool:
        return "leads to http" in self.child.log()


class Machine:
    """One machine with a Pebble that looks at it, and a proxy.

    :param more: of Pebble's own configuration.
    """

    def __init__(
        self,
        directory: Path,
        faults: dict[str, str],
        *,
        reaches_tls: bool = True,
        more: dict[str, Any] | None = None,
    ) -> None:
        self.directory = directory
        self.port, self.http = free_port(), free_port()
        tls = self.port if reaches_tls else 0
        self.pebble = Pebble(directory, self.http, tls, faults, more)
        self.root = self.pebble.write_root(directory / "root.pem")
        self.proxy: Proxy | None = None

    @classmethod
    def beside(cls, other: Machine, directory: Path) -> Machine:
        """Another machine for the same Pebble, which does not look at it."""
        made = cls.__new__(cls)
        made.directory, made.pebble, made.root = directory, other.pebble, other.root
        made.port, made.http, made.proxy = free_port(), free_port(), None
        return made

    def plain_http(self) -> str:
        """Key of the configuration: where it listens for plain HTTP."""
        return f'http = "tcp:{self.http}:interface=127.0.0.1"'

    def configuration(self, names: Sequence[str], *more: str, listen: str = "") -> str:
        told = ", ".join(f'"{name}"' for name in names)
        return (
            f"[listen]\n{listen}\n[tls]\nacme = true\nnames = [{told}]\n"
            f'acme_directory_url = "{self.pebble.url}"\nacme_ca = "{self.pebble.trusted}"\n'
            'email = "admin@example.org"\n' + "\n".join(more)
        )

    def start(self, configuration: str) -> Proxy:
        self.proxy = _Started(self.directory, configuration, port=self.port)
        return self.proxy

    def configure(self, configuration: str) -> None:
        """Write another configuration, and let it be read."""
        (self.directory / "ipyproxy.toml").write_text(configuration)
        assert self.proxy is not None
        os.kill(self.proxy.child.pid, signal.SIGHUP)

    def store(self, *names: str) -> Store:
        return Store(self.directory / "acme", names)

    def shown(self, name: str) -> int | None:
        """The serial number of the certificate for ``name``, if browsers trust it."""
        context = ssl.create_default_context(cafile=self.root)
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), timeout=10) as tcp,
                context.wrap_socket(tcp, server_hostname=name) as tls,
            ):
                shown = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")
                return shown.serial_number
        except OSError:
            return None

    def wait_for(self, name: str, other_than: int | None = None) -> int:
        """Wait until browsers trust a certificate for ``name``."""

        def look() -> int | None:
            shown = self.shown(name)
            return shown if shown != other_than else None

        try:
            return poll(look, seconds=60, waiting_for=f"the certificate for {name}")
        except TimeoutError:
            raise AssertionError(self.log()) from None

    def log(self) -> str:
        assert self.proxy is not None
        return self.proxy.child.log()

    def stop(self) -> None:
        self.pebble.stop()
        if self.proxy is not None:
            assert "Traceback" not in self.log(), self.log()
            self.proxy.child.stop()


@contextlib.contextmanager
def machine(
    directory: Path,
    faults: dict[str, str] | None = None,
    *,
    reaches_tls: bool = True,
    more: dict[str, Any] | None = None,
) -> Iterator[Machine]:
    """A machine, until the end of the test."""
    require_programs()
    made = Machine(directory, faults or {}, reaches_tls=reaches_tls, more=more)
    try:
        yield made
    finally:
        made.stop()


def until(condition: Callable[[], object], waiting_for: str = "an attempt to fail") -> None:
    """Wait until ``condition`` holds, for a minute at most."""
    poll(lambda: condition() or None, seconds=60, waiting_for=waiting_for)
