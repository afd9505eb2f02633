"""A real JupyterHub of the tests; knows how to start one and what its API says, not its proxy."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.integration.processes import Child, free_port, poll

from .programs import jupyterhub

#: Seconds that a hub has until it answers, and a server until it runs.
START_TIMEOUT = 60.0

#: Anybody may log in with any password, and everybody's server is a process of this user.
CONFIGURATION = """
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{homes}/{{username}}"
c.JupyterHub.allow_named_servers = True
c.JupyterHub.concurrent_spawn_limit = 0
c.JupyterHub.last_activity_interval = 2
c.JupyterHub.services = [{{"name": "tests", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [{{
    "name": "tests", "services": ["tests"],
    "scopes": ["admin:users", "admin:servers", "access:servers", "proxy"],
}}]
"""


def local_options(api_port: int = 0) -> list[str]:
    """Options by which a hub takes only ports that nobody has."""
    options = [f"--JupyterHub.hub_port={free_port()}"]
    if api_port:
        options.append(f"--ConfigurableHTTPProxy.api_url=http://127.0.0.1:{api_port}")
    if os.geteuid() == 0:
        options.append('--Spawner.args=["--allow-root"]')
    return options


class Hub:
    """``jupyterhub`` in a directory of its own."""

    def __init__(
        self,
        directory: Path,
        configuration: str,
        public: str,
        *options: str,
        verify: Any = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it, and wait until it answers at *public*, the origin that browsers use.

        Raises Gone where it does not.
        """
        self.directory, self.public = directory, public
        self.token = secrets.token_hex(16)
        self.homes = directory / "homes"
        self._file = directory / "jupyterhub_config.py"
        own = CONFIGURATION.format(homes=self.homes, token=self.token)
        self._file.write_text(own + configuration)
        self._options = options
        self._environment = environment or {}
        self.http = httpx.Client(
            base_url=f"{public}/hub/api/",
            headers={"Authorization": f"token {self.token}"},
            verify=verify,
            timeout=START_TIMEOUT,
            trust_env=False,
        )
        self.start()

    def start(self) -> None:
        """Start the hub, for the first time or again."""
        commands = jupyterhub()
        self.child = Child(
            "jupyterhub",
            [str(commands / "jupyterhub"), "-f", str(self._file), *self._options],
            {
                "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(self.directory),
                "LANG": "C.UTF-8",
                **self._environment,
            },
            self.directory,
        )
        self.child.wait_until(self._answers, seconds=START_TIMEOUT)

    def _answers(self) -> bool:
        try:
            return self.http.get("").status_code == 200
        except httpx.HTTPError:
            return False

    def spawn(self, user: str, server: str = "") -> None:
        """Ask for a server of a user's, who may be new."""
        self.http.post(f"users/{user}")
        where = f"users/{user}/servers/{server}" if server else f"users/{user}/server"
        assert self.http.post(where).status_code in (201, 202)

    def servers(self, user: str) -> dict[str, dict[str, Any]]:
        """A user's servers that are ready, by name."""
        model = self.http.get(f"users/{user}").json()
        return {name: told for name, told in model.get("servers", {}).items() if told["ready"]}

    def wait_for_servers(self, user: str, names: Sequence[str]) -> None:
        """Wait until a user's servers are these, and all of them ready."""
        poll(
            lambda: True if set(self.servers(user)) == set(names) else None,
            seconds=START_TIMEOUT,
            waiting_for=f"the servers {names} of {user}",
        )

    def stop(self) -> None:
        """End the hub and all servers."""
        self.http.close()
        self.child.stop()


def five_lines(page: str) -> str:
    """The first configuration of jupyterhub_config.py that a page of the documentation shows."""
    match = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert match is not None
    return match[1]
