"""Pictures of the status page of the invented day: ``python -m tests.status.pictures docs``.

Knows Chromium's ways. Palettes of 64 colours make them small, where ``pngquant`` is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from playwright.sync_api import Browser, BrowserContext, sync_playwright

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SWITCHES = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)


class Look(NamedTuple):
    """What somebody looks with."""

    name: str
    width: int
    height: int
    scheme: Literal["light", "dark"]

    def context(self, browser: Browser) -> BrowserContext:
        """A browser like that."""
        size = {"width": self.width, "height": self.height}
        return browser.new_context(viewport=size, color_scheme=self.scheme)  # type: ignore[arg-type]


LOOKS = (
    Look("desktop-light", 1280, 900, "light"),
    Look("desktop-dark", 1280, 900, "dark"),
    Look("phone-light", 390, 844, "light"),
    Look("phone-dark", 390, 844, "dark"),
)


@contextmanager
def scene() -> Iterator[str]:
    """The page of the invented day; its URL."""
    command = [sys.executable, "-m", "tests.status.scene"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            yield f"http://localhost:{int(running.stdout.readline())}/_ipyproxy/"
        finally:
            running.terminate()


@contextmanager
def chromium(*switches: str) -> Iterator[Browser]:
    """A Chromium without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            # Chromium's sandbox does not run as root, where many a CI job lives.
            chromium_sandbox=os.geteuid() != 0,
            args=[*SWITCHES, *switches],
        )
        yield browser
        browser.close()


def main() -> None:
    """Take a picture by each look."""
    directory = Path(sys.argv[1])
    with scene() as url, chromium() as browser:
        for look in LOOKS:
            page = look.context(browser).new_page()
            page.goto(url)
            page.locator("#live.on").wait_for()
            picture = directory / f"status-{look.name}.png"
            page.screenshot(path=picture, full_page=look.width > 500)
            if pngquant := shutil.which("pngquant"):
                subprocess.run([pngquant, "--force", "--ext=.png", "64", picture], check=True)


if __name__ == "__main__":
    main()
