"""The hub's routes and the process that takes over from another."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ipyproxy.config import parse
from ipyproxy.daemon.components import make_components
from ipyproxy.daemon.hub import Hub
from ipyproxy.daemon.hubfile import KEPT
from ipyproxy.daemon.hubterms import HubFiles
from ipyproxy.daemon.limits import channel_limits
from ipyproxy.upstream.tenancy import Tenants, nobody
from tests.wires import Loop

TARGET = {"target": "http://127.0.0.1:8001"}


class Process:
    """One of the two; they share a clock, a socket's path and a directory."""

    def __init__(self, loop: Loop, home: Path) -> None:
        config = parse(f'jupyterhub.api = "unix:{home}/api"', {}, "")
        made = make_components(loop, loop, config, Tenants(nobody))
        limits = channel_limits(config)
        kept = home if config.jupyterhub.keep_routes else None
        self.hub = Hub(loop, loop, made, limits, config.jupyterhub, HubFiles(), kept)
        self.hub.start()

    def has(self, path: str) -> bool:
        return self.hub.routes.get(path) is not None


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


def kept(home: Path) -> Any:
    return json.loads((home / KEPT).read_bytes())


def until(holds: Callable[[], bool]) -> None:
    # A thread writes the file.
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_another_process_has_what_was_said_until_the_last_moment(home: Path) -> None:
    loop = Loop()
    old = Process(loop, home)
    new = Process(loop, home)
    old.hub.routes.add("/user/ann", dict(TARGET))
    old.hub.give_up_place()
    until(lambda: (home / KEPT).exists() and "/user/ann" in kept(home))
    assert not new.has("/user/ann")
    loop.advance(2)
    new.hub.sweep()
    assert new.has("/user/ann")
    new.hub.give_up_place()


def test_whoever_has_not_the_place_writes_nothing(home: Path) -> None:
    loop = Loop()
    old = Process(loop, home)
    old.hub.routes.add("/user/ann", dict(TARGET))
    old.hub.give_up_place()
    until((home / KEPT).exists)
    (home / KEPT).unlink()
    loop.advance(60)
    old.hub.routes.add("/user/bob", dict(TARGET))
    old.hub.sweep()
    time.sleep(0.2)  # for the thread, if it were asked
    assert not (home / KEPT).exists()
