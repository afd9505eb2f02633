"""A real JupyterHub with ours as its proxy: what its users see, in Chromium."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.chromium import BrowserContext, Page, chromium, expect
from tests.integration.processes import Child, free_port, poll
from tests.integration.proxy import Proxy
from tests.integration.scene import COUNTING, LAB
from tests.integration.test_browser import EMPTY_NOTEBOOK, run_cell, wait_for_kernel

from .hub import START_TIMEOUT, Hub, five_lines, local_options
from .programs import ROOT, in_its_place, jupyterhub

pytestmark = pytest.mark.integration

#: Milliseconds that a page has: a server has to start behind it.
PATIENCE = 60_000
OURS = 'c.ConfigurableHTTPProxy.command = "{command}"\n'


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[BrowserContext]:
    """A Chromium that asks nobody about certificates: these tests are about other things."""
    size = {"width": 1280, "height": 800}
    options = {"viewport": size, "ignore_https_errors": True}
    with chromium(tmp_path / "profile", "--disable-gpu", "--disable-quic", **options) as context:
        context.set_default_timeout(PATIENCE)
        yield context


def test_five_lines_and_no_node(tmp_path: Path) -> None:
    """The configuration that the documentation shows, as it stands there."""
    (tmp_path / "jupyterhub_config.py").write_text(
        five_lines((ROOT / "docs" / "jupyterhub.md").read_text())
    )
    commands = jupyterhub()
    assert shutil.which("node", path=str(commands)) is None
    port = free_port()
    hub = Child(
        "jupyterhub",
        [
            *(str(commands / "jupyterhub"), f"--JupyterHub.bind_url=http://127.0.0.1:{port}"),
            *local_options(api_port=free_port()),
        ],
        {"PATH": str(commands), "HOME": str(tmp_path), "LANG": "C.UTF-8"},
        tmp_path,
    )
    try:
        hub.wait_until(lambda: is_up(f"http://127.0.0.1:{port}/hub/login"), seconds=START_TIMEOUT)
    finally:
        hub.stop()


def is_up(url: str) -> bool:
    import httpx

    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Hub]:
    """A hub that starts its proxy as it would start configurable-http-proxy."""
    public = f"http://127.0.0.1:{free_port()}"
    command = in_its_place(tmp_path) / "configurable-http-proxy"
    hub = Hub(
        tmp_path,
        OURS.format(command=command),
        public,
        f"--JupyterHub.bind_url={public}",
        *local_options(api_port=free_port()),
    )
    yield hub
    hub.stop()
    assert f'File "{ROOT}/ipyproxy/' not in hub.child.log()


def log_in(page: Page, public: str, user: str) -> None:
    """As a person does, up to the page of one's own server."""
    page.goto(public)
    page.locator("#username_input").fill(user)
    page.locator("#password_input").fill("anything")
    page.locator("#login_submit").click()


def wait_for_lab(page: Page) -> None:
    """Wait until a server has started and shows JupyterLab."""
    expect(page.locator("#jp-main-dock-panel")).to_be_visible(timeout=PATIENCE)


def picture(page: Page, directory: Path, name: str) -> None:
    """Keep what one sees."""
    page.screenshot(path=directory / f"{name}.png")


def notebook(hub: Hub, user: str) -> str:
    """An empty notebook in a user's home; returns its name."""
    home = hub.homes / user
    home.mkdir(parents=True, exist_ok=True)
    cell: dict[str, object] = {
        "id": "first", "cell_type": "code", "source": "", "metadata": {},
        "execution_count": None, "outputs": [],
    }  # fmt: skip
    (home / "day.ipynb").write_text(json.dumps({**EMPTY_NOTEBOOK, "cells": [cell]}))
    return "day.ipynb"


def test_a_day_of_a_user(started: Hub, browser: BrowserContext, tmp_path: Path) -> None:
    """Log in, spawn, run a cell, a second server, stop them."""
    name = notebook(started, "ada")
    page = browser.new_page()
    log_in(page, started.public, "ada")
    wait_for_lab(page)
    picture(page, tmp_path, "spawned")

    page.goto(f"{started.public}/user/ada/lab/tree/{name}")
    wait_for_kernel(page)
    assert run_cell(page, "print(6 * 7)") == "42"
    picture(page, tmp_path, "cell")

    page.goto(f"{started.public}/hub/home")
    page.locator(".new-server-name").fill("second")
    page.locator(".new-server-btn").click()
    row = page.locator("tr[data-server-name=second]")
    expect(row).to_be_visible(timeout=PATIENCE)
    page.goto(f"{started.public}/hub/spawn/ada/second")
    wait_for_lab(page)
    started.wait_for_servers("ada", ["", "second"])

    page.goto(f"{started.public}/hub/home")
    row.locator(".stop-server").click()
    started.wait_for_servers("ada", [""])
    page.locator("#stop").click()
    started.wait_for_servers("ada", [])
    picture(page, tmp_path, "home")
    # What was there is the hub's page now, which offers to start it again.
    page.goto(f"{started.public}/user/ada/lab")
    expect(page.locator("body")).to_contain_text("Launch Server", timeout=PATIENCE)
    picture(page, tmp_path, "stopped")


@pytest.mark.soak
def test_an_idle_server_is_culled(started: Hub) -> None:
    """The culler goes by what the hub has of its proxy."""
    started.spawn("ida")
    started.wait_for_servers("ida", [""])
    routes = started.http.get("proxy").json()
    assert routes["/user/ida/"]["data"]["last_activity"]
    options = ["--timeout=1", "--cull-every=1", f"--url={started.public}/hub/api"]
    culler = Child(
        "culler",
        [str(jupyterhub() / "python"), "-m", "jupyterhub_idle_culler", *options],
        {**os.environ, "JUPYTERHUB_API_TOKEN": started.token},
        started.directory,
    )
    try:
        started.wait_for_servers("ida", [])
    finally:
        culler.stop()
    assert "/user/ida/" not in started.http.get("proxy").json()


class Service:
    """A hub whose proxy is a service of its own, and a page with a cell that prints numbers."""

    def __init__(self, directory: Path, browser: BrowserContext) -> None:
        """Start all of them; the cell prints when this returns."""
        (home := directory / "front").mkdir()
        api = f"unix:{home}/hub.sock"
        drain = "[timeouts]\ndrain = 1\ndrain_websocket = 2\n"
        self.front = Proxy(home, f'{drain}[jupyterhub]\napi = "{api}"\n')
        self.hub = Hub(
            directory,
            'c.JupyterHub.proxy_class = "ipyproxy"\n'
            f'c.IPyProxy.api_url = "{api}"\n'
            "c.JupyterHub.cleanup_servers = False\n",
            self.front.origin,
            *local_options(),
            verify=self.front.client_tls(),
        )
        name = notebook(self.hub, "eve")
        self.page = browser.new_page()
        log_in(self.page, self.hub.public, "eve")
        wait_for_lab(self.page)
        self.page.goto(f"{self.hub.public}/user/eve/lab/tree/{name}")
        wait_for_kernel(self.page)
        self.page.locator(LAB.editor).first.click()
        self.page.keyboard.insert_text(COUNTING)
        self.page.keyboard.press("Shift+Enter")
        self.wait_for(5)

    def numbers(self) -> list[int]:
        """What stands below the cell."""
        pieces = self.page.locator(LAB.output).all_inner_texts()
        return [int(word) for word in " ".join(pieces).split() if word.isdigit()]

    def wait_for(self, number: int) -> None:
        """Wait until the page shows *number*, and see that it has shown all before."""
        poll(
            lambda: True if (seen := self.numbers()) and seen[-1] >= number else None,
            seconds=PATIENCE / 1000,
            waiting_for=f"{number} on the page",
        )
        seen = self.numbers()
        assert seen == list(range(seen[-1] + 1)), "some output is lost"

    def stop(self) -> None:
        """End the servers, the hub and the proxy."""
        self.hub.stop()
        assert self.front.child.stop() == 0


@pytest.fixture
def service(tmp_path: Path, browser: BrowserContext) -> Iterator[Service]:
    """The hub, its proxy and the page."""
    running = Service(tmp_path, browser)
    yield running
    running.stop()


@pytest.mark.soak
def test_a_cell_prints_on_whatever_restarts(service: Service, tmp_path: Path) -> None:
    """The hub, then the proxy by hand-over, then the proxy at once."""
    sockets: list[str] = []
    service.page.on("websocket", lambda socket: sockets.append(socket.url))
    old = service.hub.child
    old.signal(signal.SIGTERM)
    assert old.wait(30) == 0
    service.wait_for(service.numbers()[-1] + 5)
    service.hub.start()
    service.wait_for(service.numbers()[-1] + 5)
    assert not sockets, "the page had to connect again while only the hub restarted"
    service.hub.wait_for_servers("eve", [""])
    picture(service.page, tmp_path, "hub-restarted")

    service.front = service.front.hand_over()
    service.wait_for(service.numbers()[-1] + 5)
    service.hub.wait_for_servers("eve", [""])

    service.front.child.stop()
    service.front = service.front.again()
    service.wait_for(service.numbers()[-1] + 5)
    assert "/user/eve/" in service.hub.http.get("proxy").json()
    picture(service.page, tmp_path, "proxy-restarted")


@pytest.mark.soak
def test_fifty_users_come_at_once(started: Hub) -> None:
    users = [f"user{number}" for number in range(50)]
    for user in users:
        started.spawn(user)
    for user in users:
        poll(
            lambda user=user: started.servers(user) or None,  # type: ignore[misc]
            seconds=600,
            waiting_for=f"the server of {user}",
        )
    for user in users:
        answer = started.http.get(f"{started.public}/user/{user}/api/status")
        assert answer.status_code == 200, answer.text
    for user in users:
        started.http.delete(f"users/{user}/server")
    for user in users:
        started.wait_for_servers(user, [])
