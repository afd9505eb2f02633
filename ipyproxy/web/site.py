"""The public site: every request is authorized here, once, and then finds its resource.

Knows the order of things: target, route, access, authentication, tree. Knows nothing of what a
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

# CONNECT asks for a tunnel, TRACE would show a page its own HttpOnly cookies (XST).
_REFUSED_METHODS: Final = (b"CONNECT", b"TRACE")
_CONTINUE: Final = ((), (b"100-continue",))


class Root(Branch):
    """The top of the tree: the front page, the notebooks below their prefix, and what is put in.

    :param login: whether people log in here.
    """

    def __init__(self, prefix: str, notebooks: Resource, *, login: bool = False) -> None:
        super().__init__()
        page = front_page(prefix, login=login)
        self.putChild(b"", PageResource(lambda _: page))
        self.put(prefix, notebooks)

    def put(self, path: str, resource: Resource) -> None:
        """Let ``resource`` stand at ``path``; there is nothing on the way to it."""
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
    """A resource that stands at a route.

    :ivar below: bytes of a path up to what is below the route.
    :ivar is_strict: whether requests of other sites' pages are refused. An application checks
        itself what its pages have sent; a notebook can't, since it is told that all are its own.
    :ivar strips: whether its path is taken off before a request goes on.
    :ivar decodes: whether it may read a path in another way than byte for byte.
    :ivar access_path: gives the path that access to a host and a path is decided by, where that is
        another one, or raises :class:`ProxyError` where there is nothing; None: it is the same.
    :ivar is_live: whether it came while the proxy runs; then its path was compared decoded.
    :ivar unserved: who answers what cannot be carried; None: the site.
    :ivar rank: of two that fit, one from the configuration and one that is live, the higher counts.
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
        """Refuse a path of which two slashes would be left, behind which a host could be read.

        :param path: as it was compared with the route's.
        :raises ProxyError: ``BAD_TARGET``.
        """
        if self.strips and path[self.below : self.below + 1] == b"/":
            raise ProxyError(Problem.BAD_TARGET, "two slashes behind the route, which is taken off")


YIELDS, PREVAILS = (-1, 0), (3, 0)
"""The ranks of what any live route goes before, and of what none does."""


def rank_of(host: str, path: str) -> tuple[int, int]:
    """The rank of a route: the host counts before the path, as it does in the table."""
    return (0 if not host else 1 if host.startswith("*.") else 2), len(path)


class LiveMounts(Protocol):
    """Routes that come and go while the proxy runs."""

    count: int
    """How many there are."""

    def match(self, host: bytes, path: bytes) -> Mount | None:
        """What stands at ``host`` and the decoded ``path``, or nearest above it."""


class PublicSite:
    """What the HTTPS listener serves.

    :param routes: what stands where; something does at ``/`` of any host.
    :param gate: finds out who sent a request; None: nobody asks.
    :param trusted_pages: what pages of trusted origins may do; None: there are none.
    :param hosts: gives each notebook a host of its own; None: all are at the same hosts.
    :param states: whose the states of notebooks are; None: they are not served.
    :param error_pages: pages of the site's own for what goes wrong, by status.
    :param login: the pages on which people log in and out; None: there are none.
    :param hsts: seconds for which browsers are to come by HTTPS only (RFC 6797); 0: not said.
    :param live: routes beside ``routes``, which come and go; None: there are none.
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
        """Tell browsers from now on for how many seconds they are to come by HTTPS only."""
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
            # At every host, and before anybody is asked: who asks is what they are there for.
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
            # Who may is asked for the notebook itself.
            request.target = path

        def go_on(admitted: Admitted) -> None:
            self._admit(request, mount, target.path, admitted)

        admission = Admission(request, go_on)
        admission.wait(self.gate.decide(request, host, path))

    def _decisive(self, mount: Mount, host: bytes, path: bytes) -> bytes:
        """The path that access is decided by."""
        if mount.access_path is not None:
            # Without a gate nobody is asked, and the exchange looks for itself.
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
        """See to what holds for this route only.

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
        """Send a browser to the host of the notebook that it asks for, if it is at another."""
        moved = hosts.moved(request.public, path, request.target)
        if moved is None:
            return False
        if request.method not in READING or b"upgrade" in request.head.fields.special:
            raise ProxyError(Problem.MISDIRECTED, "not at the host of that notebook")
        send_redirect(request, moved, None)
        return True

    def _admit(self, request: Request, mount: Mount, path: bytes, admitted: Admitted) -> None:
        """Let a request go on as the user that it was found to come from."""
        request.user = admitted.user
        request.identity = admitted.lines
        request.holds = admitted.holds
        request.target = admitted.target
        if admitted.redirect:
            send_redirect(request, admitted.target, admitted.cookie)
        else:
            self._find(mount, path, request).render(request)

    def _find(self, mount: Mount, path: bytes, request: Request) -> Resource:
        """Walk the tree as Twisted does, but take no segment apart that lies below a leaf."""
        resource = mount.resource
        _, slash, rest = path[mount.below - 1 :].partition(b"/")
        while slash and not resource.isLeaf:
            segment, slash, rest = rest.partition(b"/")
            resource = resource.children.get(segment) or resource.getChild(segment, request)
        return resource

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Answer with the page of the error."""
        request.error_pages = self._error_pages
        if b"upgrade" in request.head.fields.special:
            # What comes behind is meant for another protocol, and is no request.
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
    """What the plain HTTP listener serves: the way to HTTPS, and what ACME servers ask for.

    :param https_port: the public port of HTTPS; 443 is left out of addresses.
    :param challenges: answers for ACME servers, if any are to be given.
    """

    def __init__(
        self, policy: Policy, https_port: int, challenges: Challenges | None = None
    ) -> None:
        self.common_lines = b""
        self.policy = policy
        self._challenges = challenges
        self._suffix = b"" if https_port == 443 else b":%d" % https_port

    def handle(self, request: Request) -> None:
        """Answer 308 to the same address on HTTPS; the host is checked, so no open redirect."""
        target = parse_target(request.head.method, request.head.target)
        if self._challenges is not None and target.path.startswith(acme.PREFIX):
            # Whatever the host: the certificate for a new name is still to come.
            self._challenges.answer(request, target.path.removeprefix(acme.PREFIX))
            return
        host = self.policy.served_host(request.head, target.authority)
        location = b"Location: https://" + host + self._suffix + target.origin_form
        request.respond(308, b"Permanent Redirect", [location], b"")

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Answer with the page of the error."""
        send_problem(request, error.problem, error.retry_after)
