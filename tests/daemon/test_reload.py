"""A reload takes all or nothing, and reading never holds up the reactor."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.epollreactor import EPollReactor
from twisted.logger import capturedLogs

from ipyproxy.config import ConfigError
from ipyproxy.daemon.service import ProxyService, make_service
from ipyproxy.daemon.settings import Settings
from ipyproxy.daemon.systemd import Manager
from tests.daemon.test_components import settings

WRITER = "log writer"


class House:
    """A service whose settings the test gives, on a reactor that it turns by hand."""

    def __init__(self, directory: Path, listener: str = "tcp:0:interface=127.0.0.1") -> None:
        self.directory = directory
        self._listener = listener
        self.reactor: Any = EPollReactor()
        self.read: Callable[[], Settings] = self.settings
        self.service: ProxyService = make_service(self._read, self.reactor, Manager({}))
        self.service.privilegedStartService()

    def _read(self) -> Settings:
        return self.read()

    def settings(self, toml: str = "") -> Settings:
        """What the configuration says, on a port of its own."""
        return settings(self.directory, f'listen.https = "{self._listener}"\n{toml}')

    def leave(self) -> None:
        """Close everything."""
        self.service._listeners.stop()
        self.service._status.stop()
        self.service._recording.close()

    def turn_until(self, done: Callable[[], object]) -> None:
        """Let the reactor do its work until it is ``done``."""
        deadline = time.monotonic() + 20
        while not done():
            assert time.monotonic() < deadline
            self.reactor.iterate(0.01)

    @property
    def reloads(self) -> tuple[int, int]:
        """How many were done, and how many refused."""
        condition = self.service._components.condition
        return condition.reloads, condition.refused_reloads


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.leave()


def writers() -> int:
    return sum(thread.name == WRITER for thread in threading.enumerate())


def test_a_log_writer_whose_reload_fails_ends(house: House) -> None:
    before = writers()
    log = house.directory / "other.log"
    settings = house.settings(f"log.access = '{log}'")
    (certificate,) = settings.certificates
    mixed = replace(certificate, private_key=ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(ConfigError, match="OpenSSL refuses the certificate"):
        house.service.take_over(settings._replace(certificates=(mixed,)))
    assert log.exists()
    assert writers() == before
    assert house.service._settings.config.log.access != str(log)


def test_while_settings_are_read_the_reactor_turns(house: House) -> None:
    gate = threading.Event()
    turns: list[str] = []

    def slowly() -> Settings:
        assert gate.wait(20)
        return house.settings("limits.connections = 7")

    house.read = slowly
    house.service.reload()
    house.reactor.callLater(0.05, turns.append, "served")
    house.turn_until(lambda: turns)
    assert house.reloads == (0, 0)
    gate.set()
    house.turn_until(lambda: house.reloads == (1, 0))
    assert house.service._components.clients.limits.connections == 7


def test_asked_again_meanwhile_it_reads_once_more(house: House) -> None:
    gate = threading.Event()
    read: list[int] = []

    def slowly() -> Settings:
        read.append(len(read))
        assert gate.wait(20)
        return house.settings()

    house.read = slowly
    for _ in range(5):
        house.service.reload()
    gate.set()
    house.turn_until(lambda: house.reloads == (2, 0))
    assert len(read) == 2


def test_what_can_not_be_read_is_told_and_changes_nothing(house: House) -> None:
    def fail() -> Settings:
        raise ConfigError(["limits.connections: 'many' is no number"])

    house.read = fail
    before = house.service._settings
    with capturedLogs() as events:
        house.service.reload()
        house.turn_until(lambda: house.reloads == (0, 1))
    assert house.service._settings is before
    (event,) = [event for event in events if "problem" in event]
    assert "NOT RELOADED" in event["log_format"]


@pytest.mark.parametrize(
    ("listener", "toml", "warns"),
    [
        ("unix:{}/https.sock", "", True),
        ("unix:{}/https.sock", "listen.trusted_proxies = ['unix']", False),
        ("tcp:0:interface=127.0.0.1", "", False),
    ],
)
def test_clients_without_an_address_are_warned_of(
    tmp_path: Path, listener: str, toml: str, warns: bool
) -> None:
    house = House(tmp_path, listener.format(tmp_path))
    house.read = lambda: house.settings(toml)
    with capturedLogs() as events:
        house.service.reload()
        house.turn_until(lambda: house.reloads == (1, 0))
    house.leave()
    assert warns == any("have no address" in event["log_format"] for event in events)
