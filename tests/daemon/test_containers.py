"""What no container gets by a label: the places of others, and the proxy itself."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from ipyproxy.config import parse
from ipyproxy.containers import engine
from ipyproxy.containers.labels import plan
from ipyproxy.daemon.containers import ContainerRoutes
from tests.containers.test_labels import container, port
from tests.web.routed import Routed

TOML = """
    site.hosts = ["galaxy.example.org", "hub.example.org"]
    site.notebook_domain = "nb.example.org"

    [galaxy]
    map = "/srv/galaxy/map.sqlite"
    host = "galaxy.example.org"

    [[routes]]
    host = "galaxy.example.org"
    to = "unix:/srv/gunicorn.sock"
"""


def put(outer: int = 8888, **labels: Any) -> None:
    """Ask for a route as a container with these labels does."""
    routed = Routed(TOML)
    routed.own_ports.add(9000)
    routes = ContainerRoutes(routed.loop, routed.components.live, routed.own_ports)
    routes.follow(parse(TOML, {}, "test"))
    planned = plan([container("lab", port(80, outer, "127.0.0.1"), **labels)])
    ((place, offer),) = planned.offers.items()
    routes.put(*place, offer.route())
    assert routes.at(*place) is not None


def test_a_place_of_its_own() -> None:
    put(path="/lab")
    put(path="/interactivetools")
    put(host="lab.example.org")
    put(host="galaxy.example.org", path="/lab")


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ({"path": "/ipython/10000"}, "belongs to the notebooks"),
        ({"path": "/ipython", "host": "lab.example.org"}, "belongs to the notebooks"),
        ({"host": "10000.nb.example.org"}, "belongs to a notebook"),
        ({"path": "/interactivetool/ep/abc"}, "belongs to interactive tools"),
        ({"host": "abc-t0k3n.ep.interactivetool.galaxy.example.org"}, "to an interactive tool"),
        ({"host": "galaxy.example.org"}, "is the site's own"),
        ({"host": "hub.example.org"}, "is the site's own"),
        ({"path": "/.well-known/acme-challenge"}, "would speak for the whole host"),
        ({"path": "/_ipyproxy/login"}, "is the proxy's own"),
    ],
)
def test_a_place_of_others(labels: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        put(**labels)


def test_the_proxy_itself() -> None:
    with pytest.raises(ValueError, match="the proxy itself listens"):
        put(9000, path="/lab")


class Engine:
    """One that lists what the test says, and tells of nothing."""

    listed: list[object] = []  # noqa: RUF012

    def __init__(self, reactor: Any, address: Any) -> None:
        self.address = address

    async def version(self) -> str:
        return "1.41"

    async def containers(self, version: str) -> list[object]:
        return self.listed

    def events(self, version: str, happened: Any) -> Deferred[None]:
        return Deferred()


@pytest.mark.parametrize(
    "change",
    [
        'notebooks.prefix = "/lab"',
        '[[routes]]\npath = "/lab"\nto = "http://127.0.0.1:7000"',
        '[galaxy]\nmap = "/m.sqlite"\nbase = "/lab"\nprefix = "tools"',
    ],
    ids=["notebooks", "routes", "galaxy"],
)
def test_a_reload_that_gives_the_place_to_others(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/lab/tools/ep" if "galaxy" in change else "/lab"
    listed = [container("lab", port(80, 8888, "127.0.0.1"), path=path)]
    monkeypatch.setattr(Engine, "listed", listed)
    monkeypatch.setattr(engine, "Engine", Engine)
    toml = 'containers.socket = "/run/docker.sock"\n'
    routed = Routed(toml)
    routes = ContainerRoutes(routed.loop, routed.components.live, routed.own_ports)
    place = b"", path.encode()

    def reload(toml: str) -> None:
        routed.reload(toml)
        routes.follow(parse(toml, {}, "test"))

    reload(toml)
    first = routes.at(*place)
    assert first is not None
    reload(toml)
    assert routes.at(*place) is first
    reload(toml + change)
    assert routes.at(*place) is None
    reload(toml)
    assert routes.at(*place) is not None
    routes.stop()
