"""A headless Chromium for tests; where there is none they are skipped, and say why."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if _CHROMIUM is None:
    pytest.skip("chromium is not installed", allow_module_level=True)

from playwright.sync_api import (  # noqa: E402
    BrowserContext,
    Page,
    expect,
)
from playwright.sync_api import TimeoutError as PageTimeout  # noqa: E402

__all__ = ["BrowserContext", "Page", "PageTimeout", "chromium", "expect", "quiet_chromium"]


@contextmanager
def chromium(profile: Path, *arguments: str, **options: Any) -> Iterator[BrowserContext]:
    """A browser with an empty ``profile``; ``options`` are those of Playwright's context."""
    try:
        playwright = sync_api.sync_playwright().start()
    except sync_api.Error as error:
        pytest.skip(f"playwright's driver does not start (Debian: install libatomic1): {error}")
    try:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=_CHROMIUM,
            headless=True,
            # Chromium's sandbox does not run as root, where many a CI job lives.
            chromium_sandbox=os.geteuid() != 0,
            args=["--no-first-run", *arguments],
            **options,
        )
        yield context
        context.close()
    finally:
        playwright.stop()


@contextmanager
def quiet_chromium(profile: Path, spki_hash: str, patience: float) -> Iterator[BrowserContext]:
    """A browser that asks for nothing by itself, and knows one certificate by its public key.

    Any other certificate is an error to it.

    :param patience: milliseconds that anything may take.
    """
    arguments = (
        f"--ignore-certificate-errors-spki-list={spki_hash}",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-gpu",
        "--disable-quic",
        "--disable-sync",
    )
    with chromium(profile, *arguments, viewport={"width": 1280, "height": 800}) as context:
        context.set_default_timeout(patience)
        yield context
