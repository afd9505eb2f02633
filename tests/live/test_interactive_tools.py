"""Galaxy's interactive tools, with Galaxy's own writer of the map and the whole proxy."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from ipyproxy.database.watch import PATIENCE
from tests.galaxy.test_postgresql import sessions
from tests.integration.galaxymap import GalaxyMap, key
from tests.integration.postgres import Database
from tests.integration.processes import poll
from tests.integration.proxy import Proxy
from tests.live.tools import HOST, Echoing, Repeating, Visitor

pytestmark = pytest.mark.integration

CONFIGURATION = """
site.hosts = ["galaxy.example.org"]
log.access = ""
[galaxy]
map = "{map}"
host = "galaxy.example.org"
"""
#: Seconds within which a change of the map has to count.
SOON = 5.0


def path(number: int, token: str, rest: str = "/") -> str:
    return f"/interactivetool/ep/{key(number)}/{token}{rest}"


def host(number: int, token: str) -> str:
    return f"{key(number)}-{token}.ep.interactivetool.{HOST}"


def within(look: Callable[[], bool]) -> None:
    poll(lambda: look() or None, seconds=SOON, waiting_for="the map to count")


@pytest.fixture(scope="module")
def tool() -> Iterator[Repeating]:
    with Repeating() as made:
        yield made


@pytest.fixture(scope="module")
def echo() -> Iterator[Echoing]:
    with Echoing() as made:
        yield made


class Site:
    """A proxy on a map, and Galaxy's writer of that map."""

    def __init__(self, directory: Path, url: str) -> None:
        self.proxy = Proxy(directory, CONFIGURATION.format(map=url))
        self.galaxy = GalaxyMap(url)
        self.visitor = Visitor(self.proxy.port)

    def status(self, number: int, token: str) -> int:
        return self.visitor.ask(path(number, token)).status

    def is_there(self, number: int, token: str) -> bool:
        return self.status(number, token) != 404

    def close(self) -> None:
        self.galaxy.close()
        self.proxy.child.stop()


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp(request.param)
    database = None
    url = f"sqlite:///{directory}/interactivetools_map.sqlite"
    if request.param == "postgresql":
        pytest.importorskip("psycopg", reason="pip install 'ipyproxy[postgresql]'")
        database = Database()
        url = database.url
    made = Site(directory, url)
    yield made
    made.close()
    if database is not None:
        database.kill()


class TestWhatGalaxyWrites:
    """From the moment when there is neither a file nor a table."""

    def test_a_tool_is_served_as_soon_as_it_runs(self, site: Site, tool: Repeating) -> None:
        assert site.status(1, "0a1b") == 404
        site.proxy.child.wait_until(lambda: "is away" in site.proxy.child.log(), seconds=20)
        site.galaxy.save(1, "0a1b", tool.port)
        within(lambda: site.is_there(1, "0a1b"))
        by_path = site.visitor.ask(
            path(1, "0a1b", "/x?y=%2F"), headers={"Origin": f"https://{HOST}"}
        )
        assert by_path.status == 200
        assert by_path.body["target"] == "/x?y=%2F"
        assert by_path.body["host"] == [HOST]
        assert by_path.body["origin"] == [f"https://{HOST}"]
        by_host = site.visitor.ask("/x", host(1, "0a1b"))
        assert by_host.body["host"] == [host(1, "0a1b")]

    def test_the_path_that_a_tool_asks_for(self, site: Site, tool: Repeating) -> None:
        site.galaxy.save(2, "t2", tool.port, requires_path_in_url=True)
        site.galaxy.save(3, "t3", tool.port, requires_path_in_header_named="X-Root-Path")
        within(lambda: site.is_there(2, "t2") and site.is_there(3, "t3"))
        assert site.visitor.ask(path(2, "t2", "/a")).body["target"] == path(2, "t2", "/a")
        told = site.visitor.ask(path(3, "t3", "/a")).body
        assert told["target"] == "/a"
        assert told["x-root-path"] == [path(3, "t3", "")]

    def test_a_tool_elsewhere_is_not_served(self, site: Site, tool: Repeating) -> None:
        site.galaxy.save(4, "t4", tool.port, host="192.0.2.1")
        site.galaxy.save(5, "t5", tool.port)
        within(lambda: site.is_there(5, "t5"))
        assert site.status(4, "t4") == 404

    def test_its_websockets_end_with_it(self, site: Site, echo: Echoing) -> None:
        site.galaxy.save(6, "t6", echo.port)
        within(lambda: site.is_there(6, "t6"))
        with (
            site.visitor.websocket(path(6, "t6", "/ws")) as by_path,
            site.visitor.websocket("/ws", host(6, "t6")) as by_host,
        ):
            for bridge in by_path, by_host:
                bridge.send("hello")
                assert bridge.recv(10) == "hello"
            site.galaxy.remove(6)
            began = time.monotonic()
            assert {_end_of(by_path), _end_of(by_host)} == {1006}
            assert time.monotonic() - began < SOON
        assert site.status(6, "t6") == 404
        with pytest.raises(InvalidStatus):
            site.visitor.websocket(path(6, "t6", "/ws"))

    def test_nothing_about_tokens_or_passwords_is_logged(self, site: Site) -> None:
        log = site.proxy.child.log()
        assert "Traceback" not in log
        assert not re.search(r"0a1b|\bt[2-6]\b|secret", log)


def _end_of(bridge: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as caught:
        bridge.recv(SOON)
    return 1006 if caught.value.rcvd is None else caught.value.rcvd.code


def test_what_was_read_counts_while_the_database_is_away(
    tmp_path: Path, tool: Repeating, echo: Echoing
) -> None:
    pytest.importorskip("psycopg", reason="pip install 'ipyproxy[postgresql]'")
    database = Database()
    try:
        site = Site(tmp_path, database.url)
        site.galaxy.save(1, "t1", tool.port)
        site.galaxy.save(2, "t2", echo.port)
        within(lambda: site.is_there(1, "t1"))
        with site.visitor.websocket(path(2, "t2", "/ws")) as bridge:
            site.galaxy.close()
            database.stop()
            within(lambda: "is away" in site.proxy.child.log())
            assert site.status(1, "t1") == 200
            bridge.send("still there")
            assert bridge.recv(10) == "still there"
            database.start()
            with GalaxyMap(database.url) as galaxy:
                galaxy.remove(1)
            poll(lambda: site.is_there(1, "t1") is False or None, seconds=60, waiting_for="it")
            assert site.proxy.child.log().count("is away") <= 2
        site.proxy.child.stop()
    finally:
        database.kill()


@pytest.mark.soak
def test_a_database_that_hangs_is_told_once_and_connected_to_again(
    tmp_path: Path, tool: Repeating
) -> None:
    pytest.importorskip("psycopg", reason="pip install 'ipyproxy[postgresql]'")
    database = Database()
    try:
        site = Site(tmp_path, database.url)
        log = site.proxy.child.log
        site.galaxy.save(1, "t1", tool.port)
        waited = 2 * PATIENCE
        poll(lambda: site.is_there(1, "t1") or None, seconds=waited, waiting_for="the table")
        before = log().count("is away")
        (session,) = sessions(database)
        os.kill(session, signal.SIGSTOP)
        poll(
            lambda: log().count("is away") > before or None,
            seconds=waited,
            waiting_for="the log to tell that the map is away",
        )
        assert site.status(1, "t1") == 200
        site.galaxy.save(2, "t2", tool.port)
        poll(lambda: site.is_there(2, "t2") or None, seconds=waited, waiting_for="a new session")
        assert log().count("is away") == before + 1
        assert "no answer within 30 seconds" in log()
        os.kill(session, signal.SIGCONT)
        site.close()
    finally:
        database.kill()


def test_a_bridge_that_outlives_a_hand_over_ends_with_its_tool(
    tmp_path: Path, echo: Echoing
) -> None:
    held = tmp_path / "map.json"
    entry = {"token": "t", "host": "127.0.0.1", "port": echo.port}
    held.write_text(json.dumps({key(1): entry, key(2): entry}))
    proxy = Proxy(tmp_path, CONFIGURATION.format(map=held))
    visitor = Visitor(proxy.port)
    try:
        within(lambda: visitor.ask(path(1, "t")).status != 404)
        gone, kept = (visitor.websocket(path(number, "t"), legacy=True) for number in (1, 2))
        proxy.child.signal(signal.SIGQUIT)
        proxy.child.wait_until(lambda: "handing over" in proxy.child.log(), seconds=20)
        held.write_text(json.dumps({key(2): entry}))
        began = time.monotonic()
        assert _end_of(gone) == 1006
        assert time.monotonic() - began < SOON
        kept.send("still there?")
        assert kept.recv(20) == "still there?"
        kept.close()
        proxy.child.wait(20)
    finally:
        proxy.child.stop()
