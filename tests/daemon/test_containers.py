"""What no container gets by a label: the places of others, and the proxy itself."""

from __future__ import annotations

from typing import Any

import pytest

from ipyproxy.config import parse
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
