"""A headless Firefox for tests, driven by WebDriver BiDi; where there is none they are skipped.

Playwright drives only a Firefox of its own. The few commands that the tests need are spoken here
(https://w3c.github.io/webdriver-bidi/).
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from .processes import Child, poll

_FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
if _FIREFOX is None:
    pytest.skip("firefox is not installed", allow_module_level=True)

#: Seconds that Firefox has to start, and for each command.
_PATIENCE = 60.0
_LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")
_SHIFT, _ENTER = "\ue008", "\ue007"


class FirefoxPage:
    """One page of a Firefox that takes any certificate."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._ids = itertools.count(1)
        self._command("session.new", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
        self._context = self._command("browsingContext.create", type="tab")["context"]

    def open(self, url: str) -> None:
        """Open *url*, and wait until it is loaded."""
        self._command("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def value(self, expression: str) -> Any:
        """What a JavaScript *expression* gives, a string or a number."""
        target = {"context": self._context}
        answer = self._command(
            "script.evaluate", expression=expression, target=target, awaitPromise=True
        )
        assert answer["type"] == "success", answer
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        """Click into the middle of the first element that *selector* finds."""
        box = f"document.querySelector({selector!r}).getBoundingClientRect()"
        x, y = (self.value(f"(b => Math.round({at}))({box})") for at in (
            "b.x + b.width / 2", "b.y + b.height / 2",
        ))  # fmt: skip
        actions = [
            {"type": "pointerMove", "x": x, "y": y},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        source = {"type": "pointer", "id": "mouse", "actions": actions}
        self._command("input.performActions", context=self._context, actions=[source])

    def type(self, text: str) -> None:
        """Type *text* where the cursor is."""
        self._press([(kind, letter) for letter in text for kind in ("keyDown", "keyUp")])

    def press_shift_enter(self) -> None:
        """Press both keys, as a person runs a cell."""
        self._press(
            [("keyDown", _SHIFT), ("keyDown", _ENTER), ("keyUp", _ENTER), ("keyUp", _SHIFT)]
        )

    def _press(self, keys: list[tuple[str, str]]) -> None:
        actions = [{"type": kind, "value": value} for kind, value in keys]
        source = {"type": "key", "id": "keyboard", "actions": actions}
        self._command("input.performActions", context=self._context, actions=[source])

    def _command(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        self._connection.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._connection.recv(timeout=_PATIENCE))
            if answer.get("id") == number:
                assert answer["type"] == "success", answer
                result: dict[str, Any] = answer["result"]
                return result


@contextmanager
def firefox(directory: Path) -> Iterator[FirefoxPage]:
    """A browser with an empty profile in *directory*, and a page in it."""
    profile = directory / "profile"
    profile.mkdir(parents=True)
    # It has no business on the internet.
    (profile / "user.js").write_text(
        'user_pref("network.captive-portal-service.enabled", false);\n'
        'user_pref("network.connectivity-service.enabled", false);\n'
        'user_pref("app.normandy.enabled", false);\n'
        'user_pref("services.settings.server", "http://127.0.0.1:1");\n'
        'user_pref("toolkit.telemetry.enabled", false);\n'
        'user_pref("browser.safebrowsing.update.enabled", false);\n'
    )
    command = [_FIREFOX or "", "--headless", "--profile", str(profile), "--no-remote"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "MOZ_HEADLESS": "1"}
    child = Child("firefox", [*command, "--remote-debugging-port=0"], environment, directory)
    try:
        address = poll(
            lambda: _LISTENING.search(child.log()), seconds=_PATIENCE, waiting_for="Firefox"
        )[1]
        with connect(f"{address}/session", max_size=None, ping_interval=None) as connection:
            yield FirefoxPage(connection)
    finally:
        child.stop()
