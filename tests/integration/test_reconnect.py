"""Open pages in Chromium while their WebSockets are cut: output goes on, and nobody reloads.

A page connects again after a connection that just ended, as a stopped nginx ends it. JupyterLab
from 4.6 and Notebook from 7.6 do not after a close frame with 1000 or 1001, older ones after none.
"""

from __future__ import annotations

import os
import re
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .apps import environment
from .chromium import chromium
from .client import Client
from .jupyter import Lab, notebook_port
from .processes import poll
from .proxy import Proxy
from .test_browser import EMPTY_NOTEBOOK

pytestmark = pytest.mark.integration

from playwright.sync_api import BrowserContext, Page, expect  # noqa: E402

#: Seconds that a page has to connect again: it waits longer after each attempt.
PATIENCE = 60.0
#: Prints a number five times a second, for a minute.
COUNTING = "import time\nfor n in range(300):\n    print(n, flush=True)\n    time.sleep(0.2)"
CONFIGURATION = "[timeouts]\ndrain = 1\ndrain_websocket = 2\n"


@dataclass(frozen=True)
class Program:
    """One program with a page of its own for notebooks.

    ``packages`` are those of an environment of its own; none for that of the tests.
    """

    application: str
    path: str
    packages: tuple[str, ...] = ()
    editor: str = ".jp-Notebook .jp-CodeCell .cm-content"
    output: str = ".jp-Notebook .jp-OutputArea-output"
    idle: str = ".jp-Notebook-ExecutionIndicator[data-status=idle]"

    def start(self, directory: Path) -> Lab:
        python = {}
        if self.packages:
            name = re.sub(r"[^a-z0-9]+", "-", " ".join(self.packages).lower())
            python["python"] = str(environment(name, self.packages) / "bin" / "python")
        return Lab(directory, notebook_port(), application=self.application, **python)


LAB = Program("jupyterlab", "lab/tree/")
LAB_4_5 = Program("jupyterlab", "lab/tree/", ("jupyterlab==4.5.*", "ipykernel"))
NOTEBOOK_7 = Program("notebook", "notebooks/")
CLASSIC = Program(
    "nbclassic",
    "notebooks/",
    ("nbclassic==1.3.*", "ipykernel", "setuptools<81"),
    editor=".code_cell .CodeMirror-code",
    output=".code_cell .output_stdout pre",
    idle="#kernel_indicator_icon.kernel_idle_icon",
)


class Scene:
    """A proxy, a notebook server behind it, and a page that prints."""

    def __init__(self, directory: Path, program: Program) -> None:
        self.directory, self.program = directory, program
        (directory / "proxy").mkdir()
        (directory / "jupyter").mkdir()
        self.proxy = Proxy(directory / "proxy", CONFIGURATION)
        self.server = program.start(directory / "jupyter")
        self.page: Page

    def client(self) -> Client:
        tls = self.proxy.client_tls()
        return Client(self.proxy.origin, self.server.base_url, tls=tls, token=self.server.token)

    def open(self, browser: BrowserContext, path: str) -> None:
        self.page = browser.new_page()
        token = f"?token={self.server.token}"
        self.page.goto(f"{self.proxy.origin}{self.server.base_url}{path}{token}")

    def count(self, browser: BrowserContext) -> None:
        """Open a new notebook and run the cell that counts."""
        name = f"{uuid.uuid4().hex}.ipynb"
        cell: dict[str, object] = {
            "id": "counting", "cell_type": "code", "source": "", "metadata": {},
            "execution_count": None, "outputs": [],
        }  # fmt: skip
        model = {"type": "notebook", "content": {**EMPTY_NOTEBOOK, "cells": [cell]}}
        client = self.client()
        client.request("PUT", f"api/contents/{name}", json=model)
        client.close()
        self.open(browser, self.program.path + name)
        expect(self.page.locator(self.program.idle).first).to_be_visible(timeout=60_000)
        self.page.locator(self.program.editor).first.click()
        self.page.keyboard.insert_text(COUNTING)
        self.page.keyboard.press("Shift+Enter")

    def numbers(self) -> list[int]:
        """What stands below the cell."""
        pieces = self.page.locator(self.program.output).all_inner_texts()
        return [int(word) for word in " ".join(pieces).split() if word.isdigit()]

    def wait_for(self, number: int) -> None:
        """Wait until the page shows *number*, and see that it has shown all before."""
        poll(
            lambda: True if (seen := self.numbers()) and seen[-1] >= number else None,
            seconds=PATIENCE,
            waiting_for=f"{number}; the page shows {self.numbers()[-3:]}",
        )
        seen = self.numbers()
        assert seen == list(range(seen[-1] + 1)), "some output is lost"

    def restart(self) -> None:
        self.proxy.child.stop()
        time.sleep(1)
        self.proxy = Proxy(self.directory / "proxy", CONFIGURATION, port=self.proxy.port)

    def hand_over(self) -> None:
        """Another process takes the port, while the old one lets WebSockets live a little."""
        old = self.proxy
        os.kill(old.child.pid, signal.SIGQUIT)
        self.proxy = Proxy(self.directory / "proxy", CONFIGURATION, port=old.port)
        old.child.wait_until(lambda: "stopped" in old.child.log() or not alive(old), seconds=20)

    def kill(self) -> None:
        os.kill(self.proxy.child.pid, signal.SIGKILL)
        self.proxy.child.stop()
        self.proxy = Proxy(self.directory / "proxy", CONFIGURATION, port=self.proxy.port)

    def pause(self, seconds: float = 8.0) -> None:
        """The notebook server stands still: today's limit for a busy one was nine seconds."""
        os.kill(self.server.child.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(self.server.child.pid, signal.SIGCONT)

    def pause_for_long(self) -> None:
        self.pause(140.0)

    def close(self) -> None:
        self.server.child.stop()
        self.proxy.child.stop()


def alive(proxy: Proxy) -> bool:
    try:
        os.kill(proxy.child.pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Callable[[Program], tuple[Scene, BrowserContext]]]:
    """Makes a scene, and a Chromium that knows its certificate."""
    opened: list[Scene] = []
    contexts = []

    def make(program: Program) -> tuple[Scene, BrowserContext]:
        scene = Scene(tmp_path, program)
        opened.append(scene)
        trust = f"--ignore-certificate-errors-spki-list={scene.proxy.spki_hash()}"
        context = chromium(tmp_path / "profile", trust, "--disable-gpu", "--disable-quic")
        contexts.append(context)
        return scene, context.__enter__()

    yield make
    for context in contexts:
        context.__exit__(None, None, None)
    for scene in opened:
        scene.close()


Stage = Callable[[Program], tuple[Scene, BrowserContext]]


@pytest.mark.parametrize("happens", [Scene.hand_over, Scene.kill, Scene.pause])
def test_a_cell_goes_on_to_print(stage: Stage, happens: Callable[[Scene], None]) -> None:
    scene, browser = stage(LAB)
    scene.count(browser)
    scene.wait_for(5)
    happens(scene)
    scene.wait_for(max(scene.numbers()) + 15)


@pytest.mark.parametrize(
    "program", [LAB, LAB_4_5, NOTEBOOK_7, CLASSIC], ids=["lab", "lab45", "notebook7", "classic"]
)
def test_a_restart_of_the_proxy_loses_no_kernel(stage: Stage, program: Program) -> None:
    scene, browser = stage(program)
    scene.count(browser)
    scene.wait_for(5)
    scene.restart()
    scene.wait_for(max(scene.numbers()) + 15)


@pytest.mark.soak
@pytest.mark.parametrize(
    "program", [LAB, LAB_4_5, NOTEBOOK_7, CLASSIC], ids=["lab", "lab45", "notebook7", "classic"]
)
@pytest.mark.parametrize("happens", [Scene.hand_over, Scene.kill, Scene.pause_for_long])
def test_each_goes_on_whatever_happens(
    stage: Stage, program: Program, happens: Callable[[Scene], None]
) -> None:
    scene, browser = stage(program)
    scene.count(browser)
    scene.wait_for(5)
    happens(scene)
    scene.wait_for(max(scene.numbers()) + 15)


def test_a_terminal_is_the_same_after_a_restart(stage: Stage) -> None:
    """What is typed reaches the same shell."""
    scene, browser = stage(NOTEBOOK_7)
    client = scene.client()
    name = client.request("POST", "api/terminals", json={}).json()["name"]
    client.close()
    scene.open(browser, f"terminals/{name}")
    scene.page.locator(".xterm").first.wait_for(timeout=60_000)

    def shell() -> str:
        """Its process, as it writes it into a file."""
        file = scene.server.root / uuid.uuid4().hex

        def asked() -> str | None:
            scene.page.locator(".xterm").first.click()
            scene.page.keyboard.type(f"echo $$ > {file}")
            scene.page.keyboard.press("Enter")
            time.sleep(1)
            return file.read_text().strip() or None if file.exists() else None

        return poll(asked, seconds=PATIENCE, waiting_for="the shell")

    before = shell()
    scene.restart()
    assert shell() == before
