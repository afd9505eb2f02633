"""What follows from a configuration, and that components take another one while they are in use."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import attrs
import pytest

from ipyproxy.config import Config, ConfigError, parse
from ipyproxy.daemon.components import Components, make_components, refit
from ipyproxy.daemon.settings import Settings, load
from ipyproxy.daemon.sites import make_sites
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.net.sockdiag import Listener
from ipyproxy.upstream.states import State
from ipyproxy.upstream.tenancy import Tenants, nobody
from tests.certificates import Authority
from tests.upstreams import notebook
from tests.wires import Loop


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def components(loop: Loop) -> Components:
    return make_components(loop, loop, Config(), Tenants(nobody))


def settings(directory: Path, toml: str = "", *names: str) -> Settings:
    certificate, key = Authority().issue(*(names or ("a.example",))).write(directory)
    named = {"tls.certificate": str(certificate), "tls.key": str(key)}
    return load(parse(toml, named, "test"), directory)


def test_every_room_takes_the_limits_of_another_configuration(components: Components) -> None:
    toml = """
        limits = {connections = 7, connections_per_client = 3, message_bytes = 99,
                  response_head_bytes = 2048}
        health = {mode = "http", fall = 9}
        timeouts.connect = 1
    """.replace("\n                  ", " ")
    config = parse(toml, {}, "test")
    refit(components, config)
    fresh = make_components(Loop(), Loop(), config, Tenants(nobody))
    assert components.pool.limits == fresh.pool.limits
    assert components.bridges.message_limit == fresh.bridges.message_limit == 99
    assert components.health.config == fresh.health.config == config.health
    for clients in (components.clients, fresh.clients):
        assert (clients.limits.connections, clients.limits.connections_each) == (7, 3)


def test_what_is_known_of_notebooks_outlives_a_new_site(
    components: Components, tmp_path: Path
) -> None:
    for toml in ("", 'notebooks.prefix = "/notebooks"'):
        site = make_sites(components, settings(tmp_path, toml), 443).public
        mount = site.routes.match(b"", b"/notebooks" if toml else b"/ipython")
        assert mount is not None
        resource: Any = mount.resource.getChild(b"10000", None)
        assert resource._upstream is components.upstreams.notebook(10000)


def test_no_own_port_is_led_to_however_late_it_is_known(
    components: Components, tmp_path: Path
) -> None:
    site = make_sites(components, settings(tmp_path), 443).public
    components.own_ports.add(10443)
    mount = site.routes.match(b"", b"/ipython/10443/")
    assert mount is not None
    with pytest.raises(ProxyError, match="No such notebook: 10443"):
        mount.resource.getChild(b"10443", None)


def test_hosts_come_from_certificate_and_configuration(
    components: Components, tmp_path: Path
) -> None:
    made = make_sites(
        components, settings(tmp_path, 'site.hosts = ["b.example"]', "a.example"), 8443
    )
    assert made.public.policy is made.redirects.policy
    assert set(made.public.policy._names or ()) == {"a.example", "b.example"}


def test_without_health_checks_no_port_stays_dead(components: Components, loop: Loop) -> None:
    components.health.startService()
    upstream = components.upstreams.notebook(10000)
    now = components.health.now()
    components.health.admit(upstream, now)
    for _ in range(2):
        components.health.failed(upstream, ProxyError(Problem.UPSTREAM_DEAD))
    assert upstream.is_down
    config = Config()
    refit(components, attrs.evolve(config, health=attrs.evolve(config.health, mode="off")))
    assert upstream.state is State.UNKNOWN
    assert not loop.getDelayedCalls()
    components.health.admit(upstream, now)


def test_what_was_issued_for_a_former_tenant_is_void(components: Components) -> None:
    listeners = {10000: Listener(1000, 1)}
    tenants = Tenants(listeners.get)
    loop = Loop()
    components = make_components(loop, loop, Config(), tenants)
    tenants.confirm(notebook(10000), 0, None)
    assert components.auth.revocations.of("10000") == 0
    listeners[10000] = Listener(1000, 2)
    before = time.time()
    tenants.sweep(5)
    # It was there five seconds ago; what was issued since then may be for the new one.
    assert before - 5 <= components.auth.revocations.of("10000") <= time.time() - 5


def test_where_somebody_is_asked_requests_are_for_one_tenant(
    components: Components, tmp_path: Path
) -> None:
    (tmp_path / "users").touch()
    toml = """
        auth.htpasswd = "users"
        [[auth.rules]]
        require = "htpasswd"
    """
    assert not components.tenants.strict
    refit(components, parse(toml, {}, "test"))
    assert components.tenants.strict
    refit(components, Config())
    assert not components.tenants.strict


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


def test_below_a_domain_each_notebook_has_its_host(components: Components, tmp_path: Path) -> None:
    made = make_sites(components, settings(tmp_path, 'site.notebook_domain = "nb.example"'), 443)
    assert "*.nb.example" in (made.public.policy._names or ())
    assert made.public._hosts is not None
    assert make_sites(components, settings(tmp_path), 443).public._hosts is None
