"""The public site: authorizes every request, once, and finds its resource.

Knows the order of steps: target, route, access, authentication, tree. Knows nothing of what a
resource does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from twisted.web.resource import Resource

from ipyproxy.access.cors import TrustedPages
from ipyproxy.access.facts import Admitted
from ipyproxy.access.navigation import answer_lines, is_navigation, login_address
from ipyproxy.access.origins import Policy
from ipyproxy.auth import Gate
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http.forwarding import Networks
from ipyproxy.http1.head import READING
from ipyproxy.routes.notebooks import NotebookHosts, StatePaths, parse_target
from ipyproxy.routes.readings import decoded, other_reading
from ipyproxy.routes.route import InteractiveTools, Notebooks, Redirect, Route
from ipyproxy.routes.table import RouteTable
from ipyproxy.server.request import NO_PAGES, Request, Unserved
from ipyproxy.web import acme
from ipyproxy.web.acme import Challenges
from ipyproxy.web.admission import Admission
from ipyproxy.web.login import LoginPages
from ipyproxy.web.pages import front_page
from ipyproxy.web.resources import Branch, PageResource, send_problem, send_redirect

# CONNECT asks for a tunnel; TRACE would show a page its own HttpOnly cookies (XST).
_REFUSED_METHODS: Final = (b"CONNECT", b"TRACE")
_CONTINUE: Final = ((), (b"100-continue",))


class Root(Branch):
    """The root of the tree: the front page, the notebooks below their prefix, and added resources.

    :param login: whether there is a login page.
    """

    def __init__(self, prefix: str, notebooks: Resource, *, login: bool = False) -> None:
        super().__init__()
        page = front_page(prefix, login=login)
        self.putChild(b"", PageResource(lambda _: page))
        self.put(prefix, notebooks)

    def put(self, path: str, resource: Resource) -> None:
        """Add ``resource`` at ``path``; the segments above it have no content."""
        parent: Resource = self
        *above, last = path.encode("ascii").removeprefix(b"/").split(b"/")
        for segment in above:
            child = parent.children.get(segment) or Branch()
            parent.putChild(segment, child)
            parent = child
        parent.putChild(last, resource)


AccessPath = Callable[[bytes, bytes], bytes]
_UNREAD = (Notebooks, Redirect, InteractiveTools)


class Mount:
    """A route's resource, with the facts that the site needs of the route.

    :ivar below: length of the route's prefix of a path, in bytes.
    :ivar is_strict: whether requests of other sites' pages are refused. An application checks them
        itself; a notebook can't, because rewriting makes all requests look like its own.
    :ivar strips: whether its path is removed from requests.
    :ivar decodes: whether the upstream may read a path in another way than byte for byte.
    :ivar access_path: returns, for a host and a path, the path whose rules decide about access, or
        raises :class:`ProxyError` if nothing is there; None: it is the path itself.
    :ivar is_live: whether it is a live route, whose path is compared decoded.
    :ivar unserved: answers requests that cannot be carried; None: the site does.
    :ivar rank: if a configured and a live route both match, the one with the higher rank is used.
    """

    __slots__ = (
        "access_path",
        "allowed",
        "below",
        "decodes",
        "is_live",
        "is_strict",
        "lines",
        "rank",
        "resource",
        "strips",
        "unserved",
    )

    def __init__(
        self,
        resource: Resource,
        route: Route,
        *,
        access_path: AccessPath | None = None,
        is_live: bool = False,
        unserved: Unserved | None = None,
        rank: tuple[int, int] | None = None,
    ) -> None:
        self.resource = resource
        self.access_path = access_path
        self.is_live = is_live
        self.unserved = unserved
        self.rank = rank or rank_of(route.host, route.path)
        self.below = len(route.prefix) + 1
        self.is_strict = isinstance(route.destination, Notebooks)
        self.decodes = not is_live and not isinstance(route.destination, _UNREAD)
        self.allowed = Networks(route.allow) if route.allow else None
        self.lines = route.lines
        self.strips = route.strip and route.path != "/"

    def check_rest(self, path: bytes) -> None:
        """Refuse a path that, once stripped, begins with two slashes: they could be read as a host.

        :param path: the path in the form that was compared with the route's.
        :raises ProxyError: ``BAD_TARGET``.
        """
        if self.strips and path[self.below : self.below + 1] == b"/":
            raise ProxyError(Problem.BAD_TARGET, "two slashes behind the route, which is taken off")


YIELDS, PREVAILS = (-1, 0), (3, 0)
"""The ranks that every live route exceeds, and that none exceeds."""


def rank_of(host: str, path: str) -> tuple[int, int]:
    """The rank of a route: first by host, then by path, as in the table."""
    return (0 if not host else 1 if host.startswith("*.") else 2), len(path)


class LiveMounts(Protocol):
    """Routes that come and go while the proxy runs."""

    count: int
    """The number of routes."""

    def match(self, host: bytes, path: bytes) -> Mount | None:
        """The mount at ``host`` and the decoded ``path``, or the nearest one above."""


class PublicSite:
    """The site of the HTTPS listener.

    :param routes: the table of mounts; it must have one at ``/`` for any host.
    :param gate: authenticates requests; None: no authentication.
    :param trusted_pages: adds fields for pages of trusted origins; None: there are none.
    :param hosts: the separate hosts of notebooks; None: all share the same hosts.
    :param states: access to the states of notebooks; None: they are not served.
    :param error_pages: the site's own error pages, by status.
    :param login: the login and log-out pages; None: there are none.
    :param hsts: max-age of HSTS in seconds (RFC 6797); 0: not sent.
    :param live: the live routes; None: there are none.
    """

    def __init__(
        self,
        routes: RouteTable[Mount],
        policy: Policy,
        gate: Gate | None = None,
        trusted_pages: TrustedPages | None = None,
        hosts: NotebookHosts | None = None,
        *,
        states: StatePaths | None = None,
        error_pages: Mapping[int, bytes] = NO_PAGES,
        login: LoginPages | None = None,
        hsts: int = 0,
        live: LiveMounts | None = None,
    ) -> None:
        self.insist(hsts)
        self.routes = routes
        self.policy = policy
        self.gate = gate
        self._trusted_pages = trusted_pages
        self._hosts = hosts
        self._states = states
        self._error_pages = error_pages
        self.login = login
        self._login = login
        self._live = live

    def insist(self, hsts: int) -> None:
        """Set the max-age of HSTS."""
        self.common_lines = b"Strict-Transport-Security: max-age=%d\r\n" % hsts if hsts else b""

    def handle(self, request: Request) -> None:
        """Route and authorize ``request``, then let its resource answer."""
        request.error_pages = self._error_pages
        head = request.head
        if head.method in _REFUSED_METHODS:
            raise ProxyError(Problem.METHOD_NOT_ALLOWED, "a method that this proxy never takes")
        target = parse_target(head.method, head.target)
        server_name = request.connection.server_name
        host, request.public = self.policy.addressed(head, target.authority, server_name)
        mount = self._mount_at(host, target.path)
        special = head.fields.special
        if mount.is_strict:
            self.policy.check_origin(head, request.public)
            if self._trusted_pages is not None:
                request.extra_lines = self._trusted_pages.extra_lines(special)
                preflight = self._trusted_pages.preflight(head)
                if preflight is not None:
                    request.respond(204, b"No Content", preflight, b"")
                    return
        else:
            self._take_route(request, host, target.path, mount)
        if b"expect" in special and special.tokens(b"expect") not in _CONTINUE:
            raise ProxyError(Problem.EXPECTATION_FAILED)
        request.target = target.origin_form
        if self.login is not None and self.login.serves(target.path):
            # At every host, and before authentication, which these pages are for.
            self.login.answer(request, target.path)
            return
        path = target.path
        if self.gate is not None or self._hosts is not None:
            path = self._decisive(mount, host, path)
        if (
            self._hosts is not None
            and mount.is_strict
            and self._send_on(request, path, self._hosts)
        ):
            return
        if self.gate is None:
            self._find(mount, target.path, request).render(request)
            return
        if path is not target.path and mount.access_path is None:
            # The rules of the notebook itself decide.
            request.target = path

        def go_on(admitted: Admitted) -> None:
            self._admit(request, mount, target.path, admitted)

        admission = Admission(request, go_on)
        admission.wait(self.gate.decide(request, host, path))

    def _decisive(self, mount: Mount, host: bytes, path: bytes) -> bytes:
        """The path whose rules decide about access."""
        if mount.access_path is not None:
            # Without a gate there are no rules, and the exchange looks the tool up itself.
            return path if self.gate is None else mount.access_path(host, path)
        return path if self._states is None else self._states.decisive(path)

    def _mount_at(self, host: bytes, path: bytes) -> Mount:
        mount = self.routes.match(host, path)
        assert mount is not None
        if self._live is not None and self._live.count:
            live = self._live.match(host, decoded(path))
            if live is not None and live.rank > mount.rank:
                return live
        return mount

    def _take_route(self, request: Request, host: bytes, path: bytes, mount: Mount) -> None:
        """Apply what holds for this route only.

        Raises :class:`ProxyError`: ``ACCESS_DENIED``, ``BAD_TARGET``.
        """
        request.extra_lines = mount.lines
        request.unserved = mount.unserved
        if mount.allowed is not None and request.client not in mount.allowed:
            raise ProxyError(Problem.ACCESS_DENIED, "not from a network that the route allows")
        compared = decoded(path) if mount.is_live else path
        mount.check_rest(compared)
        other = other_reading(path) if mount.decodes or mount.is_live else path
        if other == path:
            return
        if (
            not self._has_same_rule(host, path, compared)
            or not self._has_same_rule(host, path, other)
            or (mount.decodes and self._mount_at(host, other) is not mount)
        ):
            raise ProxyError(
                Problem.BAD_TARGET, "decoded, the path would take another route or rule"
            )

    def _has_same_rule(self, host: bytes, path: bytes, other: bytes) -> bool:
        gate = self.gate
        return gate is None or gate.rule(host, path) is gate.rule(host, other)

    def _send_on(self, request: Request, path: bytes, hosts: NotebookHosts) -> bool:
        """Redirect a browser to the requested notebook's host, if it is at another one."""
        moved = hosts.moved(request.public, path, request.target)
        if moved is None:
            return False
        if request.method not in READING or b"upgrade" in request.head.fields.special:
            raise ProxyError(Problem.MISDIRECTED, "not at the host of that notebook")
        send_redirect(request, moved, None)
        return True

    def _admit(self, request: Request, mount: Mount, path: bytes, admitted: Admitted) -> None:
        """Let an admitted request go on, with its user."""
        request.user = admitted.user
        request.identity = admitted.lines
        request.holds = admitted.holds
        request.target = admitted.target
        if admitted.redirect:
            send_redirect(request, admitted.target, admitted.cookie)
        else:
            self._find(mount, path, request).render(request)

    def _find(self, mount: Mount, path: bytes, request: Request) -> Resource:
        """Walk the tree as Twisted does, but do not split the path below a leaf."""
        resource = mount.resource
        _, slash, rest = path[mount.below - 1 :].partition(b"/")
        while slash and not resource.isLeaf:
            segment, slash, rest = rest.partition(b"/")
            resource = resource.children.get(segment) or resource.getChild(segment, request)
        return resource

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Answer with the error's page."""
        request.error_pages = self._error_pages
        if b"upgrade" in request.head.fields.special:
            # The bytes behind the request are another protocol's, and no request.
            request.close_after()
        if self.login is not None and self.login.explain(request, error):
            return
        if request.unserved is not None and not error.login:
            request.unserved(request, error)
            return
        if error.login and is_navigation(request.head):
            request.refused = True
            send_redirect(request, login_address(error.login, request.public, request.target), None)
            return
        send_problem(
            request,
            error.problem,
            error.retry_after,
            answer_lines(request.head, error.lines),
            rule=error.rule,
            busy_for=error.busy_for,
            methods=error.methods,
        )


class RedirectSite:
    """The site of the plain HTTP listener: redirects to HTTPS, and answers ACME challenges.

    :param https_port: the public port of HTTPS; 443 is omitted in addresses.
    :param challenges: the answers for ACME servers, if there are any.
    """

    def __init__(
        self, policy: Policy, https_port: int, challenges: Challenges | None = None
    ) -> None:
        self.common_lines = b""
        self.policy = policy
        self._challenges = challenges
        self._suffix = b"" if https_port == 443 else b":%d" % https_port

    def handle(self, request: Request) -> None:
        """Redirect (308) to the same address on HTTPS.

        The host is checked: this is no open redirect.
        """
        target = parse_target(request.head.method, request.head.target)
        if self._challenges is not None and target.path.startswith(acme.PREFIX):
            # For every host, since a new name has no certificate yet.
            self._challenges.answer(request, target.path.removeprefix(acme.PREFIX))
            return
        host = self.policy.served_host(request.head, target.authority)
        location = b"Location: https://" + host + self._suffix + target.origin_form
        request.respond(308, b"Permanent Redirect", [location], b"")

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Answer with the error's page."""
        send_problem(request, error.problem, error.retry_after)
