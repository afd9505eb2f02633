"""What follows from a configuration, and that rooms take another one while they are in use."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import attrs
import pytest

from ipyproxy.config import Config, ConfigError, parse
from ipyproxy.daemon.components import Rooms, make_rooms, make_sites, refit
from ipyproxy.daemon.settings import Settings, load
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.net.sockdiag import Listener
from ipyproxy.upstream.tenancy import Tenants, nobody
from ipyproxy.upstream.upstream import State
from tests.certificates import Authority
from tests.wires import Loop


@pytest.fixture
def rooms() -> Rooms:
    loop = Loop()
    return make_rooms(loop, loop, Config(), Tenants(nobody))


def settings(directory: Path, toml: str = "", *names: str) -> Settings:
    certificate, key = Authority().issue(*(names or ("a.example",))).write(directory)
    named = {"tls.certificate": str(certificate), "tls.key": str(key)}
    return load(parse(toml, named, "test"), directory)


def test_every_room_takes_the_limits_of_another_configuration(rooms: Rooms) -> None:
    toml = """
        limits = {connections = 7, connections_per_client = 3, message_bytes = 99,
                  response_head_bytes = 2048}
        health = {mode = "http", fall = 9}
        timeouts.connect = 1
    """.replace("\n                  ", " ")
    config = parse(toml, {}, "test")
    refit(rooms, config)
    fresh = make_rooms(Loop(), Loop(), config, Tenants(nobody))
    assert rooms.pool.limits == fresh.pool.limits
    assert rooms.bridges.message_limit == fresh.bridges.message_limit == 99
    assert rooms.health.config == fresh.health.config == config.health
    for crowd in (rooms.crowd, fresh.crowd):
        assert (crowd.limits.connections, crowd.limits.connections_each) == (7, 3)


def test_what_is_known_of_notebooks_outlives_a_new_site(rooms: Rooms, tmp_path: Path) -> None:
    for toml in ("", 'notebooks.prefix = "/notebooks"'):
        site = make_sites(rooms, settings(tmp_path, toml), 443).public
        resource: Any = site.root
        for segment in (b"notebooks" if toml else b"ipython", b"10000"):
            resource = resource.children.get(segment) or resource.getChild(segment, None)
        assert resource._upstream is rooms.upstreams.get(10000)


def test_no_own_port_is_led_to_however_late_it_is_known(rooms: Rooms, tmp_path: Path) -> None:
    site = make_sites(rooms, settings(tmp_path), 443).public
    rooms.own_ports.add(10443)
    with pytest.raises(ProxyError, match="No such notebook: 10443"):
        site.root.children[b"ipython"].getChild(b"10443", None)


def test_hosts_come_from_certificate_and_configuration(rooms: Rooms, tmp_path: Path) -> None:
    made = make_sites(rooms, settings(tmp_path, 'site.hosts = ["b.example"]', "a.example"), 8443)
    assert made.public.policy is made.redirects.policy
    names = made.public.policy._names
    assert names == {"a.example", "b.example"}


def test_without_health_checks_no_port_stays_dead(rooms: Rooms) -> None:
    rooms.health.startService()
    upstream = rooms.upstreams.get(10000)
    now = rooms.health.now()
    rooms.health.admit(upstream, now)
    for _ in range(2):
        rooms.health.failed(upstream, ProxyError(Problem.UPSTREAM_DEAD))
    assert upstream.is_down
    config = Config()
    refit(rooms, attrs.evolve(config, health=attrs.evolve(config.health, mode="off")))
    assert upstream.state is State.UNKNOWN
    assert rooms.health.watched == 0
    rooms.health.admit(upstream, now)


def test_what_was_issued_for_a_former_tenant_is_void(rooms: Rooms) -> None:
    listeners = {10000: Listener(1000, 1)}
    tenants = Tenants(listeners.get)
    loop = Loop()
    rooms = make_rooms(loop, loop, Config(), tenants)
    tenants.confirm(10000, 0, None)
    assert rooms.auth.revocations.of(10000) == 0
    listeners[10000] = Listener(1000, 2)
    before = time.time()
    tenants.sweep(5)
    # It was there five seconds ago; what was issued since then may be for the new one.
    assert before - 5 <= rooms.auth.revocations.of(10000) <= time.time() - 5


def test_where_somebody_is_asked_requests_are_for_one_tenant(rooms: Rooms, tmp_path: Path) -> None:
    (tmp_path / "users").touch()
    toml = """
        auth.htpasswd = "users"
        [[auth.rules]]
        require = "htpasswd"
    """
    assert not rooms.tenants.strict
    refit(rooms, parse(toml, {}, "test"))
    assert rooms.tenants.strict
    refit(rooms, Config())
    assert not rooms.tenants.strict


def test_owners_are_users_and_groups_that_there_are(tmp_path: Path) -> None:
    assert settings(tmp_path).owners is None
    owners = settings(tmp_path, 'notebooks.owners = ["root"]').owners
    assert owners is not None
    assert 0 in owners.users
    with pytest.raises(ConfigError, match=r"notebooks\.owners: there is no group no-such-group"):
        settings(tmp_path, 'notebooks.owners = ["root", "@no-such-group"]')


def test_owners_need_a_kernel_that_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_NETLINK")
    assert settings(tmp_path).owners is None
    with pytest.raises(ConfigError, match=r"notebooks\.owners: the kernel does not tell"):
        settings(tmp_path, 'notebooks.owners = ["root"]')


def test_below_a_domain_each_notebook_has_its_host(rooms: Rooms, tmp_path: Path) -> None:
    made = make_sites(rooms, settings(tmp_path, 'site.notebook_domain = "nb.example"'), 443)
    assert "*.nb.example" in made.public.policy._names
    assert made.public._hosts is not None
    assert make_sites(rooms, settings(tmp_path), 443).public._hosts is None
