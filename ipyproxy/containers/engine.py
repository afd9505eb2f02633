"""Queries a container engine over its socket (Docker's Engine API, which Podman has too).

It only reads: ``/version``, ``/containers/json`` and ``/events``, and with Podman
``/containers/<id>/json``. So a filtering proxy in front of the engine need not allow anything else.
Uses Twisted's HTTP client. Knows nothing of what containers are for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from ipyproxy import __version__
from ipyproxy.clock import Clock
from ipyproxy.containers.labels import ENABLE
from ipyproxy.net.address import Literal, UNIXPath
from ipyproxy.net.reasons import innermost

TIMEOUT = 30.0
"""Seconds for a whole answer, except for the events, which do not end."""
_CONNECT_TIMEOUT = 5.0
MOST_BYTES = 32 << 20
"""Largest body of an answer. An entry of the list takes about 2 KiB."""
_KNOWN = (1, 47)
"""The newest version of the API that this code was checked with."""
_EVENTS = ("start", "die", "died", "rename", "update")
"""Events that change a container's address, but not those of health checks; ``died`` is
Podman's."""
_ID = re.compile(r"[0-9a-f]{12,64}")


class EngineError(Exception):
    """The engine cannot be queried, or its answer is invalid; the message says why."""


class Engine:
    """An engine at ``address``."""

    def __init__(self, reactor: Clock, address: Literal) -> None:
        self._reactor = reactor
        self.address = address
        self._agent = Agent.usingEndpointFactory(reactor, _Endpoints(reactor, address))

    async def version(self) -> str:
        """The API version to use: the newest one that both sides know. Raises EngineError."""
        # Without a version in the path, since the versions are not known yet.
        said = _json(await self._whole("/version"))
        if not isinstance(said, dict):
            raise EngineError("its version is no JSON object")
        newest = _numbers(said.get("ApiVersion"))
        oldest = _numbers(said.get("MinAPIVersion") or said.get("ApiVersion"))
        # Podman has versions of its own, whose oldest is newer than this newest.
        chosen = max(min(_KNOWN, newest), min(oldest, newest))
        return "{}.{}".format(*chosen)

    async def containers(self, version: str) -> list[object]:
        """The running containers that ask for a route. Raises EngineError."""
        filters = {"label": [f"{ENABLE}=true"], "status": ["running"]}
        said = _json(await self._whole(f"/v{version}/containers/json?{_filters(filters)}"))
        if not isinstance(said, list):
            raise EngineError("its list of containers is no JSON array")
        for container in said:
            if isinstance(container, dict) and "HostConfig" not in container:
                container["HostConfig"] = await self._host_config(version, container.get("Id"))
        return said

    async def _host_config(self, version: str, identifier: object) -> object:
        """Whether a container uses the host's network, which Podman's list lacks."""
        if not isinstance(identifier, str) or not _ID.fullmatch(identifier):
            return None
        try:
            said = _json(await self._whole(f"/v{version}/containers/{identifier}/json"))
        except EngineError:
            return None  # it is gone, or the request is not allowed
        return said.get("HostConfig") if isinstance(said, dict) else None

    def events(self, version: str, happened: Callable[[], object]) -> Deferred[None]:
        """Call ``happened`` at each event. Fails with EngineError when the events end."""
        filters = {"label": [f"{ENABLE}=true"], "event": list(_EVENTS)}
        asked: Deferred[Any] = self._ask(f"/v{version}/events?{_filters(filters)}")

        def listen(response: IResponse) -> Deferred[None]:
            if response.code != 200:
                raise EngineError(f"it answers {response.code} to GET /events")
            happened()  # something may have changed since the list
            heard = _Heard(lambda _: happened())
            response.deliverBody(heard)
            return heard.ended.addCallback(_no_more)

        return asked.addCallback(listen).addErrback(_explain)

    async def _whole(self, path: str) -> bytes:
        """Send a GET request; the whole answer. Raises EngineError."""
        parts: list[bytes] = []
        size = 0

        def take(data: bytes) -> None:
            nonlocal size
            size += len(data)
            if size > MOST_BYTES:
                raise EngineError("its answer does not end")
            parts.append(data)

        def read(response: IResponse) -> Deferred[None]:
            if response.code != 200:
                raise EngineError(f"it answers {response.code} to GET {path.partition('?')[0]}")
            heard = _Heard(take)
            response.deliverBody(heard)
            return heard.ended

        asked = self._ask(path).addCallback(read)
        deadline = self._reactor.callLater(TIMEOUT, asked.cancel)
        try:
            await asked.addErrback(_explain)
        finally:
            if deadline.active():
                deadline.cancel()
        return b"".join(parts)

    def _ask(self, path: str) -> Deferred[Any]:
        headers = Headers({"User-Agent": [f"ipyproxy/{__version__}"]})
        url = b"http://engine" + path.encode("ascii")
        asked: Deferred[Any] = self._agent.request(b"GET", url, headers)
        return asked


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Connects to the engine, whatever the URI is."""

    def __init__(self, reactor: Clock, address: Literal) -> None:
        self._reactor = reactor
        self._address = address

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """See IAgentEndpointFactory."""
        reactor, address = self._reactor, self._address
        if isinstance(address, UNIXPath):
            return UNIXClientEndpoint(reactor, address.path, timeout=_CONNECT_TIMEOUT)
        kind = TCP6ClientEndpoint if ":" in address.host else TCP4ClientEndpoint
        return kind(reactor, address.host, address.port, timeout=_CONNECT_TIMEOUT)


class _Heard(Protocol):
    """Reads a body piece by piece."""

    transport: ITransport

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self.ended: Deferred[None] = Deferred(lambda _: self.transport.loseConnection())
        self._take = take

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the body."""
        try:
            self._take(data)
        except EngineError:
            if not self.ended.called:
                self.ended.errback()
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body has ended, or was cut short."""
        if self.ended.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.ended.callback(None)
        else:
            self.ended.errback(reason)


def _no_more(_: None) -> None:
    raise EngineError("it tells of nothing more")


def _explain(failure: Failure) -> None:
    """Translate a failure into an EngineError."""
    error = innermost(failure.value)
    if isinstance(error, EngineError):
        raise error
    if isinstance(error, CancelledError):
        raise EngineError(f"no answer within {TIMEOUT:g} seconds") from None
    raise EngineError(" ".join(str(error).split()) or error.__class__.__name__) from None


def _filters(filters: Mapping[str, list[str]]) -> str:
    return urlencode({"filters": json.dumps(filters)})


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise EngineError("it answers no JSON") from None


def _numbers(version: object) -> tuple[int, int]:
    """A version such as ``1.41`` as numbers, which can be compared."""
    major, dot, minor = version.partition(".") if isinstance(version, str) else ("", "", "")
    minor = minor.partition(".")[0]
    if not (dot and major.isascii() and major.isdigit() and minor.isascii() and minor.isdigit()):
        raise EngineError(f"its API has the version {str(version)[:40]!r}")
    return int(major[:4]), int(minor[:4])
