"""What follows from an engine's list of containers: routes, or why not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyproxy.containers.labels import plan
from ipyproxy.http.rewriting import Manners
from ipyproxy.routes.route import Application


def container(
    name: str = "lab", *ports: dict[str, Any], created: int = 7, **labels: str
) -> dict[str, Any]:
    """An entry as Docker lists it; ``path="/lab"`` is the label ``ipyproxy.path``."""
    return {
        "Id": "0123456789abcdef" * 4,
        "Names": [f"/{name}"],
        "Created": created,
        "Labels": {
            "ipyproxy.enable": "true",
            "org.opencontainers.image.version": "1",
            **{f"ipyproxy.{key}": value for key, value in labels.items()},
        },
        "State": "running",
        "Ports": list(ports),
        "HostConfig": {"NetworkMode": "default"},
        "NetworkSettings": {
            "Networks": {"bridge": {"IPAddress": "172.17.0.2", "GlobalIPv6Address": ""}}
        },
    }


def port(inner: int, outer: int = 0, address: str = "0.0.0.0", kind: str = "tcp") -> dict[str, Any]:
    published = {"IP": address, "PublicPort": outer} if outer else {}
    return {"PrivatePort": inner, "Type": kind, **published}


def address(*ports: dict[str, Any], **labels: str) -> str:
    (offer,) = plan([container("lab", *ports, created=7, path="/lab", **labels)]).offers.values()
    return str(offer.address)


def refusal(*ports: dict[str, Any], **labels: str) -> str:
    planned = plan([container("lab", *ports, created=7, **labels)])
    assert planned.offers == {}
    (said,) = planned.refusals
    stem = "the container lab gets no route: "
    assert said.startswith(stem)
    return said.removeprefix(stem)


def test_a_container_becomes_a_route() -> None:
    planned = plan([container("lab", port(8888), path="/lab/", host="HUB.example.org")])
    ((place, offer),) = planned.offers.items()
    assert place == (b"hub.example.org", b"/lab")
    route = offer.route()
    assert (route.name, route.manners) == ("hub.example.org/lab", Manners.APPLICATION)
    assert isinstance(route.destination, Application)
    assert route.destination.servers[0].name == "lab (172.17.0.2:8888)"
    assert route.redirects is None


def test_a_notebook_is_told_nothing_of_the_public_side() -> None:
    (offer,) = plan([container("nb", port(8888), path="/nb", manners="notebook")]).offers.values()
    route = offer.route()
    assert route.manners is Manners.NOTEBOOK
    assert route.redirects is not None


class TestTheAddress:
    def test_is_the_containers_own_where_nothing_is_published(self) -> None:
        assert address(port(8888)) == "172.17.0.2:8888"

    @pytest.mark.parametrize(
        ("published", "reached"),
        [
            ("0.0.0.0", "127.0.0.1:40001"),
            ("127.0.0.1", "127.0.0.1:40001"),
            ("::", "[::1]:40001"),
            ("192.0.2.9", "192.0.2.9:40001"),
        ],
    )
    def test_is_the_published_one_where_there_is_one(self, published: str, reached: str) -> None:
        assert address(port(8888, 40001, published)) == reached

    def test_loopback_comes_first(self) -> None:
        both = port(8888, 40002, "10.0.0.1"), port(8888, 40001, "::"), port(8888, 40003)
        assert address(*both) == "127.0.0.1:40003"

    def test_is_that_of_the_port_that_is_meant(self) -> None:
        assert address(port(22, 40001), port(8888, 40002), port="8888") == "127.0.0.1:40002"
        assert address(port(22, 40001), port="8888") == "172.17.0.2:8888"
        assert address(port(8888, 40001, kind="udp"), port="8888") == "172.17.0.2:8888"

    def test_in_the_hosts_network_it_is_loopback(self) -> None:
        made = container("lab", path="/lab", port="8888")
        made["HostConfig"]["NetworkMode"] = "host"
        made["NetworkSettings"]["Networks"] = {"host": {"IPAddress": ""}}
        (offer,) = plan([made]).offers.values()
        assert str(offer.address) == "127.0.0.1:8888"

    def test_without_one_there_is_no_route(self) -> None:
        made = container("lab", path="/lab", port="8888")
        made["NetworkSettings"] = {}
        (said,) = plan([made]).refusals
        assert said.endswith("its port 8888 is not published, and it has no address of its own")


class TestWhatIsRefused:
    def test_a_guess_between_ports(self) -> None:
        said = refusal(port(22), port(8888), path="/lab")
        assert said == "it has no label ipyproxy.port, and exposes 22, 8888"
        assert refusal(path="/lab").endswith("exposes none")

    def test_a_place_of_all(self) -> None:
        assert refusal(port(1)) == "it has neither a label ipyproxy.path nor ipyproxy.host"

    def test_a_label_that_is_unknown(self) -> None:
        said = refusal(port(1), path="/x", allow="10.0.0.0/8")
        assert said == "it has a label 'ipyproxy.allow', which is unknown"

    @pytest.mark.parametrize(
        "path", ["lab", "/a//b", "/../x", "/a/..", "/a?b", "/a b", "/é", "/%2e", "/a\nb", "//"]
    )
    def test_paths(self, path: str) -> None:
        if path == "//":
            assert next(iter(plan([container("lab", port(1), path=path)]).offers)) == (b"", b"/")
        else:
            assert "which is no path such as /lab" in refusal(port(1), path=path)

    @pytest.mark.parametrize("host", ["*.example.org", "a b", "a/b", "x" * 300, "é.example", "a:1"])
    def test_hosts(self, host: str) -> None:
        said = refusal(port(1), host=host)
        assert "which is no name of a host" in said
        assert len(said) < 200

    @pytest.mark.parametrize("told", ["0", "65536", "08888", "٣", "80\n", "-1", ""])
    def test_ports(self, told: str) -> None:
        assert "which is no port" in refusal(port(1), path="/x", port=told)

    def test_manners(self) -> None:
        assert "neither notebook nor application" in refusal(port(1), path="/x", manners="rude")

    def test_the_younger_one_of_two_for_one_place(self) -> None:
        old, new = (container(name, port(1), created=at, path="/x") for name, at in
                    (("old", 1), ("new", 2)))  # fmt: skip
        planned = plan([new, old])
        (offer,) = planned.offers.values()
        assert offer.container == "old"
        assert planned.refusals == ("the container new gets no route: old stands at /x already",)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("Id", "Names", "Created", "Labels", "Ports", "HostConfig", "Networks", "IP"),
                    *("NetworkSettings", "PrivatePort", "PublicPort", "Type", "IPAddress"),
                    *("ipyproxy.path", "ipyproxy.port", "ipyproxy.host"),
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=15,
)


@given(st.lists(values, max_size=3))
def test_nonsense_is_refused_and_nothing_else(listed: list[Any]) -> None:
    planned = plan(json.loads(json.dumps(listed)))
    assert all("\n" not in refusal for refusal in planned.refusals)


@pytest.mark.parametrize(
    "said",
    [
        {"Ports": 5}, {"Ports": {"a": 1}}, {"Ports": [5, None]}, {"Labels": [1]}, {"Names": 5},
        {"Names": ["/x\ny"], "Id": "x\ny"}, {"NetworkSettings": 1}, {"HostConfig": []},
        {"Ports": [{"PrivatePort": 80, "Type": "tcp", "IP": "0.0.0.0", "PublicPort": 99999}]},
        {"Ports": [{"PrivatePort": 80, "Type": "tcp", "IP": "::1%e\nth0", "PublicPort": 80}]},
        {"Ports": [{"PrivatePort": 80, "Type": "tcp", "IP": "", "PublicPort": 80}]},
        {"Ports": [{"PrivatePort": -1, "Type": "tcp"}]},
    ],
)  # fmt: skip
def test_what_makes_no_sense_costs_no_other_container_its_route(said: dict[str, Any]) -> None:
    broken = {**container("broken", created=1, path="/broken"), **said}
    planned = plan([broken, container("lab", port(1), path="/lab")])
    assert (b"", b"/lab") in planned.offers
    assert "\n" not in "".join(planned.refusals)
    for offer in planned.offers.values():
        assert 0 < offer.address.port < 65536
        assert "%" not in offer.address.host
