"""What traefik-proxy's seven tests ask of a proxy class, asked of ours anew.

Runs in JupyterHub's environment: ``test_proxy_class.py`` starts the proxy and this. The environment
says where they are: IPYPROXY_API, IPYPROXY_PUBLIC, IPYPROXY_TOKEN and, with host routing,
IPYPROXY_HOSTS.
"""

import asyncio
import json
import os
import ssl
from unittest.mock import Mock
from urllib.parse import quote

import pytest
from jupyterhub.objects import Hub, Server
from jupyterhub.proxy import Proxy
from jupyterhub.user import User
from jupyterhub.utils import url_path_join
from tornado.httpclient import HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.netutil import Resolver, bind_sockets
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler, websocket_connect
from traitlets.config import Config

from ipyproxy.hub.proxyclass import IPyProxy

PUBLIC = os.environ["IPYPROXY_PUBLIC"]
HOSTS = bool(os.environ.get("IPYPROXY_HOSTS"))
UNCHECKED = ssl._create_unverified_context()


class Everything(RequestHandler):
    """Tells who it is, and what it was shown."""

    def get(self):
        self.write({"port": self.application.settings["port"], "shown": dict(self.request.headers)})


class Socket(WebSocketHandler):
    """Tells who it is."""

    def check_origin(self, origin):
        return True

    async def open(self):
        await self.write_message(str(self.application.settings["port"]))


class Backends:
    """Servers that tell their ports; as many as are asked for."""

    def __init__(self):
        self._servers = []

    def url(self):
        (sock,) = bind_sockets(0, "127.0.0.1")
        port = sock.getsockname()[1]
        server = HTTPServer(Application([(r".*/ws", Socket), (r".*", Everything)], port=port))
        server.add_socket(sock)
        self._servers.append(server)
        return f"http://127.0.0.1:{port}"

    def close(self):
        for server in self._servers:
            server.stop()


class App:
    """As much of JupyterHub's application as a proxy class looks at."""

    def __init__(self):
        self.hub = Hub(routespec="/")
        self.subdomain_host = PUBLIC if HOSTS else ""
        self.internal_ssl = False


@pytest.fixture
def backends():
    made = Backends()
    yield made
    made.close()


def connected(**config):
    app = App()
    traits = {"api_url": os.environ["IPYPROXY_API"], **config}
    if "token_file" not in config:
        traits.setdefault("auth_token", os.environ["IPYPROXY_TOKEN"])
    return IPyProxy(
        app=app, hub=app.hub, public_url=PUBLIC, host_routing=HOSTS, config=Config(IPyProxy=traits)
    )


@pytest.fixture
async def proxy():
    """The class under test; every route is gone when the test has ended."""
    made = connected()
    yield made
    for spec in await made.get_all_routes():
        await made.delete_route(spec)


class _Here(Resolver):
    """Every name is this machine, as a browser's would be for a hub with subdomains."""

    def initialize(self):
        pass

    async def resolve(self, host, port, family=0):
        return await Resolver().resolve("127.0.0.1", port, family)


async def get(spec, **headers):
    """Ask the proxy for a route; the status, and what the backend has said."""
    # As a URL, and not by resolving: a route may be of any host.
    host, path = ("", spec) if spec.startswith("/") else spec.split("/", 1)
    port = PUBLIC.rsplit(":", 1)[1].strip("/")
    client = SimpleAsyncHTTPClient(force_instance=True, resolver=_Here())
    request = HTTPRequest(
        f"https://{host or 'localhost'}:{port}/{path.lstrip('/')}",
        headers=headers,
        ssl_options=UNCHECKED,
        follow_redirects=False,
    )
    response = await client.fetch(request, raise_error=False)
    client.close()
    return response


async def answers(spec):
    """The port of the backend that answers for a route; None: none does."""
    response = await get(spec)
    if response.code != 200:
        return None
    return json.loads(response.body)["port"]


def port_of(url):
    return int(url.rsplit(":", 1)[1])


PATHS = [
    ("/", ["/abc", "/has%20space/", "/has%20space/foo/", "/missing-trailing/slash", "/has/@/"]),
    ("/has%20space/foo/", ["/", "/has%20space/", "/has%20space/foo/abc/"]),
    ("/missing-trailing/slash", ["/", "/missing-trailing/", "/missing-trailing/slash/abc"]),
    ("/has/@/", ["/", "/has/", "/has/@/abc/"]),
    ("/has/" + quote("üñîçø∂é"), ["/", "/has/", "/has/" + quote("üñîçø∂é") + "/abc/"]),
    ("/one/", []),
]
NAMES = [
    ("host.name/path/", ["/", "host.name/", "host.name/path/abc/"]),
    ("other.host/path/no/slash", ["/", "other.host/", "other.host/path/no/slash/abc/"]),
]


@pytest.mark.parametrize(("spec", "others"), NAMES if HOSTS else PATHS)
async def test_a_route_comes_and_goes(proxy, backends, spec, others):
    data = {"test": "test1", "user": "username"}
    targets = {each: backends.url() for each in (*others, spec)}
    await asyncio.gather(*(proxy.add_route(each, url, dict(data)) for each, url in targets.items()))

    async def all_lead_home():
        for each, url in targets.items():
            route = await proxy.get_route(each)
            assert route["data"].pop("last_activity")
            # With host routing the API tells the host too.
            assert ("host" in route["data"]) == (HOSTS and each != "/")
            route["data"].pop("host", None)
            normal = proxy.validate_routespec(each)
            assert route == {"routespec": normal, "target": url, "data": data}
            assert await answers(normal) == port_of(url)
            assert await answers(normal + "something") == port_of(url)

    await all_lead_home()
    gone = port_of(targets.pop(spec))
    await proxy.delete_route(spec)
    assert await proxy.get_route(spec) is None
    assert await answers(proxy.validate_routespec(spec) + "something") != gone
    await all_lead_home()


@pytest.mark.skipif(HOSTS, reason="of paths")
@pytest.mark.parametrize("spec", [spec for spec, _ in NAMES])
async def test_a_host_needs_host_routing(proxy, spec):
    with pytest.raises(ValueError, match="host-routing"):
        await proxy.add_route(spec, "http://127.0.0.1:1", {})


@pytest.mark.skipif(HOSTS, reason="of paths")
async def test_a_prefix_ends_with_a_segment(proxy, backends):
    everything, below = backends.url(), backends.url()
    await proxy.add_route("/", everything, {})
    await proxy.add_route("/path/prefix/", below, {})
    assert await answers("/path/prefix/") == port_of(below)
    assert await answers("/path/prefix") == port_of(below)
    assert await answers("/path/prefixnoslash") == port_of(everything)


@pytest.mark.skipif(HOSTS, reason="of paths")
async def test_all_routes_come_back_as_they_were_sent(proxy):
    assert await proxy.get_all_routes() == {}
    wanted = {
        "/proxy/path1/": {"test": "test1"},
        "/proxy/path2/": {},
        "/proxy/path3/": {"test": ["a", {"b": None}]},
    }
    for number, (spec, data) in enumerate(wanted.items()):
        await proxy.add_route(spec.rstrip("/"), f"http://127.0.0.1:{9000 + number}", dict(data))
    routes = await proxy.get_all_routes()
    for route in routes.values():
        del route["data"]["last_activity"]
    assert routes == {
        spec: {"routespec": spec, "target": f"http://127.0.0.1:{9000 + number}", "data": data}
        for number, (spec, data) in enumerate(wanted.items())
    }


async def test_host_and_origin_stay_the_browser_s(proxy, backends):
    spec = "host.name/user/name/" if HOSTS else "/user/name/"
    await proxy.add_route(spec, backends.url(), {})
    port = PUBLIC.rsplit(":", 1)[1].strip("/")
    host = f"{'host.name' if HOSTS else 'localhost'}:{port}"
    response = await get(spec, Origin=f"https://{host}")
    shown = json.loads(response.body)["shown"]
    assert shown["Host"] == host
    assert shown["Origin"] == f"https://{host}"
    assert shown["X-Forwarded-Proto"] == "https"


class Spawner:
    """A server of a user's; there is one from start() on."""

    name, server, pending = "", None, None

    def __init__(self, name="", *, user, **_):
        self.name, self.user = name, user
        self.proxy_spec = url_path_join(user.proxy_spec, name, "/")

    def start(self):
        self.server = Server.from_url("http://127.0.0.1:9999")

    @property
    def ready(self):
        return self.server is not None

    active = ready


class Someone(User):
    """A user without a database."""

    def __init__(self, name):
        row = Mock()
        row.name, row.orm_spawners = name, ""
        super().__init__(orm_user=row, db=Mock())

    def _new_spawner(self, spawner_name, **more):
        return Spawner(spawner_name, user=self, **more)


@pytest.mark.skipif(HOSTS, reason="of paths")
@pytest.mark.parametrize("name", ["zoe", "50fia", "秀樹", "~TestJH", "has@"])
async def test_the_hub_puts_right_what_is_wrong(proxy, name):
    users = {}
    await proxy.check_routes(users, {})
    assert sorted(await proxy.get_all_routes()) == ["/"]

    users[name] = user = Someone(name)
    user.spawners[""].start()
    await proxy.add_user(user, "")
    before = sorted(await proxy.get_all_routes())
    assert user.proxy_spec in before

    await proxy.check_routes(users, {})
    await proxy.delete_user(user)
    assert user.proxy_spec not in await proxy.get_all_routes()
    await proxy.delete_user(user)

    await proxy.check_routes(users, {})
    assert sorted(await proxy.get_all_routes()) == before

    # What the hub knows nothing of goes.
    await proxy.add_route("/user/stale/", "http://127.0.0.1:9998", {"user": "stale"})
    await proxy.check_routes(users, {})
    assert sorted(await proxy.get_all_routes()) == before


@pytest.mark.skipif(HOSTS, reason="of paths")
async def test_a_websocket_comes_through(proxy, backends):
    target = backends.url()
    await proxy.add_route("/user/name/", target, {})
    request = HTTPRequest(
        PUBLIC.replace("https", "wss").rstrip("/") + "/user/name/ws",
        ssl_options=UNCHECKED,
        headers={"Origin": PUBLIC.rstrip("/")},
    )
    connection = await websocket_connect(request)
    assert await connection.read_message() == str(port_of(target))
    connection.close()


@pytest.mark.skipif(HOSTS, reason="of paths")
async def test_the_hub_may_count_what_a_person_does(proxy, backends):
    await proxy.add_route("/user/name/", backends.url(), {"user": "name"})
    by_person = connected(activity="person")
    # Nobody has been there yet: nothing for the hub to go by.
    assert "last_activity" not in (await by_person.get_route("/user/name/"))["data"]
    assert "last_activity" in (await proxy.get_route("/user/name/"))["data"]
    assert "last_activity_person" not in (await proxy.get_route("/user/name/"))["data"]


async def test_a_wrong_token_is_said(proxy):
    with pytest.raises(PermissionError, match="token_file"):
        await connected(auth_token="wrong").get_all_routes()


async def test_no_proxy_is_said(proxy, monkeypatch, tmp_path):
    monkeypatch.setattr("ipyproxy.hub.proxyclass.PATIENCE", 0.5)
    for nowhere in ("http://127.0.0.1:1", f"unix:{tmp_path}/none.sock"):
        with pytest.raises(TimeoutError, match="does ipyproxy run"):
            await connected(api_url=nowhere).get_all_routes()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"api_url": "127.0.0.1:8001"}, "may be unix:"),
        ({"api_url": "https://127.0.0.1:8001"}, "may be unix:"),
        ({"api_url": "http://127.0.0.1:8001", "auth_token": ""}, "token_file"),
        ({"token_file": "/nowhere"}, "/nowhere"),
    ],
)
def test_what_cannot_work_stops_the_hub_at_once(wrong, why):
    with pytest.raises(Exception, match=why):
        connected(**wrong)


def test_it_is_found_by_its_name():
    from jupyterhub.app import JupyterHub

    app = JupyterHub(config=Config(JupyterHub={"proxy_class": "ipyproxy"}))
    assert app.proxy_class is IPyProxy
    assert issubclass(IPyProxy, Proxy)
    assert IPyProxy.should_start.default_value is False
