"""What both sides serve: an application by gunicorn, a directory, and a certificate."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.certificates import Authority
from tests.integration.apps import environment
from tests.integration.processes import Child

APPLICATIONS = Path(__file__).parents[1] / "applications"
PROGRAMS = ("gunicorn==23.0.0", "uvicorn==0.38.0", "websockets==15.0.1")
NAMES = ("localhost", "galaxy.example.org", "hub.domain.tld")


class Ground:
    """A directory that everybody may read, as a server's workers have to, with a certificate."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        authority = Authority()
        self.trusted = authority.write(directory)
        self.certificate, self.key = authority.issue(*NAMES).write(directory)
        self.tls = ssl.create_default_context(cafile=str(self.trusted))
        # Names that are asked for need not be the certificate's: what is answered is the matter.
        self.tls.check_hostname = False
        self._children: list[Child] = []

    def run(self, where: str, **environ: str) -> Child:
        """Start the application at ``unix:PATH`` or ``HOST:PORT``."""
        gunicorn = environment("servers", PROGRAMS) / "bin" / "gunicorn"
        command = [
            *(str(gunicorn), "--bind", where, "--threads", "4", "--umask", "0"),
            *("--chdir", str(APPLICATIONS), "--forwarded-allow-ips", "*", "told_app:application"),
        ]
        child = Child("gunicorn", command, {"PATH": os.environ["PATH"], **environ}, self.directory)
        child.wait_until(lambda: _listens(where), seconds=30)
        return self.keep(child)

    def keep(self, child: Child) -> Child:
        """Have it stopped at the end."""
        self._children.append(child)
        return child

    def stop(self) -> None:
        """Stop all that was started here."""
        for child in reversed(self._children):
            child.stop()


@contextmanager
def ground() -> Iterator[Ground]:
    """A ground for the time of a test module."""
    # Those of pytest are for one user only, and Apache serves as another.
    directory = Path(tempfile.mkdtemp(prefix="beside-"))
    directory.chmod(0o755)
    made = Ground(directory)
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(directory, ignore_errors=True)


def _listens(where: str) -> bool:
    if where.startswith("unix:"):
        with socket.socket(socket.AF_UNIX) as sock:
            return sock.connect_ex(where[5:]) == 0
    host, _, port = where.rpartition(":")
    with socket.socket() as sock:
        return sock.connect_ex((host, int(port))) == 0
