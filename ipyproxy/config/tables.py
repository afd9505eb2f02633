"""The tables of the configuration: their keys, defaults and allowed values.

Knows what can be configured. Knows nothing of TOML, of files or of the command line.
"""

# No "from __future__ import annotations" here: cattrs reads the annotations at run time. They
# decide which values are accepted.

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

import attrs

from ipyproxy.config.acme import Acme
from ipyproxy.config.auth import TOOL, Auth
from ipyproxy.config.containers import Containers
from ipyproxy.config.galaxy import Galaxy
from ipyproxy.config.hub import JupyterHub
from ipyproxy.config.limits import Health, Limits, Timeouts
from ipyproxy.config.routes import OWN_PATH, RouteEntry
from ipyproxy.config.values import (
    NO_PORTS,
    Ports,
    RefusedError,
    count,
    is_within,
    matching,
    read_domain,
    read_host,
    read_listener,
    read_optional_listener,
    read_optional_path,
    read_optional_ports,
    read_origin,
    read_proxy,
    read_status_listener,
    size,
)
from ipyproxy.galaxy import spelling
from ipyproxy.http1.lines import TOKEN
from ipyproxy.net.address import Address, TCPAddress, is_loopback

Host = Annotated[str, read_host]
Origin = Annotated[str, read_origin]
Proxy = Annotated[IPv4Network | IPv6Network | Literal["unix"], read_proxy]
OptionalPath = Annotated[Path | None, read_optional_path]
CookieName = Annotated[str, matching(TOKEN.decode("ascii"), "a cookie name such as galaxysession")]
Owner = Annotated[
    str, matching(r"@?[A-Za-z0-9_][A-Za-z0-9_.-]*[$]?", "a user such as alice, or a group: @staff")
]


@attrs.frozen
class Listen:
    """The listeners for browsers. A listener is a port or a Twisted server endpoint string."""

    https: Annotated[int | str, read_listener] = 8443
    http: Annotated[int | str | None, read_optional_listener] = None
    acme_directory: OptionalPath = None
    trusted_proxies: tuple[Proxy, ...] = ()
    proxy_protocol: bool = False
    backlog: Annotated[int, count(1, 65535)] = 1024

    def __attrs_post_init__(self) -> None:
        """Refuse one listener for both, and the PROXY protocol without trusted proxies."""
        if self.proxy_protocol and not self.trusted_proxies:
            raise RefusedError("needs listen.trusted_proxies beside it", key="proxy_protocol")
        if self.http == self.https and self.http != 0:
            raise RefusedError(f"{self.http} is taken by listen.https", key="http")


@attrs.frozen
class Tls(Acme):
    """Certificates with their keys: from ACME or PEM files; without any, a self-signed one is made.

    ``hsts`` is in seconds.
    """

    certificate: OptionalPath = None
    key: OptionalPath = None
    directory: OptionalPath = None
    unknown_name: Literal["default", "refuse"] = "default"
    profile: Literal["intermediate", "modern"] = "intermediate"
    hsts: Annotated[int, count(1, 10**9, "never sent")] = 0
    client_ca: OptionalPath = None
    client_certificates: Literal["required", "optional"] = "required"

    def __attrs_post_init__(self) -> None:
        """Refuse a certificate without a key, or the reverse."""
        Acme.__attrs_post_init__(self)
        if self.certificate and not self.key:
            raise RefusedError("needs tls.key beside it", key="certificate")
        if self.key and not self.certificate:
            raise RefusedError("needs tls.certificate beside it", key="key")


@attrs.frozen
class Site:
    """The hosts that the proxy serves, and the other sites whose pages may send requests.

    Hosts are lower-case, IPv6 addresses without brackets; origins are spelled as browsers spell
    them. Below ``notebook_domain``, if any, each notebook has its own host. ``operator`` is the
    operator's name on pages; ``error_pages`` is a directory of pages that replace the proxy's.
    """

    hosts: tuple[Host, ...] = ()
    trusted_origins: tuple[Origin, ...] = ()
    notebook_domain: Annotated[str, read_domain] = ""
    error_pages: OptionalPath = None
    operator: Annotated[str, matching(r"[^\x00-\x1f\x7f]{0,200}", "a line of text")] = ""


_DEFAULT_PORTS = Ports([(10000, 14999)])


@attrs.frozen
class Notebooks:
    """The public prefix, the ports behind it, and who may listen there.

    Also the ports of programs other than Jupyter, and cookies that notebooks do not get.
    """

    prefix: Annotated[
        str,
        matching(
            r"(/(?!\.\.?(/|$))[A-Za-z0-9._~-]+)+",
            "a path such as /ipython: a slash first, none last, of letters, digits and -._~",
        ),
    ] = "/ipython"
    ports: Annotated[Ports, Ports.read] = _DEFAULT_PORTS
    applications: Annotated[Ports, read_optional_ports] = NO_PORTS
    owners: tuple[Owner, ...] = ()
    site_cookies: tuple[CookieName, ...] = ("galaxysession",)
    tls: bool = False
    tls_name: Host = "localhost"
    tls_ca: OptionalPath = None

    def __attrs_post_init__(self) -> None:
        """Refuse a star in ``tls_name``, and ports of applications that are not served."""
        if self.tls_name.startswith("*"):
            raise RefusedError("names no single host", key="tls_name")
        for port in self.applications:
            if port not in self.ports:
                raise RefusedError(f"{port} is none of notebooks.ports", key="applications")


@attrs.frozen
class Compression:
    """The content codings of answers; each client gets one that it accepts.

    ``dynamic`` says for which requests dynamic pages and data are compressed; ``cache_bytes``
    limits the cache of compressed bodies.
    """

    codings: tuple[Literal["zstd", "br", "gzip"], ...] = ("zstd", "br", "gzip")
    dynamic: Literal["never", "same-origin", "always"] = "same-origin"
    cache_bytes: Annotated[int, size(2**20, 2**40, "nothing is kept")] = 64 * 2**20


@attrs.frozen
class Log:
    """The access log: "-" is standard output, "" none, anything else a file's path."""

    access: Annotated[str, matching(r"[^\0]*", 'a file\'s path, nor "-", nor ""')] = "-"
    format: Literal["combined", "json"] = "combined"


@attrs.frozen
class Status:
    """The status listener: "unix" is a socket in the state directory; None: there is none.

    A port is on 127.0.0.1, because everybody who can connect to the listener may see everything.
    With ``public``, the pages are served over HTTPS too, and need a rule.
    """

    listen: Annotated[int | str | None, read_status_listener] = "unix"
    public: bool = False


@attrs.frozen
class State:
    """The state directory; None: the usual one."""

    directory: OptionalPath = None


@attrs.frozen
class Config:
    """The whole configuration, one field for each table of the file."""

    listen: Listen = attrs.field(factory=Listen)
    tls: Tls = attrs.field(factory=Tls)
    site: Site = attrs.field(factory=Site)
    notebooks: Notebooks = attrs.field(factory=Notebooks)
    auth: Auth = attrs.field(factory=Auth)
    compression: Compression = attrs.field(factory=Compression)
    limits: Limits = attrs.field(factory=Limits)
    timeouts: Timeouts = attrs.field(factory=Timeouts)
    health: Health = attrs.field(factory=Health)
    log: Log = attrs.field(factory=Log)
    status: Status = attrs.field(factory=Status)
    state: State = attrs.field(factory=State)
    galaxy: Galaxy = attrs.field(factory=Galaxy)
    jupyterhub: JupyterHub = attrs.field(factory=JupyterHub)
    containers: Containers = attrs.field(factory=Containers)
    routes: tuple[RouteEntry, ...] = ()

    def __attrs_post_init__(self) -> None:
        """Refuse contradictions between tables."""
        for port in self.health.ports:
            if port not in self.notebooks.ports:
                raise RefusedError(f"{port} is none of notebooks.ports", key="health.ports")
        self.auth.check_depth(self.notebooks.prefix)
        if self.tls.acme and not self.certificate_names:
            why = "knows no name to get a certificate for: set site.hosts, or tls.names"
            raise RefusedError(why, key="tls.acme")
        if self.status.public and not self.auth.guards("/_ipyproxy/"):
            why = 'needs a rule in auth.rules, such as path = "/_ipyproxy", that asks for something'
            raise RefusedError(why, key="status.public")
        self._check_routes()
        if self.galaxy.map is not None:
            self._check_tools()
        if TOOL in self.auth.forward_url:
            self._check_tool_rules()
        if "certificate" in self.auth.methods and self.tls.client_ca is None:
            raise RefusedError('"certificate" needs tls.client_ca beside it', key="auth.rules")

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """The names to get certificates for by ACME, unless files have them."""
        hosts = [*self.site.hosts, *(route.host for route in self.routes if route.host)]
        return self.tls.wanted(hosts, self.site.notebook_domain)

    def _check_routes(self) -> None:
        """Refuse routes that conflict with each other or with the notebooks."""
        notebooks, domain = self.notebooks, self.site.notebook_domain
        names = [route.name for route in self.routes]
        trusted: dict[str, tuple[str, object]] = {}
        for route in self.routes:
            if names.count(route.name) > 1:
                raise RefusedError(f"{route.name} has two routes", key="routes")
            if not route.host and f"{route.path}/".startswith(f"{notebooks.prefix}/"):
                raise RefusedError(
                    f"{route.path} belongs to the notebooks (notebooks.prefix)", key="routes.path"
                )
            if domain and (route.host == f"*.{domain}" or route.host.endswith(f".{domain}")):
                raise RefusedError(
                    f"{route.host} belongs to a notebook (site.notebook_domain)", key="routes.host"
                )
            for server in route.servers:
                if _is_own(server.address, self.listen):
                    raise RefusedError(f"{server.name} is the proxy itself", key="routes.to")
                terms = server.tls_name, server.tls_name and route.tls_ca
                if trusted.setdefault(server.name, terms) != terms:
                    raise RefusedError(
                        f"two routes expect other certificates of {server.name}",
                        key="routes.tls_ca",
                    )

    def _check_tools(self) -> None:
        """Refuse routes that conflict with Galaxy's interactive tools."""
        path, domain = self.galaxy.path, self.galaxy.domain
        for own in (self.notebooks.prefix, OWN_PATH):
            if is_within(path, own) or is_within(own, path):
                raise RefusedError(f"{path} meets {own}, which is another's", key="galaxy.prefix")
        for route in self.routes:
            if is_within(route.path, path):
                raise RefusedError(
                    f"{route.path} belongs to the interactive tools (galaxy)", key="routes.path"
                )
            if domain and route.host.endswith(f".{domain}"):
                raise RefusedError(
                    f"{route.host} belongs to an interactive tool (galaxy.host)", key="routes.host"
                )

    def _check_tool_rules(self) -> None:
        """Refuse ``{tool}`` in ``forward_url`` in a rule for paths without tools."""
        if self.galaxy.map is None:
            raise RefusedError(f"{TOOL} needs galaxy.map", key="auth.forward_url")
        tools = self.galaxy.path.rpartition("/")[0]
        for rule in self.auth.rules:
            asks = any("forward" in methods for methods in rule.require)
            if asks and not is_within(rule.path, tools):
                why = f"{rule.path} is more than {tools}, and forward_url asks about {TOOL}"
                raise RefusedError(why, key="auth.rules")


def _is_own(address: Address, listen: Listen) -> bool:
    """Whether the proxy itself listens there, as far as the configuration says by port number."""
    own = (listen.https, listen.http)
    return isinstance(address, TCPAddress) and is_loopback(address) and address.port in own


def anchored(config: Config, directory: Path) -> Config:
    """The same configuration, with relative paths starting from ``directory``."""

    def anchor(path: Path | None) -> Path | None:
        return path and directory / path

    access = config.log.access
    return attrs.evolve(
        config,
        listen=attrs.evolve(config.listen, acme_directory=anchor(config.listen.acme_directory)),
        tls=attrs.evolve(
            config.tls,
            certificate=anchor(config.tls.certificate),
            key=anchor(config.tls.key),
            directory=anchor(config.tls.directory),
            client_ca=anchor(config.tls.client_ca),
            acme_ca=anchor(config.tls.acme_ca),
            dns_hook=anchor(config.tls.dns_hook),
        ),
        auth=attrs.evolve(
            config.auth,
            htpasswd=anchor(config.auth.htpasswd),
            link_keys=anchor(config.auth.link_keys),
        ),
        site=attrs.evolve(config.site, error_pages=anchor(config.site.error_pages)),
        notebooks=attrs.evolve(config.notebooks, tls_ca=anchor(config.notebooks.tls_ca)),
        galaxy=attrs.evolve(
            config.galaxy,
            map=config.galaxy.map and spelling.anchored(config.galaxy.map, directory),
        ),
        routes=tuple(
            attrs.evolve(each, tls_ca=anchor(each.tls_ca), files=anchor(each.files))
            for each in config.routes
        ),
        log=attrs.evolve(
            config.log, access=access if access in ("", "-") else str(directory / access)
        ),
        state=State(anchor(config.state.directory)),
        jupyterhub=config.jupyterhub.anchored(directory),
    )
