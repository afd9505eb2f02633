"""Proxies under test; knows how to start one and to trust its certificate, not what it carries."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import socket
import ssl
import sysconfig
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import ipyproxy

from .jupyter import PORTS
from .processes import Child, free_port

#: Seconds that a proxy has until it shakes hands.
START_TIMEOUT = 30.0

#: How twistd is run.
TWISTD = (str(Path(sysconfig.get_path("scripts")) / "twistd"),)


class Front(ABC):
    """Something that serves HTTPS as localhost and carries ``/ipython/<port>/`` to notebooks."""

    def __init__(self, child: Child, port: int, certificate: Path) -> None:
        """Wait until a verified handshake with *child* succeeds on *port*.

        *certificate* is what a client has to trust. Raises Gone when it does not come up.
        """
        self.child = child
        self.port = port
        self.origin = f"https://localhost:{port}"
        self.certificate = certificate
        self.child.wait_until(self._shakes_hands, seconds=START_TIMEOUT)

    @abstractmethod
    def again(self) -> Self:
        """Start the same once more, on the same port."""

    @abstractmethod
    def hand_over(self) -> Self:
        """Let another process take what is new; returns who serves from then on."""

    def client_tls(self) -> ssl.SSLContext:
        """A client's TLS context that trusts the proxy's certificate and nothing else."""
        return ssl.create_default_context(cafile=self.certificate)

    def spki_hash(self) -> str:
        """The SHA-256 of the certificate's public key, as Chromium's switches take it."""
        certificate = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(hashlib.sha256(key).digest()).decode("ascii")

    def _shakes_hands(self) -> bool:
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), timeout=5) as tcp,
                self.client_tls().wrap_socket(tcp, server_hostname="localhost"),
            ):
                return True
        except OSError:  # TLS errors too, and no certificate yet
            return False


class Proxy(Front):
    """``twistd ipyproxy`` on a free port, with the development certificate that it makes."""

    def __init__(
        self,
        directory: Path,
        configuration: str = "",
        *,
        port: int = 0,
        twistd: Sequence[str] = TWISTD,
        trusted: Path | None = None,
    ) -> None:
        """Start the proxy in *directory*, and wait until a verified handshake succeeds.

        *configuration* is TOML. *trusted* is the root of the certificate that is configured there,
        which has to name localhost. Raises Gone when it does not come up.
        """
        self._directory, self._configuration = directory, configuration
        self._twistd, self._trusted = twistd, trusted
        file = directory / "ipyproxy.toml"
        file.write_text(configuration)
        port = port or free_port()
        child = Child(
            "ipyproxy",
            [
                *(*twistd, "-n", "--pidfile="),
                *("ipyproxy", "--config", str(file)),
                *("--https", f"tcp:{port}:interface=127.0.0.1"),
                *(() if "\nports" in configuration else ("--ports", str(PORTS))),
            ],
            {
                "PATH": os.environ["PATH"],
                "HOME": str(directory),
                "STATE_DIRECTORY": str(directory),
                # The code that the tests import, wherever it lies, is the code that runs.
                "PYTHONPATH": str(Path(ipyproxy.__file__).parent.parent),
            },
            directory,
        )
        super().__init__(child, port, trusted or directory / "development.pem")

    def again(self) -> Self:
        """See :class:`Front`."""
        return type(self)(
            self._directory,
            self._configuration,
            port=self.port,
            twistd=self._twistd,
            trusted=self._trusted,
        )

    def hand_over(self) -> Self:
        """Hand over, while another process takes the port; returns once the old one has ended."""
        self.child.signal(signal.SIGQUIT)
        successor = self.again()
        self.child.wait(20)
        return successor
