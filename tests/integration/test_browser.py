"""Jupyter in headless Chromium through the proxy: a person opens a notebook and runs cells."""

from __future__ import annotations

import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from ipyproxy.access.tokens import Keyring, Ticket
from tests.live.mortal import Mortal

from .chromium import chromium
from .client import Client
from .jupyter import Classic, Lab
from .proxy import Proxy

pytestmark = pytest.mark.integration

from playwright.sync_api import (  # noqa: E402
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    expect,
)

#: Milliseconds that the page has for anything a person would wait for.
PATIENCE = 30_000

#: A notebook with one empty cell that is to run on a Python kernel.
EMPTY_NOTEBOOK = {
    "cells": [],
    "metadata": {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
    },
    "nbformat": 4,
    "nbformat_minor": 5,
}


@pytest.fixture(scope="module")
def browser(proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """A Chromium that knows the proxy's certificate by its public key; any other is an error."""
    arguments = (
        f"--ignore-certificate-errors-spki-list={proxy.spki_hash()}",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-gpu",
        "--disable-quic",
        "--disable-sync",
    )
    size = {"width": 1280, "height": 800}
    with chromium(tmp_path_factory.mktemp("profile"), *arguments, viewport=size) as context:
        context.set_default_timeout(PATIENCE)
        yield context


@pytest.fixture
def page(browser: BrowserContext, tmp_path: Path) -> Iterator[Page]:
    """An empty page, of which a picture is kept.

    It must not complain about a WebSocket, nor get an answer that says the server is at fault.
    """
    page = browser.new_page()
    complaints: list[str] = []

    def listen(said: ConsoleMessage) -> None:
        if said.type == "error" and "websocket" in said.text.lower():
            complaints.append(said.text)

    def look(response: Response) -> None:
        if response.status >= 500:
            complaints.append(f"{response.status} {response.url}")

    page.on("console", listen)
    page.on("response", look)
    yield page
    page.screenshot(path=tmp_path / "screenshot.png")
    page.close()
    assert not complaints


def save_notebook(owner: Client, name: str) -> None:
    model = {"type": "notebook", "content": EMPTY_NOTEBOOK}
    owner.request("PUT", f"api/contents/{name}", json=model)


def wait_for_kernel(page: Page) -> None:
    """Wait until the notebook is shown and its kernel is there and idle.

    The indicator alone says idle before there is any kernel.
    """
    expect(page.locator(".jp-KernelName")).to_contain_text("Python 3", timeout=PATIENCE)
    indicator = page.locator(".jp-Notebook-ExecutionIndicator")
    expect(indicator).to_have_attribute("data-status", "idle", timeout=PATIENCE)


def run_cell(page: Page, code: str) -> str:
    """Type *code* into the last cell, run it, and return its output."""
    cells = page.locator(".jp-Notebook .jp-CodeCell")
    cell = cells.nth(cells.count() - 1)
    cell.locator(".cm-content").click()
    page.keyboard.insert_text(code)
    page.keyboard.press("Shift+Enter")
    finished = re.compile(r"\[\d+\]")
    expect(cell.locator(".jp-InputPrompt")).to_have_text(finished, timeout=PATIENCE)
    return cell.locator(".jp-OutputArea-output").inner_text().strip()


def test_a_notebook_in_jupyterlab_outlives_a_reload(page: Page, client: Client, lab: Lab) -> None:
    name = f"{uuid.uuid4().hex}.ipynb"
    save_notebook(client, name)
    page.goto(client.url(f"lab/tree/{name}?token={lab.token}"))
    wait_for_kernel(page)
    assert run_cell(page, "answer = 6 * 7; print(answer)") == "42"
    expect(page.locator(".jp-DirListing-item").filter(has_text=name)).to_be_visible()

    page.keyboard.press("Control+s")
    page.reload()
    wait_for_kernel(page)
    assert run_cell(page, "print(answer + 1)") == "43"


def test_a_notebook_opens_after_a_login_by_password(
    page: Page, galaxy_user: Client, classic: Classic
) -> None:
    """Without a token there are only cookies, so Jupyter checks the Origin of everything."""
    name = f"{uuid.uuid4().hex}.ipynb"
    galaxy_user.log_in(classic.password)
    save_notebook(galaxy_user, name)
    page.goto(galaxy_user.url(f"notebooks/{name}"))
    page.locator("input[name=password]").fill(classic.password)
    page.keyboard.press("Enter")
    wait_for_kernel(page)
    assert run_cell(page, "print('größer'.upper())") == "GRÖSSER"


@pytest.fixture
def linked(proxy: Proxy, lab: Lab, tmp_path: Path) -> Iterator[Proxy]:
    """A second proxy, which asks for signed links; its certificate is the first one's."""
    shutil.copy2(proxy.certificate, tmp_path)
    keys = tmp_path / "link.keys"
    keys.touch(mode=0o600)
    keys.write_text("k1:" + "s" * 40)
    configuration = (
        "auth.link_keys = 'link.keys'\n"
        f"auth.rules = [{{ path = '/ipython/{lab.port}', require = 'link' }}]\n"
    )
    running = Proxy(tmp_path, configuration)
    yield running
    running.child.stop()


def test_a_signed_link_opens_a_notebook_and_its_kernel(
    linked: Proxy, page: Page, client: Client, lab: Lab
) -> None:
    name = f"{uuid.uuid4().hex}.ipynb"
    save_notebook(client, name)
    address = f"{linked.origin}{lab.base_url}lab/tree/{name}?token={lab.token}"
    assert (response := page.goto(address)) is not None
    assert response.status == 403

    now = int(time.time())
    route = lab.base_url.rstrip("/").encode()
    token = Keyring({"k1": "s" * 40}).sign(route, Ticket("alice", now, now + 600)).decode()
    page.goto(f"{address}&token={token}")
    assert "v1." not in page.url
    wait_for_kernel(page)
    assert run_cell(page, "print('linked')") == "linked"
    assert "v1." not in page.evaluate("document.cookie")
    assert " - alice [" in linked.child.log()


class Visit:
    """A look at a notebook that is not there: the page, and what it does by itself."""

    def __init__(self, browser: BrowserContext, url: str) -> None:
        self.page = browser.new_page()
        self.loads = 0
        self.looks = 0
        self.complaints: list[str] = []
        self._url = url
        self.page.on("request", self._count)
        self.page.on("console", self._listen)

    def _count(self, request: Request) -> None:
        self.loads += request.is_navigation_request()
        self.looks += "/_ipyproxy/state/" in request.url

    def _listen(self, said: ConsoleMessage) -> None:
        if "security policy" in said.text.lower():
            self.complaints.append(said.text)

    def begin(self, heading: str) -> None:
        self.page.goto(self._url)
        expect(self.page.get_by_role("heading")).to_have_text(heading)

    def expect_notebook(self, notebook: Mortal) -> None:
        expect(self.page.locator("body")).to_have_text(str(notebook.pid), timeout=PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.page.close()
        assert not self.complaints


@pytest.fixture
def dead() -> Iterator[Mortal]:
    """A port that nobody listens on yet."""
    with Mortal() as notebook:
        yield notebook


@pytest.fixture
def visit(browser: BrowserContext, proxy: Proxy, dead: Mortal) -> Iterator[Visit]:
    with Visit(browser, f"{proxy.origin}/ipython/{dead.port}/") as made:
        yield made


class TestWaiting:
    def test_the_page_opens_the_notebook_once_it_is_there(
        self, visit: Visit, dead: Mortal, tmp_path: Path
    ) -> None:
        visit.begin("No notebook answers here yet")
        expect(visit.page.locator("#soon")).to_be_visible()
        expect(visit.page.locator("#plain")).to_be_hidden()
        visit.page.screenshot(path=tmp_path / "starting.png")
        visit.page.wait_for_timeout(2500)
        assert visit.loads == 1, "it must not reload before there is something to see"
        assert visit.looks >= 2
        dead.live()
        visit.expect_notebook(dead)
        assert visit.loads == 2

    def test_it_stops_looking_after_five_minutes(self, visit: Visit) -> None:
        visit.page.clock.install()
        visit.begin("No notebook answers here yet")
        visit.page.clock.fast_forward("05:01")
        expect(visit.page.locator("#late")).to_be_visible()
        looks = visit.looks
        visit.page.clock.run_for(60_000)
        visit.page.wait_for_timeout(500)
        assert visit.looks == looks
        assert visit.loads == 1

    def test_one_that_was_there_and_is_gone_opens_when_it_comes_back(
        self, visit: Visit, dead: Mortal
    ) -> None:
        dead.live()
        visit.page.goto(visit._url)
        visit.expect_notebook(dead)
        dead.die()
        visit.begin("The notebook is not running")
        expect(visit.page.locator("#soon")).to_contain_text("Start it again")
        dead.live()
        visit.expect_notebook(dead)
