"""A browser's page of a notebook, what serves it, and the proxy between, each of which may end.

Knows the pages of JupyterLab, Jupyter Notebook 7 and the classic notebook: where a cell is, what it
has printed, whether its kernel is there. Judges nothing.
"""

from __future__ import annotations

import contextlib
import re
import signal
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from .apps import environment
from .chromium import Page, PageTimeout, chromium, expect
from .client import Client
from .jupyter import Lab, notebook_port
from .processes import poll
from .proxy import Front, Proxy
from .test_browser import EMPTY_NOTEBOOK

#: Seconds that a page has to connect again: it waits longer after each attempt.
PATIENCE = 60.0
#: Milliseconds within which a page does what one asks for, if it does it at all.
_A_MOMENT = 1500
#: Prints a number five times a second, for a minute.
COUNTING = "import time\nfor n in range(300):\n    print(n, flush=True)\n    time.sleep(0.2)"
#: WebSockets do not hold up a hand-over for long.
CONFIGURATION = "[timeouts]\ndrain = 1\ndrain_websocket = 2\n"


@dataclass(frozen=True)
class Program:
    """One program with a page of its own for notebooks.

    ``packages`` are those of an environment of its own; none for that of the tests. ``section`` is
    what its options belong to. The rest are selectors: ``dismiss`` of a dialogue's last button,
    ``restart`` of what one clicks for a new kernel where a cell does not ask for one by itself.
    """

    application: str
    path: str
    packages: tuple[str, ...] = ()
    section: str = "ServerApp"
    editor: str = ".jp-Notebook .jp-CodeCell .cm-content"
    output: str = ".jp-Notebook .jp-OutputArea-output"
    # The indicator alone says idle before there is any kernel, and what is run then is lost.
    idle: str = (
        "body:has(.jp-KernelName:has-text('Python 3'))"
        " .jp-Notebook-ExecutionIndicator[data-status=idle]"
    )
    dismiss: str = ".jp-Dialog-footer button"
    restart: tuple[str, ...] = ()

    def start(self, directory: Path) -> Lab:
        """Start a server in *directory*."""
        python = {}
        if self.packages:
            name = re.sub(r"[^a-z0-9]+", "-", self.packages[0]).strip("-")
            python["python"] = str(environment(name, self.packages) / "bin" / "python")
        port = notebook_port()
        return Lab(directory, port, application=self.application, section=self.section, **python)


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
    dismiss=".modal.in .modal-footer button",
    restart=("#menubar a.dropdown-toggle:text-is('Kernel')", "#restart_kernel"),
)
NOTEBOOK_5 = replace(
    CLASSIC,
    application="notebook",
    section="NotebookApp",
    # The last of each that it gets along with.
    packages=(
        *("notebook==5.7.*", "jupyter_client<7", "tornado<6.3", "pyzmq<25", "jinja2<3.1"),
        *("markupsafe<2.1", "nbconvert<6", "mistune<1", "traitlets<5.2", "ipykernel<6.30"),
        *("setuptools<81", "six"),
    ),
)


def ipyproxy(directory: Path) -> Proxy:
    """The proxy under test."""
    return Proxy(directory, CONFIGURATION)


class Scene:
    """A proxy, a notebook server behind it, and a Chromium with a page of it."""

    page: Page

    def __init__(
        self, program: Program, directory: Path, start: Callable[[Path], Front] = ipyproxy
    ) -> None:
        """Start a proxy by *start*, a server of *program*, and Chromium.

        Whatever fails, now or later, all of them end with the context that the scene is.
        """
        self.program = program
        places = {name: directory / name for name in ("front", "jupyter", "profile")}
        for place in places.values():
            place.mkdir()
        with ExitStack() as stack:
            self.front = start(places["front"])
            # Which one that is, is known only then: lambdas, not bound methods.
            stack.callback(lambda: self.front.child.stop())  # noqa: PLW0108
            self.server = program.start(places["jupyter"])
            stack.callback(lambda: self.server.child.stop())  # noqa: PLW0108
            trust = f"--ignore-certificate-errors-spki-list={self.front.spki_hash()}"
            self._browser = stack.enter_context(
                chromium(places["profile"], trust, "--disable-gpu", "--disable-quic")
            )
            self._ends = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    # A person at the page

    def client(self) -> Client:
        """A program that carries the server's token."""
        tls = self.front.client_tls()
        return Client(self.front.origin, self.server.base_url, tls=tls, token=self.server.token)

    def open(self, path: str) -> None:
        """Open a page; who clicks there dismisses first what it has to say."""
        self.page = self._browser.new_page()
        button = self.page.locator(self.program.dismiss).last
        self.page.add_locator_handler(button, lambda button: button.click())
        token = f"?token={self.server.token}"
        self.page.goto(f"{self.front.origin}{self.server.base_url}{path}{token}")

    def count(self) -> None:
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
        self.open(self.program.path + name)
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

    def work_on(self) -> None:
        """Ask for a new kernel and run a cell, as a person does, until it has run."""

        def attempt() -> bool | None:
            # What the page says may be in the way; it is not for long.
            with contextlib.suppress(PageTimeout):
                if self.program.restart and not self.page.locator(self.program.idle).count():
                    for step in self.program.restart:
                        self.page.locator(step).click(timeout=_A_MOMENT)
                else:
                    self.page.locator(self.program.editor).last.click(timeout=_A_MOMENT)
                    self.page.keyboard.press("Control+a")
                    self.page.keyboard.insert_text("print('ali' + 've')")
                    self.page.keyboard.press("Control+Enter")
                self.page.wait_for_timeout(_A_MOMENT)
            return (
                "alive" in " ".join(self.page.locator(self.program.output).all_inner_texts())
                or None
            )

        poll(attempt, seconds=PATIENCE, waiting_for="a cell to run again")

    def shell(self) -> str:
        """The process of the shell in the page's terminal, as it says itself."""
        # It writes into a file, because the terminal is a picture.
        file = self.server.root / uuid.uuid4().hex

        def asked() -> str | None:
            self.page.locator(".xterm").first.click()
            self.page.keyboard.type(f"echo $$ > {file}")
            self.page.keyboard.press("Enter")
            self.page.wait_for_timeout(_A_MOMENT)
            return file.read_text().strip() or None if file.exists() else None

        return poll(asked, seconds=PATIENCE, waiting_for="the shell")

    # What happens meanwhile

    def restart(self) -> None:
        """The proxy stops, and is there again a second later."""
        self.front.child.stop()
        time.sleep(1)
        self.front = self.front.again()

    def hand_over(self) -> None:
        """Another process takes the port, while the old one lets WebSockets live a little."""
        self.front = self.front.hand_over()

    def kill(self) -> None:
        """The proxy dies, and is started again."""
        self.front.child.signal(signal.SIGKILL)
        self.front.child.stop()
        self.front = self.front.again()

    def kill_notebook(self, seconds: float = 3.0) -> None:
        """The server dies with its kernels, and a new one takes its port a little later."""
        self.server.die()
        self.page.wait_for_timeout(1000 * seconds)
        self.server.start()

    def pause(self, seconds: float = 8.0) -> None:
        """The notebook server stands still: today's limit for a busy one was nine seconds."""
        self.server.child.signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            self.server.child.signal(signal.SIGCONT)

    def pause_for_long(self) -> None:
        """The notebook server stands still for longer than most time-outs."""
        self.pause(140.0)
