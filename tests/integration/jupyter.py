"""A real Jupyter server of the tests; knows how to start one, not who speaks to it."""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import secrets
import signal
import sys
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from ipyproxy.config.values import Ports

from .processes import Child, free_port, poll

#: The range that Galaxy draws the ports of its IPython environment from.
PORTS = Ports.read("10000-14999")

#: Those that no test has had yet. A proxy remembers a port whose last notebook has died.
_unused = iter(random.sample(list(PORTS), len(list(PORTS))))

#: In a URL, says that Jupyter itself is meant to refuse this request.
ON_PURPOSE = "refused-on-purpose"

#: What a server's options belong to, and the name of the one for its root: from 6.5 down, notebook
#: has its own.
ROOT_OPTIONS = {"ServerApp": "root_dir", "NotebookApp": "notebook_dir"}

#: Seconds that a server has until it answers.
START_TIMEOUT = 60.0


def notebook_port() -> int:
    """A free port among those that notebook servers may have, another one at each call."""
    return free_port(_unused)


class Jupyter:
    """A Jupyter server on 127.0.0.1 with its own directories, below ``/ipython/<port>/``.

    Everything that guards it stays as Jupyter has it: token or password, XSRF, Origin and Host.
    """

    def __init__(
        self,
        directory: Path,
        port: int,
        *,
        application: str,
        credential: Mapping[str, str],
        options: list[str],
        python: str = sys.executable,
        section: str = "ServerApp",
    ) -> None:
        """Start ``python -m <application>`` on *port*, and wait until it answers.

        *credential* joins the environment, *python* is the one that has the application, and
        *section* is one of ROOT_OPTIONS. Raises Gone when the server does not come up.
        """
        self.port = port
        self.base_url = f"/ipython/{self.port}/"
        self.root = directory / "root"
        self.root.mkdir()
        self._launch = partial(
            Child,
            f"jupyter-{application}-{self.port}",
            [
                *(python, "-m", application, "--no-browser", "--ip=127.0.0.1"),
                *(["--allow-root"] if os.geteuid() == 0 else []),
                f"--{section}.port={self.port}",
                f"--{section}.port_retries=0",
                f"--{section}.base_url={self.base_url}",
                f"--{section}.{ROOT_OPTIONS[section]}={self.root}",
                # At this level every request leaves a line, so a test can see who got through.
                f"--{section}.log_level=DEBUG",
                *options,
            ],
            {**environment(directory), **credential},
            directory,
        )
        self.start()

    def start(self) -> None:
        """Start the server, for the first time or after an end, and wait until it answers."""
        self.child = self._launch()
        self.child.wait_until(self._answers, seconds=START_TIMEOUT)

    def die(self) -> None:
        """End the server and its kernels by SIGKILL, as a container ends that is killed."""
        self.child.signal(signal.SIGKILL)
        self.child.stop()

    def settled_log(self) -> str:
        """The log, once it has every request that was answered before this call.

        Jupyter answers first and logs afterwards, but does both in one thread: when the line of
        a later request is there, so are those of all earlier ones.
        """
        last = uuid.uuid4().hex
        self._get(f"api?last={last}")
        return poll(
            lambda: log if last in (log := self.child.log()) else None,
            seconds=10,
            waiting_for="Jupyter's log line",
        )

    def _answers(self) -> bool:
        try:
            return self._get("api") == 200
        except OSError:
            return False

    def _get(self, path: str) -> int:
        """The status of a direct request for *path*, past any proxy."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", f"{self.base_url}{path}")
            return connection.getresponse().status
        finally:
            connection.close()


class Lab(Jupyter):
    """JupyterLab as it comes, with a token."""

    def __init__(
        self,
        directory: Path,
        port: int,
        *,
        application: str = "jupyterlab",
        python: str = sys.executable,
        section: str = "ServerApp",
    ) -> None:
        """Start JupyterLab, or another *application* with a token, in *directory*, on *port*."""
        self.token = secrets.token_hex(24)
        super().__init__(
            directory,
            port,
            application=application,
            python=python,
            section=section,
            credential={"JUPYTER_TOKEN": self.token},
            # These two speak to the internet, where tests have no business.
            options=[
                "--LabApp.news_url=",
                "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            ],
        )


class Classic(Jupyter):
    """Jupyter Notebook with a password as Galaxy's image sets it, and WebSocket compression."""

    def __init__(self, directory: Path, port: int) -> None:
        """Start Jupyter Notebook in *directory*, on *port*."""
        self.password = secrets.token_hex(12)
        salt = secrets.token_hex(6)
        digest = hashlib.sha1(f"{self.password}{salt}".encode()).hexdigest()
        super().__init__(
            directory,
            port,
            application="notebook",
            credential={},
            options=[
                f"--PasswordIdentityProvider.hashed_password=sha1:{salt}:{digest}",
                "--ServerApp.websocket_compression_options={}",
            ],
        )


def environment(directory: Path) -> dict[str, str]:
    """An environment in which no file of the user is read or written outside *directory*."""
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(directory),
        "JUPYTER_CONFIG_DIR": str(directory / "config"),
        "JUPYTER_DATA_DIR": str(directory / "data"),
        "JUPYTER_RUNTIME_DIR": str(directory / "runtime"),
        "IPYTHONDIR": str(directory / "ipython"),
    }
