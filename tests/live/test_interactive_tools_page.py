"""docs/interactive-tools.md, walked by its own commands, with Galaxy's own writer of the map.

Galaxy itself is played where it is asked whose a tool is, as its API answers that
(galaxy.webapps.galaxy.api.tool_entry_points).
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sysconfig
import textwrap
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.pages import Page
from tests.integration.galaxymap import GalaxyMap, key
from tests.integration.processes import poll
from tests.integration.proxy import Proxy
from tests.live.tools import HOST, Repeating, Visitor

pytestmark = pytest.mark.integration

PAGE = Page("interactive-tools.md")
BEFORE = """\
gravity:
  gx_it_proxy:
    enable: true
galaxy:
  interactivetools_map: database/interactivetools_map.sqlite
"""


class Host:
    """A machine's directories, below one of the test's; ``systemctl reload`` is a shim."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.etc, self.srv = directory / "etc", directory / "galaxy"
        for each in self.etc, self.srv / "config", self.srv / "database", directory / "bin":
            each.mkdir(parents=True)
        self.configuration = self.etc / "ipyproxy.toml"
        self.proxy = Proxy(self.etc, f'site.hosts = ["{HOST}"]\n')

    def placed(self, text: str) -> str:
        """*text* with the paths of this machine."""
        text = text.replace("/srv/galaxy", str(self.srv)).replace("/etc/ipyproxy", str(self.etc))
        return text.replace("ipyproxy check\n", f"ipyproxy check --config {self.configuration}\n")

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        """Do what the page says."""
        shim = self.directory / "bin" / "systemctl"
        shim.write_text(f"#!/bin/sh\n[ $1 = reload ] && kill -HUP {self.proxy.child.pid}\n")
        shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
        path = [str(shim.parent), sysconfig.get_path("scripts"), os.environ["PATH"]]
        root = str(Path(__file__).parents[2])
        return subprocess.run(
            ["bash", "-c", self.placed(textwrap.dedent(text))],
            cwd=self.directory, capture_output=True, text=True, check=False,
            env={"PATH": ":".join(path), "PYTHONPATH": root, "HOME": str(self.directory)},
        )  # fmt: skip


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.proxy.child.stop()


def test_five_steps(host: Host) -> None:
    galaxy_yml = host.srv / "config" / "galaxy.yml"
    galaxy_yml.write_text(BEFORE)
    read, add, reload = PAGE.blocks("From nginx and gx-it-proxy in five steps")
    (changed,) = PAGE.blocks("From nginx and gx-it-proxy in five steps", "yaml")

    done = host.run(read)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 4), done.stderr
    galaxy_yml.write_text(host.placed(textwrap.dedent(changed)))
    done = host.run(read)
    assert (done.returncode, done.stderr) == (0, "")

    done = host.run(add)
    assert done.returncode == 0, done.stderr
    done = host.run(reload)
    assert done.returncode == 0, done.stderr
    host.proxy.child.wait_until(lambda: "is away" in host.proxy.child.log(), seconds=10)

    visitor = Visitor(host.proxy.port)
    url = f"sqlite:///{host.srv}/database/interactivetools_map.sqlite"
    with Repeating() as tool, GalaxyMap(url) as galaxy:
        galaxy.save(7, "t0k3n", tool.port)
        target = f"/interactivetool/ep/{key(7)}/t0k3n/"
        poll(lambda: visitor.ask(target).status == 200 or None, seconds=5, waiting_for="the tool")
    assert "has 1 interactive tools" in host.proxy.child.log()


class _Galaxy(BaseHTTPRequestHandler):
    """Whose the tools are: all are the one's whose session is "owner"."""

    def do_GET(self) -> None:
        asked.append(self.path)
        is_owner = "galaxysession=owner" in (self.headers["Cookie"] or "")
        self.send_response(200 if is_owner else 403)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        """Nobody reads that."""


asked: list[str] = []


def test_only_the_owner_may_open_a_tool(host: Host) -> None:
    (rules,) = PAGE.blocks("Who may open a tool", "toml")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Galaxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = host.srv / "database" / "map.sqlite"
    file = host.etc / "ipyproxy.toml"
    file.write_text(
        f'site.hosts = ["{HOST}"]\n{rules.replace("8080", str(server.server_port))}\n'
        f'[galaxy]\nmap = "sqlite:///{place}"\nhost = "{HOST}"\n'
    )
    host.proxy.child.signal(signal.SIGHUP)
    visitor = Visitor(host.proxy.port)
    try:
        with Repeating() as tool, GalaxyMap(f"sqlite:///{place}") as galaxy:
            galaxy.save(7, "t0k3n", tool.port)
            target = f"/interactivetool/ep/{key(7)}/t0k3n/"
            poll(
                lambda: visitor.ask(target).status == 403 or None, seconds=10, waiting_for="the map"
            )
            own = f"{key(7)}-t0k3n.ep.interactivetool.{HOST}"
            for where, name in (target, HOST), ("/", own):
                others = visitor.ask(where, name, headers={"Cookie": "galaxysession=other"})
                assert others.status == 403
                owners = visitor.ask(where, name, headers={"Cookie": "galaxysession=owner"})
                assert owners.status == 200
                assert owners.body["cookie"] is None
            assert set(asked) == {f"/api/entry_points/{key(7)}/access"}
            before = len(asked)
            assert visitor.ask("/interactivetool/ep/nobody/t0k3n/").status == 404
            assert len(asked) == before
    finally:
        server.shutdown()
        server.server_close()
