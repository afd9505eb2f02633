"""Galaxy's interactive tools: makes the resources at their addresses from the configuration.

Knows the table ``[galaxy]``, and what outlives a reload: the map, and the tools in use. Knows
nothing of kinds of maps, or of how a request is carried.
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
    """The tools; outlives changes of the configuration.

    :param let_go: called with the upstream of a tool that is gone, to end what is open to it.
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
        """Use another configuration. The contents of the map are used until it is read again."""
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
        """Start to read the map, if there is one."""
        self._is_started = True
        if self._place is not None:
            self._follow(self._place)

    def stop(self) -> None:
        """Stop reading; the contents stay."""
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.stop()

    def _follow(self, place: MapPlace) -> None:
        # A new thread: that of a former map may still wait for a server that is away.
        run = PatientThreads(self._reactor, 1, "interactive tools").run
        self._follower = Follower(self._reactor, run, source_of(place), str(place), self)
        self._follower.start()

    def take(self, contents: Contents) -> None:
        """Replace the contents of the map; end what is open to tools that are gone."""
        before, after = self.tools.entries, contents.entries
        self.tools.entries = after
        # Tools without requests, which may be very many, have nothing open.
        self.used.end(key for key in self.used if after.get(key) != before[key])

    def change(self, changes: Changes) -> None:
        """Apply changes of the map; end what is open to tools that are gone."""
        self.used.end(self.tools.change(changes))


def make_mounts(
    config: Galaxy,
    galaxy: GalaxyTools,
    context: GatewayContext,
    reserved: ReservedFields | None,
    cookies: tuple[bytes, ...],
) -> list[tuple[str, str, Mount]]:
    """The mounts of the tools, by host and path: one path for all, and a host for each.

    :param reserved: fields that a client may not send to an upstream.
    :param cookies: names of cookies that tools do not get.
    """
    if config.map is None:
        return []
    # The framing rules for notebooks do not apply to tools.
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
    """Maps a tool at its host to its path, by which access is decided."""

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
