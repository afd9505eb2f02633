"""Three nodes on one PostgreSQL behind HAProxy: one is killed, the database is, routes go."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from typing import Self
from urllib.parse import quote

import pytest

from tests.certificates import Authority
from tests.galaxy.writing import info
from tests.integration.processes import poll
from tests.live.fleet import Fleet, Node
from tests.live.places import NODES, Places, places
from tests.live.tools import Echoing, Repeating, Visitor

pytestmark = [pytest.mark.integration]
pytest.importorskip("psycopg", reason="pip install 'ipyproxy[postgresql]'")

#: Seconds within which a change counts where it was said, and on all other nodes.
HERE, EVERYWHERE = 1.0, 5.0


class Site:
    """A fleet, and what is behind it."""

    def __init__(self, directory: Path, authority: Authority, where: Places) -> None:
        self.fleet = Fleet(directory, authority, where)
        self.web = Repeating(self.fleet.places.central)
        self.echo = Echoing(self.fleet.places.central)
        self.visitor = Visitor(self.fleet.port)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Site]:
    with places() as where:
        made = Site(tmp_path_factory.mktemp("fleet"), authority, where)
        with made.web, made.echo:
            yield made
        logs = [node.child.log() for node in made.fleet.nodes]
        made.fleet.close()
    for log in logs:
        assert "Traceback" not in log
        assert "please report" not in log
        assert "secret" not in log


def has(path: str) -> Callable[[Node], bool]:
    """Whether a node serves a path, as a visitor sees it."""
    return lambda node: node.status(path) == 200


def lacks(path: str) -> Callable[[Node], bool]:
    return lambda node: node.status(path) == 404


class Load:
    """Visitors that ask one thing after the other, by HAProxy."""

    def __init__(self, site: Site, path: str, visitors: int) -> None:
        self._site, self._path = site, path
        self._over = threading.Event()
        self.answered = 0
        self.failed = 0
        self._threads = [threading.Thread(target=self._visit) for _ in range(visitors)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _visit(self) -> None:
        while not self._over.is_set():
            try:
                good = self._site.visitor.ask(self._path).status == 200
            except (OSError, HTTPException):
                good = False
            self.answered += good
            self.failed += not good

    def goes_on(self, answers: int) -> None:
        """Wait until so many more are answered."""
        wanted = self.answered + answers
        poll(lambda: self.answered >= wanted or None, seconds=60, waiting_for="answers")


def test_a_route_counts_on_every_node_and_its_end_ends_its_bridges(site: Site) -> None:
    nodes = site.fleet.nodes
    assert nodes[0].add("/user/ann", site.web.port) == 201
    assert has("/user/ann/")(nodes[0])
    assert site.fleet.every(EVERYWHERE, has("/user/ann/")) < EVERYWHERE
    assert nodes[1].add("/user/ann/ws", site.echo.port) == 201
    site.fleet.every(EVERYWHERE, lambda node: node.api("GET", "/user/ann/ws")[0] == 200)
    bridges = [node.bridge("/user/ann/ws") for node in nodes]
    assert all(each.is_open() for each in bridges)
    assert nodes[2].api("DELETE", "/user/ann/ws")[0] == 204
    assert bridges[2].ended(HERE)
    began = time.monotonic()
    assert all(each.ended(EVERYWHERE) for each in bridges[:2])
    assert time.monotonic() - began < EVERYWHERE
    assert {node.api("DELETE", "/user/ann/ws")[0] for node in nodes} == {404}
    assert nodes[2].api("DELETE", "/user/ann")[0] == 204
    site.fleet.every(EVERYWHERE, lacks("/user/ann/"))


def test_an_entry_of_galaxys_map_counts_on_every_node_and_so_does_its_end(site: Site) -> None:
    database = site.fleet.database
    row = f"'abc', 'interactivetoolentrypoint', 't0k3n', '{site.fleet.places.central}'"
    database.sql(f"INSERT INTO gxitproxy VALUES ({row}, {site.echo.port}, '{info()}')")
    tool = "/interactivetool/ep/abc/t0k3n/ws"
    # To what knows nothing but WebSockets, any other request is a bad one.
    site.fleet.every(EVERYWHERE, lambda node: node.status(tool) != 404)
    bridges = [node.bridge(tool) for node in site.fleet.nodes]
    assert all(each.is_open() for each in bridges)
    database.sql("DELETE FROM gxitproxy")
    began = time.monotonic()
    assert all(each.ended(EVERYWHERE) for each in bridges)
    assert time.monotonic() - began < EVERYWHERE


def test_when_a_server_was_last_used_is_known_on_every_node(site: Site) -> None:
    one, other, _ = site.fleet.nodes
    for path in "/used", "/idle":
        assert one.add(path, site.web.port) == 201
    began = datetime.now(UTC)
    time.sleep(2)
    assert one.status("/used/") == 200
    # A node that stops tells at once, and any other one within ten seconds.
    one.child.signal(signal.SIGTERM)
    one.child.wait(30)
    assert other.api("GET", "/idle")[0] == 200
    since = quote((began + timedelta(seconds=1)).isoformat())
    idle = other.api("GET", f"?inactive_since={since}")[1]
    assert list(idle) == ["/idle"]
    one.start()
    one.wait("has 2 routes")
    for path in "/used", "/idle":
        assert one.api("DELETE", path)[0] == 204


@pytest.mark.parametrize(
    "visitors", [pytest.param(4, id="short"), pytest.param(40, marks=pytest.mark.soak, id="long")]
)
def test_a_node_that_is_killed_loses_its_own_connections_only(site: Site, visitors: int) -> None:
    fleet = site.fleet
    victim = fleet.nodes[1]
    for path, port in ("/web", site.web.port), ("/ws", site.echo.port):
        assert fleet.nodes[0].add(path, port) == 201
        fleet.every(EVERYWHERE, lambda node: node.api("GET", path)[0] == 200)  # noqa: B023
    fleet.wait_until_all_are_up()
    # Each node in turn, as long as nobody else comes.
    bridges = [fleet.bridge("/ws") for _ in range(3 * visitors)]
    places = [fleet.node_of(each) for each in bridges]
    assert set(places) == set(range(NODES))
    assert all(each.is_open() for each in bridges)
    with Load(site, "/web/", visitors) as load:
        load.goes_on(20)
        victim.kill()
        load.goes_on(100)
    # What was under way there, and what HAProxy had just sent there.
    assert load.failed <= 2 * visitors
    for each, place in zip(bridges, places, strict=True):
        assert each.ended(20) if place == 1 else each.is_open()
    # Pages open their WebSockets anew, and get to a node that lives.
    assert fleet.bridge("/ws").is_open()
    victim.start()
    victim.wait("has 2 routes")
    assert has("/web/")(victim)
    for path in "/web", "/ws":
        fleet.nodes[0].api("DELETE", path)


@pytest.mark.parametrize(
    "seconds", [pytest.param(2, id="short"), pytest.param(60, marks=pytest.mark.soak, id="long")]
)
def test_a_database_that_is_away_loses_nothing(site: Site, seconds: int) -> None:
    fleet = site.fleet
    one, other, starting = fleet.nodes
    for path, port in ("/web", site.web.port), ("/ws", site.echo.port):
        assert one.add(path, port) == 201
        fleet.every(EVERYWHERE, lambda node: node.api("GET", path)[0] == 200)  # noqa: B023
    fleet.wait_until_all_are_up()
    bridges = [node.bridge("/ws") for node in (one, other)]
    fleet.database.stop()
    try:
        with Load(site, "/web/", 2) as load:
            began = time.monotonic()
            assert one.add("/new", site.web.port) == 503
            assert other.api("DELETE", "/web")[0] == 503
            assert other.api("GET")[1].keys() == {"/web", "/ws"}
            while time.monotonic() - began < seconds:
                assert all(each.is_open() for each in bridges)
                assert fleet.bridge("/ws").is_open()
                time.sleep(seconds / 10)
        assert load.failed == 0
        # A node that starts now knows of no route, and says so instead of that there are none.
        starting.kill()
        starting.start()
        starting.wait("there are none until then")
        assert not has("/web/")(starting)
        assert starting.api("GET")[0] == 503
        # Nor does HAProxy send anybody there.
        assert starting.status("/_ipyproxy/readyz") == 503
        assert other.status("/_ipyproxy/readyz") == 200
    finally:
        fleet.database.start()
    # The hub tries again.
    poll(
        lambda: one.add("/new", site.web.port) == 201 or None,
        seconds=20,
        waiting_for="the database to be there",
    )
    fleet.every(40, has("/new/"))
    assert other.api("DELETE", "/web")[0] == 204
    fleet.every(EVERYWHERE, lacks("/web/"))
    assert all(each.is_open() for each in bridges)
    told = other.child.log()
    assert told.count("are away") == told.count("are there again") == 1
    for path in "/ws", "/new":
        one.api("DELETE", path)
