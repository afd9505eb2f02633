"""A PostgreSQL server of the tests' own: started as an unprivileged user, stopped, killed.

Knows Debian's programs of PostgreSQL. Statements are made by psql, so that what is tested is not
what writes.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from .processes import Child, free_port

_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
PASSWORD = "it's a secret"


def why_not() -> str:
    """Why no server can be started; empty: one can."""
    return "" if _PROGRAMS else "PostgreSQL is not installed (apt install postgresql)"


def _user() -> dict[str, Any]:
    """Whom the server runs as, for subprocess: it refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    known = {each.pw_name for each in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in known else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Database:
    """One server with one database ``galaxy``, on a port of 127.0.0.1 and on a socket."""

    def __init__(
        self,
        certificate: tuple[Path, Path] | None = None,
        *,
        hosts: Sequence[str] = (),
        networks: Sequence[str] = (),
    ) -> None:
        """Start it. *certificate* and its key are what it offers TLS with, if any.

        It listens on the addresses *hosts* too, and lets in whoever comes from *networks*.
        """
        if reason := why_not():
            pytest.skip(reason)
        # Not below pytest's directories, which nobody else may enter.
        self.directory = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self.port = free_port()
        self._as = _user()
        self._own(self.directory)
        self._hosts = ",".join(dict.fromkeys(["127.0.0.1", *hosts]))
        self._options = ["-c", "fsync=off"]
        secret = self.directory / "password"
        secret.write_text(PASSWORD)
        self._own(secret)
        self._run(
            *(_PROGRAMS[0] / "initdb", "-D", self.directory / "data", "--no-sync"),
            *("-U", "galaxy", "--pwfile", secret, "--auth-host=scram-sha-256"),
        )
        with (self.directory / "data" / "pg_hba.conf").open("a") as access:
            access.writelines(f"host all all {each} scram-sha-256\n" for each in networks)
        if certificate is not None:
            for source, name in zip(certificate, ("server.crt", "server.key"), strict=True):
                target = self.directory / name
                shutil.copy(source, target)
                target.chmod(0o600)
                self._own(target)
                key = "ssl_cert_file" if name == "server.crt" else "ssl_key_file"
                self._options += ["-c", f"{key}={target}"]
            self._options += ["-c", "ssl=on"]
        self.start()
        self.sql("CREATE DATABASE galaxy", database="postgres")

    def _own(self, path: Path) -> None:
        if self._as:
            os.chown(path, self._as["user"], self._as["group"])

    def _run(self, *command: Any) -> str:
        done = subprocess.run(
            list(map(str, command)),
            cwd=self.directory,
            capture_output=True,
            check=False,
            **self._as,
        )
        assert done.returncode == 0, done.stderr
        return str(done.stdout, "utf-8")

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self.server = Child(
            "postgres",
            [
                *(str(_PROGRAMS[0] / "postgres"), "-D", str(self.directory / "data")),
                *("-p", str(self.port), "-k", str(self.directory), "-h", self._hosts),
                *self._options,
            ],
            {"PATH": os.environ["PATH"], "LC_ALL": "C"},
            self.directory,
            **self._as,
        )
        self.server.wait_until(self._answers, seconds=60)

    def _answers(self) -> bool:
        ready = [str(_PROGRAMS[0] / "pg_isready"), "-h", str(self.directory), "-p", str(self.port)]
        return subprocess.run(ready, capture_output=True, check=False).returncode == 0

    def stop(self) -> None:
        """Stop it; whoever is connected is cut off."""
        self.server.signal(signal.SIGINT)
        self.server.wait(30)

    def kill(self) -> None:
        """End it and all that is left of it."""
        # Without waiting for whoever is connected.
        self.server.signal(signal.SIGINT)
        self.server.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def sql(self, statement: str, *, database: str = "galaxy") -> str:
        """What psql says to *statement*, by the socket."""
        return self._run(
            *("psql", "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-U", "galaxy"),
            *("-h", self.directory, "-p", self.port, "-d", database, "-c", statement),
        )

    @property
    def url(self) -> str:
        """The database over TCP, as SQLAlchemy spells it."""
        secret = PASSWORD.replace("'", "%27").replace(" ", "%20")
        return f"postgresql+psycopg2://galaxy:{secret}@127.0.0.1:{self.port}/galaxy"

    @property
    def by_socket(self) -> str:
        """The database by its socket, in libpq's way."""
        return f"postgresql:///galaxy?host={self.directory}&port={self.port}&user=galaxy"
