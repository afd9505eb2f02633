"""Parses an engine's description of a container: which route it asks for, and its address.

Pure. The users who start containers write the labels, so each label is checked like a key of the
configuration. If a container is refused, a message says why. Knows nothing of how an engine is
queried.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ipyproxy.http.forwarding import plain_address
from ipyproxy.http.rewriting import Manners, Redirects
from ipyproxy.net.address import LOOPBACK, TCPAddress
from ipyproxy.net.hosts import is_host_name
from ipyproxy.routes.route import Application, Route, Server

PREFIX = "ipyproxy."
ENABLE = "ipyproxy.enable"
"""The label that, with the value ``true``, asks for a route."""

_KNOWN = frozenset(PREFIX + word for word in ("enable", "host", "manners", "path", "port"))
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)+")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_MOST_SHOWN = 80

Place = tuple[bytes, bytes]
"""Host and path of a route."""


class Offer(NamedTuple):
    """A container that asks for a route: the place of the route, and the container's address."""

    container: str
    host: str
    path: str
    address: TCPAddress
    manners: Manners

    @property
    def place(self) -> Place:
        """The place of its route; see :class:`ipyproxy.routes.table.RouteTable`."""
        return self.host.encode("ascii"), self.path.encode("ascii")

    def route(self) -> Route:
        """The route to it."""
        server = Server(f"{self.container} ({self.address})", self.address)
        redirects = None
        if self.manners is Manners.NOTEBOOK:
            # It knows only its own address, not the site's.
            redirects = Redirects(host=True, scheme=b"https")
        return Route(
            Application((server,)),
            self.host,
            self.path,
            manners=self.manners,
            redirects=redirects,
        )


class RefusedContainerError(ValueError):
    """A container gets no route; the message says why."""


class Plan(NamedTuple):
    """The wanted routes, and a sentence for each container that gets none."""

    offers: Mapping[Place, Offer]
    refusals: tuple[str, ...]


def plan(containers: Iterable[object]) -> Plan:
    """Make a plan from the containers that an engine lists.

    If two containers ask for the same place, the older one gets it.
    """
    offers: dict[Place, Offer] = {}
    refusals = []
    for container in sorted(filter(_is_object, containers), key=_age):
        name = _name(container)
        try:
            offer = read_container(name, container)
            former = offers.setdefault(offer.place, offer)
            if former is not offer:
                where = f"{offer.host}{offer.path}"
                raise RefusedContainerError(f"{former.container} stands at {where} already")
        except RefusedContainerError as error:
            refusals.append(f"the container {name} gets no route: {error}")
    return Plan(offers, tuple(refusals))


def read_container(name: str, container: Any) -> Offer:
    """Parse ``container``, an entry of the engine's list. Raises RefusedContainerError."""
    labels = {key: str(value) for key, value in _object(container, "Labels").items()}
    for label in labels:
        if label.startswith(PREFIX) and label not in _KNOWN:
            raise RefusedContainerError(f"it has a label {_shown(label)}, which is unknown")
    host, path = labels.get("ipyproxy.host", ""), labels.get("ipyproxy.path", "")
    if host and not is_host_name(host.lower()):
        raise RefusedContainerError(f"ipyproxy.host is {_shown(host)}, which is no name of a host")
    if not host and not path:
        raise RefusedContainerError("it has neither a label ipyproxy.path nor ipyproxy.host")
    port = _port(labels.get("ipyproxy.port"), container)
    return Offer(
        name, host.lower(), _path(path or "/"), _address(container, port), _manners(labels)
    )


def _path(path: str) -> str:
    path = path.rstrip("/") or "/"
    if path != "/":
        segments = path.split("/")
        if not _PATH.fullmatch(path) or "." in segments or ".." in segments:
            raise RefusedContainerError(
                f"ipyproxy.path is {_shown(path)}, which is no path such as /lab"
            )
    return path


def _manners(labels: Mapping[str, str]) -> Manners:
    said = labels.get("ipyproxy.manners", Manners.APPLICATION.value)
    try:
        return Manners(said)
    except ValueError:
        raise RefusedContainerError(
            f"ipyproxy.manners is {_shown(said)}, and neither notebook nor application"
        ) from None


def _port(said: str | None, container: Any) -> int:
    """The port in the container; an error if there are several and the label is missing."""
    if said is not None:
        if not _PORT.fullmatch(said) or int(said) > 65535:
            raise RefusedContainerError(f"ipyproxy.port is {_shown(said)}, which is no port")
        return int(said)
    found = {port for port, _, _ in _ports(container)}
    if len(found) != 1:
        listed = ", ".join(map(str, sorted(found))) or "none"
        raise RefusedContainerError(f"it has no label ipyproxy.port, and exposes {listed}")
    return found.pop()


def _ports(container: Any) -> Iterable[tuple[int, str, int | None]]:
    """The TCP ports in the container, each with the address and port at which it is published."""
    ports = container.get("Ports")
    for port in ports if isinstance(ports, list) else ():
        if _is_object(port) and port.get("Type") == "tcp":
            inner, address, outer = port.get("PrivatePort"), port.get("IP"), port.get("PublicPort")
            if _is_port(inner):
                is_published = _is_port(outer) and isinstance(address, str)
                yield inner, address if is_published else "", outer if is_published else None


def _address(container: Any, port: int) -> TCPAddress:
    """The address at which this host reaches ``port`` of the container."""
    if _object(container, "HostConfig").get("NetworkMode") == "host":
        return TCPAddress(LOOPBACK, port)
    published = sorted(
        (_reached(address), outer)
        for inner, address, outer in _ports(container)
        if inner == port and outer is not None
    )
    # Prefer 127.0.0.1, because the sandbox allows connections to this host.
    for host, outer in sorted(published, key=lambda each: each[0] != LOOPBACK):
        if host:
            return TCPAddress(host, outer)
    for host in _own_addresses(container):
        return TCPAddress(host, port)
    raise RefusedContainerError(
        f"its port {port} is not published, and it has no address of its own"
    )


def _is_port(value: object) -> bool:
    return type(value) is int and 0 < value < 65536


def _reached(address: str) -> str:
    """The address at which this host reaches a port published at ``address``; "" if invalid."""
    literal = plain_address(address)
    if literal is None:
        return ""
    if literal.is_unspecified:
        return LOOPBACK if literal.version == 4 else "::1"
    return str(literal)


def _own_addresses(container: Any) -> Iterable[str]:
    networks = _object(_object(container, "NetworkSettings"), "Networks")
    for name in sorted(networks):
        network = _object(networks, name)
        for key in ("IPAddress", "GlobalIPv6Address"):
            address = network.get(key)
            if isinstance(address, str) and (found := _reached(address)):
                yield found


def _name(container: Any) -> str:
    names = container.get("Names")
    for name in names if isinstance(names, list) else ():
        if isinstance(name, str) and _NAME.fullmatch(name.removeprefix("/")):
            return name.removeprefix("/")
    identifier = str(container.get("Id"))[:12]
    return identifier if _NAME.fullmatch(identifier) else "without a name"


def _age(container: Any) -> tuple[int, str]:
    created = container.get("Created")
    return created if type(created) is int else 0, str(container.get("Id"))


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _object(container: Any, key: str) -> Mapping[str, Any]:
    """The object at ``key`` of ``container``; an empty one if it is no object."""
    found = container.get(key)
    return found if isinstance(found, dict) else {}


def _shown(text: str) -> str:
    """Foreign text for messages: in quotation marks, on one line, with bounded length."""
    return repr(text[:_MOST_SHOWN])
