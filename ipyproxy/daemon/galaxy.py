"""Galaxy's interactive tools, from the configuration to what stands at their addresses.

Knows the table ``[galaxy]``, and what outlives a reload of it: the map, and which tools are in use.
Knows nothing of kinds of maps, nor of what is done with a request.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import replace

from ipyproxy.access.reserved import ReservedFields, dropping_reserved
from ipyproxy.config import Galaxy
from ipyproxy.galaxy.entries import NOTHING, Changes, Contents, Entry, Tools
from ipyproxy.galaxy.following import Follower
from ipyproxy.galaxy.sources import source_of
from ipyproxy.galaxy.spelling import MapPlace
from ipyproxy.gateway.exchange import GatewayContext
from ipyproxy.gateway.tools import Rewrite, Split, ToolsResource, UsedTools, split_host, split_path
from ipyproxy.http.forwarding import Networks
from ipyproxy.http.rewriting import Manners, Rewriting
from ipyproxy.net.descriptors import Reactor
from ipyproxy.routes.route import InteractiveTools, Route
from ipyproxy.threads import PatientThreads
from ipyproxy.upstream.upstream import Upstream, UpstreamTable
from ipyproxy.web.site import Mount


class GalaxyTools:
    """What is known of the tools, whatever the configuration.

    :param let_go: ends what is open to an upstream that no tool is at any more.
    """

    def __init__(
        self,
        reactor: Reactor,
        upstreams: UpstreamTable,
        let_go: Callable[[Upstream], None],
        own_ports: Container[int],
    ) -> None:
        self.tools = Tools(own_ports)
        self.used = UsedTools(upstreams, let_go)
        self._reactor = reactor
        self._place: MapPlace | None = None
        self._follower: Follower | None = None
        self._is_started = False

    def configure(self, config: Galaxy) -> None:
        """Go by another configuration. What the map held counts until it is read anew."""
        self.tools.networks = Networks(config.networks)
        self.used.refit()
        if config.map != self._place:
            self.stop()
            self._place = config.map
            if config.map is None:
                self.take(NOTHING)
            elif self._is_started:
                self._follow(config.map)
        entries = self.tools.entries
        self.used.end(key for key in self.used if not self.tools.allows(entries[key]))

    def start(self) -> None:
        """Begin to read the map, if there is one."""
        self._is_started = True
        if self._place is not None:
            self._follow(self._place)

    def stop(self) -> None:
        """Read no more; what was read stays."""
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.stop()

    def _follow(self, place: MapPlace) -> None:
        # A thread of its own: the one of another map may wait for a server that is away.
        run = PatientThreads(self._reactor, 1, "interactive tools").run
        self._follower = Follower(self._reactor, run, source_of(place), str(place), self)
        self._follower.start()

    def take(self, contents: Contents) -> None:
        """The map holds something else: what is open to tools that are gone ends."""
        before, after = self.tools.entries, contents.entries
        self.tools.entries = after
        # Of those that nobody has asked for, which may be very many, nothing is open.
        self.used.end(key for key in self.used if after.get(key) != before[key])

    def change(self, changes: Changes) -> None:
        """Some of the map is something else: what is open to tools that are gone ends."""
        self.used.end(self.tools.change(changes))


def make_mounts(
    config: Galaxy,
    galaxy: GalaxyTools,
    context: GatewayContext,
    reserved: ReservedFields | None,
    cookies: tuple[bytes, ...],
) -> list[tuple[str, str, Mount]]:
    """What stands where tools are, by host and path: all at one path, and each at a host.

    :param reserved: fields that a client may not send to an upstream.
    :param cookies: names of the cookies that tools do not get to see.
    """
    if config.map is None:
        return []
    # Which pages of notebooks may be framed says nothing about tools.
    context = replace(context, trusted_pages=None)

    def made(split: Split, rewrite: Rewrite) -> ToolsResource:
        return ToolsResource(galaxy.tools, galaxy.used, split, rewrite, context)

    prefix = config.path.encode("ascii") + b"/"
    by_path = made(split_path(prefix), _by_path(prefix, reserved, cookies))
    at_path = Route(InteractiveTools(), path=config.path)
    mounts = [("", config.path, Mount(by_path, at_path, access_path=_own_path(by_path)))]
    if config.domain:
        by_host = made(split_host, _by_host(reserved, cookies))
        at_host = Route(InteractiveTools(), f"*.{config.domain}")
        mount = Mount(by_host, at_host, access_path=_path_of(by_host, prefix))
        mounts.append((at_host.host, "/", mount))
    return mounts


def _own_path(resource: ToolsResource) -> Callable[[bytes, bytes], bytes]:
    def access_path(host: bytes, path: bytes) -> bytes:
        resource.find(host, path)
        return path

    return access_path


def _path_of(resource: ToolsResource, prefix: bytes) -> Callable[[bytes, bytes], bytes]:
    """Access to a tool at its host is decided as if it were asked for at its path."""

    def access_path(host: bytes, path: bytes) -> bytes:
        entry = resource.find(host, path)
        return b"%b%b/%b%b" % (prefix, entry.key.encode("ascii"), entry.token, path)

    return access_path


def _by_path(prefix: bytes, reserved: ReservedFields | None, cookies: tuple[bytes, ...]) -> Rewrite:
    def rewrite(entry: Entry) -> Rewriting:
        own = b"%b%b/%b" % (prefix, entry.key.encode("ascii"), entry.token)
        line = b"%b: %b" % (entry.header.encode("ascii"), own) if entry.header else b""
        return Rewriting(
            authority=str(entry.address).encode("ascii"),
            prefix=own + b"/",
            port=entry.address.port,
            site_cookies=cookies,
            drop_reserved=dropping_reserved(reserved, [entry.header] if entry.header else []),
            manners=Manners.APPLICATION,
            stripped=not entry.keeps_path,
            sent=(line,) if line else (),
        )

    return rewrite


def _by_host(reserved: ReservedFields | None, cookies: tuple[bytes, ...]) -> Rewrite:
    def rewrite(entry: Entry) -> Rewriting:
        return Rewriting(
            authority=str(entry.address).encode("ascii"),
            prefix=b"/",
            port=entry.address.port,
            site_cookies=cookies,
            drop_reserved=dropping_reserved(reserved),
            manners=Manners.APPLICATION,
        )

    return rewrite
