"""What ``twistd ipyproxy`` makes of its settings: a service, its state directory, no garbage."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.application.service import Service

from ipyproxy.config import Config, ConfigError, Ports, State
from ipyproxy.daemon.settings import Settings
from ipyproxy.daemon.state import state_directory
from ipyproxy.daemon.systemd import Manager
from ipyproxy.tap import Options, makeService


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """In place of the service: remembers what it is called with, raises ``error`` if set."""

    class Daemon(Service):
        def reload(self) -> None: ...
        def stop(self) -> None: ...
        def hand_over(self) -> None: ...
        def reopen_log(self) -> None: ...

    composer = SimpleNamespace(error=None, service=Daemon())

    def make_service(read: Callable[[], Settings], reactor: Any, manager: Manager) -> Service:
        if composer.error:
            raise composer.error
        composer.read, composer.reactor = read, reactor
        service: Service = composer.service
        return service

    stand_in = SimpleNamespace(make_service=make_service)
    monkeypatch.setitem(sys.modules, "ipyproxy.daemon.service", stand_in)
    yield composer
    gc.unfreeze()


def test_the_service_gets_the_reactor_and_reads_its_settings_whenever_it_wants(
    composed: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from twisted.internet import reactor

    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "i.toml"
    file.write_text("listen.http = 1080\n")
    options = Options()
    options.parseOptions(["--config", "i.toml", "--ports", "8888"])
    assert makeService(options) is composed.service
    assert reactor.seconds is time.monotonic
    assert composed.reactor is reactor
    settings = composed.read()
    assert settings.config == options.config
    assert settings.certificates[0].certificate.parent == tmp_path / "state"

    monkeypatch.chdir("/")
    file.write_text("listen.http = 1081\n")
    settings = composed.read()
    assert settings.config.listen.http == 1081
    assert settings.config.notebooks.ports == Ports.read("8888")
    file.write_text("listen.http = []\n")
    with pytest.raises(ConfigError, match="http: "):
        composed.read()


@pytest.mark.parametrize("error", [None, ConfigError(["no certificate"])])
def test_garbage_is_collected_afterwards_but_not_among_what_was_loaded(
    composed: SimpleNamespace, error: Exception | None
) -> None:
    options = Options()
    options.parseOptions([])
    composed.error = error
    with contextlib.suppress(SystemExit):
        makeService(options)
    assert gc.isenabled()
    assert gc.get_freeze_count() > 10_000


def test_a_certificate_that_cannot_be_served_is_told_as_all_else_is(
    composed: SimpleNamespace, tmp_path: Path
) -> None:
    options = Options()
    options.parseOptions(["--certificate", str(tmp_path / "c"), "--key", str(tmp_path / "k")])
    makeService(options)
    with pytest.raises(ConfigError, match="cannot be read"):
        composed.read()


def test_a_service_that_cannot_be_made_ends_the_process(
    composed: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    composed.error = ConfigError(["a: is wrong", "b: too"])
    options = Options()
    options.parseOptions([])
    with pytest.raises(SystemExit) as caught:
        makeService(options)
    assert caught.value.code == 2
    assert capsys.readouterr() == ("", "ipyproxy: a: is wrong\nipyproxy: b: too\n")


def test_state_is_kept_where_configured_or_where_systemd_says_or_at_home(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    systemd = {"STATE_DIRECTORY": "/var/lib/ipyproxy:/var/lib/other"}
    named = Config(state=State(Path("/srv/state")))
    assert state_directory(named, systemd) == Path("/srv/state")
    assert state_directory(Config(), systemd) == Path("/var/lib/ipyproxy")
    home = Path("/home/ada/.local/state/ipyproxy")
    assert state_directory(Config(), {}) == home
    assert state_directory(Config(), {"STATE_DIRECTORY": ""}) == home
    own = Path("/var/lib/ipyproxy")
    assert state_directory(Config(), {}, own) == own


def test_without_a_home_the_state_directory_must_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    with pytest.raises(ConfigError) as caught:
        state_directory(Config(), {})
    assert caught.value.problems == ("state.directory: must be set, for this user has no home",)
