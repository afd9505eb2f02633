"""JupyterHub's side: the proxy class that sets the hub's routes in a running ipyproxy.

JupyterHub loads this module by the entry point ``ipyproxy`` of the group ``jupyterhub.proxies``.
Nothing else imports it, because only the hub's process has jupyterhub, traitlets and tornado. It
knows the REST API and what the hub expects of a proxy, and nothing of how routes are served.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from jupyterhub.metrics import PROXY_POLL_DURATION_SECONDS
from jupyterhub.proxy import Proxy
from jupyterhub.utils import exponential_backoff
from tornado.httpclient import HTTPClientError, HTTPResponse
from tornado.netutil import Resolver
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from traitlets import Bool, CaselessStrEnum, TraitError, Unicode, default, validate

#: Seconds for which a call is tried again before the hub hears that it failed: a restart of the
#: proxy takes a second or two.
PATIENCE = 30.0
#: Seconds that one try may take, and how many calls are open at once.
_TRY, _CALLS_AT_ONCE = 10.0, 10
#: What is not the hub's own data in a route, as the API shows it.
_NOT_DATA = ("target", "jupyterhub", "last_activity_person")

Route = dict[str, Any]


class IPyProxy(Proxy):  # type: ignore[misc] # jupyterhub is not in our environment
    """A proxy that runs as a service of its own; the hub only sets its routes.

    In ``jupyterhub_config.py``: ``c.JupyterHub.proxy_class = "ipyproxy"``. The configuration of the
    service needs the table ``[jupyterhub]``. Open pages and kernels of users stay connected even
    while the hub is stopped.
    """

    should_start = Bool(False, help="The hub does not start the proxy: it runs as a service.")

    api_url = Unicode(
        "unix:/run/ipyproxy/hub.sock",
        config=True,
        help="""Where the proxy's API is: what the key "api" of ipyproxy's table [jupyterhub] says.

        "unix:" with the path of a socket, or "http://" with an address and a port.
        """,
    )

    auth_token = Unicode(
        config=True,
        help="""The token that the API asks for.

        By default what token_file holds, or else the environment variable CONFIGPROXY_AUTH_TOKEN.
        A UNIX socket may do without: only ipyproxy's own user and root can connect to it.
        """,
    )

    token_file = Unicode(
        config=True,
        help="""A file with the token on one line, as "token_file" of ipyproxy's [jupyterhub].""",
    )

    activity = CaselessStrEnum(
        ["traffic", "person"],
        "traffic",
        config=True,
        help="""What counts as the use of a server, for "last active" and for culling idle servers.

        "traffic": whatever passes, as configurable-http-proxy counts; a page that is left open
        asks its server now and then, and counts. "person": only what a person does.
        """,
    )

    @default("auth_token")  # type: ignore[untyped-decorator] # traitlets has no annotations here
    def _auth_token_default(self) -> str:
        if self.token_file:
            return Path(self.token_file).read_text("ascii").strip()
        return os.environ.get("CONFIGPROXY_AUTH_TOKEN", "")

    @validate("api_url")  # type: ignore[untyped-decorator] # as above
    def _api_url_is_an_address(self, proposal: Any) -> str:
        url: str = proposal.value
        socket_path(url)
        return url

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        if self.app.internal_ssl:
            raise ValueError(
                "JupyterHub.internal_ssl makes certificates for a proxy that the hub starts:"
                ' set c.ConfigurableHTTPProxy.command = "ipyproxy-chp" instead of proxy_class'
            )
        # Read now, so that a missing file stops the hub at once.
        if not self.auth_token and socket_path(self.api_url) is None:
            raise ValueError("IPyProxy.token_file is needed: ipyproxy's API on a port asks for one")
        self._turn = asyncio.Semaphore(_CALLS_AT_ONCE)

    # What the hub asks of a proxy

    async def add_route(self, routespec: str, target: str, data: Route | None) -> None:
        """Route *routespec*, and all paths below it, to *target*; the route may exist already."""
        body = {**(data or {}), "target": target, "jupyterhub": True}
        await self._call("POST", self._path(routespec), json.dumps(body))

    async def delete_route(self, routespec: str) -> None:
        """Remove a route; if there is none, that is only logged."""
        if await self._call("DELETE", self._path(routespec)) is None:
            self.log.warning("ipyproxy has no route %s: nothing to delete", routespec)

    async def get_all_routes(self) -> dict[str, Route]:
        """The hub's routes with their data, and when they were last used."""
        began = time.perf_counter()
        answer = await self._call("GET", "")
        assert answer is not None, "the table of routes is always there"
        PROXY_POLL_DURATION_SECONDS.observe(time.perf_counter() - began)
        return {
            (spec := self._spec(path)): self._shown(spec, told)
            for path, told in json.loads(answer.body).items()
            if told.get("jupyterhub")
        }

    # How the API spells it

    def _path(self, routespec: str) -> str:
        """The path of a route in the API: with host routing the host is its first segment."""
        return "/" + str(self.validate_routespec(routespec)).strip("/")

    def _spec(self, path: str) -> str:
        """The hub's routespec of the route that the API shows under ``path`` (unescaped)."""
        spec = quote(path, safe="@/~").strip("/")
        if not spec:
            return "/"
        return f"{spec}/" if self.host_routing else f"/{spec}/"

    def _shown(self, spec: str, told: Route) -> Route:
        """A route in the hub's form, made from the API's."""
        data = {key: value for key, value in told.items() if key not in _NOT_DATA}
        if self.activity == "person":
            del data["last_activity"]
            # Before a person has done anything there is no date; the hub knows the start time.
            if at := told["last_activity_person"]:
                data["last_activity"] = at
        return {"routespec": spec, "target": told["target"], "data": data}

    async def _call(self, method: str, path: str, body: str | None = None) -> HTTPResponse | None:
        """Make one call of the API; None if it answers that there is no such route.

        The call is repeated while the proxy does not answer, for example during its restart. Raises
        PermissionError for a wrong token, TimeoutError after PATIENCE, and HTTPClientError for an
        answer that a repetition would not change.
        """
        failure: Exception | None = None

        async def answered() -> HTTPResponse | None:
            nonlocal failure
            try:
                async with self._turn:
                    return await self._fetch(method, path, body)
            except (HTTPClientError, OSError) as error:
                if isinstance(error, HTTPClientError) and error.code < 500:
                    raise
                failure = error
                self.log.warning("ipyproxy's API at %s: %s", self.api_url, error)
                return None

        try:
            response: HTTPResponse = await exponential_backoff(answered, "", timeout=PATIENCE)
            return response
        except HTTPClientError as error:
            if error.code == 404:
                return None
            if error.code == 403:
                raise PermissionError(
                    f"ipyproxy's API at {self.api_url} refuses the token: IPyProxy.token_file has"
                    ' to be the "token_file" of the table [jupyterhub] in ipyproxy\'s configuration'
                ) from None
            raise
        except TimeoutError:
            raise TimeoutError(
                f"ipyproxy's API at {self.api_url} has not answered for {PATIENCE:g} seconds"
                f" ({failure}): does ipyproxy run, and is it the"
                ' "api" of the table [jupyterhub] in its configuration?'
            ) from failure

    async def _fetch(self, method: str, path: str, body: str | None) -> HTTPResponse:
        """Make one attempt at a call."""
        unix = socket_path(self.api_url)
        # A new client is cheap, and the API's address may change (PATCH /hub/api/proxy).
        client = SimpleAsyncHTTPClient(
            force_instance=True, resolver=_Socket(path=unix) if unix else Resolver()
        )
        origin = "http://localhost" if unix else self.api_url.rstrip("/")
        try:
            return await client.fetch(
                f"{origin}/api/routes{path}",
                method=method,
                headers={"Authorization": f"token {self.auth_token}"},
                body=body,
                connect_timeout=_TRY,
                request_timeout=_TRY,
            )
        finally:
            client.close()


class _Socket(Resolver):  # type: ignore[misc] # as above
    """Resolves every name to one UNIX socket."""

    def initialize(self, path: str) -> None:
        """Resolve to *path*."""
        self._path = path

    async def resolve(self, *_: object) -> list[tuple[int, str]]:
        """The socket."""
        return [(socket.AF_UNIX, self._path)]


def socket_path(url: str) -> str | None:
    """The path of the UNIX socket that *url* names; None if it names a TCP address.

    Raises TraitError if it names neither.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "unix" and rest.startswith("/"):
        return rest
    parts = urlsplit(url)
    if parts.scheme == "http+unix" and parts.netloc:
        return unquote(parts.netloc)
    if parts.scheme == "http" and parts.hostname:
        return None
    raise TraitError(
        f"IPyProxy.api_url is {url!r}; it may be unix:/run/ipyproxy/hub.sock"
        " or http://127.0.0.1:8001"
    )
