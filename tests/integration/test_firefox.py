"""JupyterLab in headless Firefox through the proxy: open, run, and go on after a restart."""

from __future__ import annotations

import uuid
from pathlib import Path

import bcrypt
import pytest

from .client import Client
from .firefox import FirefoxPage, firefox
from .jupyter import Lab, notebook_port
from .processes import poll
from .proxy import Proxy
from .sentinel import Sentinel
from .test_browser import save_notebook

pytestmark = pytest.mark.integration

#: Prints a number five times a second, for a minute; in one line, which no editor indents.
COUNTING = "import time; [(print(n, flush=True), time.sleep(0.2)) for n in range(300)];"
OUTPUT = "[...document.querySelectorAll('.jp-OutputArea-output')].map(e => e.innerText).join(' ')"
IDLE = "document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status || ''"
EDITOR = ".jp-Notebook .jp-CodeCell .cm-content"
HAS_CURSOR = f"document.activeElement?.matches('{EDITOR}') ? 1 : 0"
TYPED = f"document.querySelector('{EDITOR}').innerText"
#: The cell's prompt is [ ] until Lab has sent the cell to the kernel, and [*] from then on.
PROMPT = "document.querySelector('.jp-Notebook .jp-CodeCell .jp-InputPrompt').innerText"


def run_cell(page: FirefoxPage, code: str) -> None:
    """Put the cursor into the first cell, type *code* and run it, as a person does: by looking.

    Lab still moves its panels after it says that the kernel is idle, so a click may go astray.
    """

    def has_cursor() -> bool:
        page.click(EDITOR)
        return bool(page.value(HAS_CURSOR))

    poll(lambda: has_cursor() or None, seconds=30, waiting_for="the cursor in the cell")
    page.type(code)
    poll(lambda: page.value(TYPED).strip() == code or None, seconds=30, waiting_for="the code")
    page.press_shift_enter()
    poll(lambda: "*" in page.value(PROMPT) or None, seconds=30, waiting_for="the cell to be sent")


def test_a_cell_goes_on_to_print_after_a_restart_of_the_proxy(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path)
    lab = Lab(tmp_path, notebook_port())
    client = Client(proxy.origin, lab.base_url, tls=proxy.client_tls(), token=lab.token)
    name = f"{uuid.uuid4().hex}.ipynb"
    save_notebook(client, name)
    client.close()
    try:
        with firefox(tmp_path / "firefox") as page:
            page.open(f"{proxy.origin}{lab.base_url}lab/tree/{name}?token={lab.token}")
            poll(
                lambda: page.value(IDLE) == "idle" or None, seconds=60, waiting_for="an idle kernel"
            )
            run_cell(page, COUNTING)

            def numbers() -> list[int]:
                return [int(word) for word in page.value(OUTPUT).split() if word.isdigit()]

            def shows(number: int) -> bool:
                return bool(seen := numbers()) and seen[-1] >= number

            poll(lambda: shows(5) or None, seconds=30, waiting_for="the first numbers")
            proxy.child.stop()
            before = numbers()[-1]
            proxy = Proxy(tmp_path, port=proxy.port)
            poll(lambda: shows(before + 15) or None, seconds=60, waiting_for="further numbers")
            seen = numbers()
            assert seen == list(range(seen[-1] + 1)), "some output is lost"
    finally:
        lab.child.stop()
        proxy.child.stop()


def test_log_in_and_out(tmp_path: Path) -> None:
    """The form comes with the right Origin, and the browser keeps the cookie."""
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    (tmp_path / "users").write_text(f"alice:{hashed}\n")
    rules = "auth.rules = [{ path = '/ipython', require = 'htpasswd' }]\n"
    proxy = Proxy(tmp_path, "auth.htpasswd = 'users'\nhealth.mode = 'off'\n" + rules)
    heading = "document.querySelector('h1')?.innerText || ''"
    try:
        with firefox(tmp_path / "firefox") as page, Sentinel() as notebook:
            path = f"/ipython/{notebook.port}/"

            def wait_for(expression: str, value: str) -> None:
                poll(
                    lambda: page.value(expression) == value or None,
                    seconds=30,
                    waiting_for=f"{value!r} as {expression}",
                )

            page.open(f"{proxy.origin}{path}?x=1")
            assert page.value(heading) == "Log in"
            page.click("#name")
            page.type("alice")
            page.click("#password")
            page.type("right")
            page.click("button")
            wait_for("location.pathname + location.search", f"{path}?x=1")
            head = notebook.heads[0]
            assert b"X-Remote-User: alice" in head.split(b"\r\n")
            assert b"ipyproxy=" not in head
            page.open(f"{proxy.origin}/_ipyproxy/logout")
            page.click("button")
            wait_for(heading, "You are logged out")
            page.open(f"{proxy.origin}{path}")
            assert page.value(heading) == "Log in"
    finally:
        proxy.child.stop()
