"""Applications other than Jupyter through the proxy: what real ones compare fits together.

``docs/applications.md`` has a row for each, and names these tests. ``tests/http/test_manners.py``
has the same comparisons as a matrix.
"""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from .apps import environment
from .client import Client
from .jupyter import environment as surroundings
from .jupyter import notebook_port
from .processes import Child
from .proxy import Proxy

pytestmark = pytest.mark.integration

PROGRAMS = Path(__file__).parent / "applications"

#: Seconds that a program has until it listens.
START_TIMEOUT = 90.0

WEB = ["django>=5.2,<6", "flask>=3,<4", "flask-wtf>=1.2,<2", "wsgidav>=4.3,<5", "cheroot>=10"]
# The last that takes no address of its own unless it is told to.
BOKEH = ["bokeh==3.4.3"]
STREAMLIT = ["streamlit>=1.40,<2"]
JUPYTER = ["jupyter-server>=2.14,<3", "jupyter-server-proxy>=4.4,<5"]


#: The ports whose programs have an application's manners.
APPLICATION_PORTS = [notebook_port() for _ in range(10)]
_unused = iter(APPLICATION_PORTS)


@pytest.fixture
def application_port() -> int:
    """One of them, another for each test: a proxy remembers a port whose program has ended."""
    return next(_unused)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy that knows which ports are applications'."""
    running = Proxy(
        tmp_path_factory.mktemp("front"), f"notebooks.applications = {APPLICATION_PORTS}\n"
    )
    yield running
    assert "Traceback" not in running.child.log()
    assert running.child.stop() == 0, running.child.log_tail()


@pytest.fixture(params=["application", "notebook"])
def port(request: pytest.FixtureRequest) -> int:
    """A port of either manners; what runs there is to be content with both."""
    return next(_unused) if request.param == "application" else notebook_port()


Start = Callable[..., None]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a program that listens on a port; it ends with the test."""
    children: list[Child] = []

    def starting(port: int, *command: str) -> None:
        def listens() -> bool:
            with socket.socket() as sock:
                return sock.connect_ex(("127.0.0.1", port)) == 0

        home = {**surroundings(tmp_path), "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false"}
        child = Child(f"{len(children)}-{Path(command[0]).name}", command, home, tmp_path)
        children.append(child)
        child.wait_until(listens, seconds=START_TIMEOUT)

    yield starting
    for child in children:
        child.stop()


@contextmanager
def user(front: Proxy, port: int) -> Iterator[Client]:
    """A browser's page at the root of what is on *port*."""
    client = Client(front.origin, f"/ipython/{port}/", tls=front.client_tls())
    client.http.headers.update({"Origin": front.origin, "Referer": client.url("")})
    try:
        yield client
    finally:
        client.close()


def python(name: str, requirements: list[str]) -> str:
    """The interpreter of an environment."""
    return str(environment(name, requirements) / "bin" / "python")


def test_django_takes_its_own_form(start: Start, front: Proxy, port: int) -> None:
    start(port, python("web", WEB), str(PROGRAMS / "django_form.py"), str(port))
    with user(front, port) as page:
        token = page.request("GET", "form").text
        field = {"csrfmiddlewaretoken": token}
        assert page.request("POST", "form", data=field).text == "taken"
        # Without Origin it goes by Referer, and only where it takes the request for secure.
        del page.http.headers["Origin"]
        assert page.request("POST", "form", data=field).text == "taken"
        page.request("POST", "form", expect=403)


def test_flask_wtf_takes_its_own_form(start: Start, front: Proxy, port: int) -> None:
    start(port, python("web", WEB), str(PROGRAMS / "flask_form.py"), str(port))
    with user(front, port) as page:
        token = page.request("GET", "form").text
        assert page.request("POST", "form", data={"csrf_token": token}).text == "taken"
        page.request("POST", "form", expect=400)


def test_wsgidav_copies_and_moves(
    start: Start, front: Proxy, application_port: int, tmp_path: Path
) -> None:
    share = tmp_path / "share"
    share.mkdir()
    program = str(PROGRAMS / "webdav.py")
    start(application_port, python("web", WEB), program, str(application_port), str(share))
    with user(front, application_port) as page:
        page.request("PUT", "a.txt", content=b"written", expect=201)
        page.request("COPY", "a.txt", headers={"Destination": page.url("b.txt")}, expect=201)
        page.request("MOVE", "b.txt", headers={"Destination": page.url("c%20d.txt")}, expect=201)
        assert page.request("GET", "c%20d.txt").content == b"written"
    assert sorted(path.name for path in share.iterdir()) == ["a.txt", "c d.txt"]


def test_bokeh_opens_its_websocket(start: Start, front: Proxy, port: int) -> None:
    """What --allow-websocket-origin has to name is what the port's manners show it."""
    by_its_own = f"127.0.0.1:{port}"
    allowed = f"localhost:{front.port}" if port in APPLICATION_PORTS else by_its_own
    start(
        port,
        *(python("bokeh", BOKEH), "-m", "bokeh", "serve", str(PROGRAMS / "bokeh_plot.py")),
        *(f"--port={port}", f"--prefix=/ipython/{port}", f"--allow-websocket-origin={allowed}"),
    )
    with user(front, port) as page:
        text = page.request("GET", "bokeh_plot").text
        token = re.search(r'"token":"([^"]+)"', text)
        assert token, text[:2000]
        with page.websocket(
            "bokeh_plot/ws", origin=front.origin, subprotocols=("bokeh", token[1])
        ) as channel:
            assert channel.subprotocol == "bokeh"
            assert '"msgtype":"ACK"' in str(channel.recv(timeout=30)).replace(" ", "")


def test_streamlit_opens_its_websocket(start: Start, front: Proxy, port: int) -> None:
    start(
        port,
        *(python("streamlit", STREAMLIT), "-m", "streamlit", "run"),
        *(str(PROGRAMS / "streamlit_page.py"), "--server.headless=true", f"--server.port={port}"),
        *(f"--server.baseUrlPath=ipython/{port}", "--server.address=127.0.0.1"),
        "--browser.serverAddress=localhost",
    )
    with user(front, port) as page:
        assert "Streamlit" in page.request("GET", "").text
        with page.websocket("_stcore/stream", origin=front.origin, subprotocols=("streamlit",)):
            pass


def test_code_server_s_check_passes_inside_a_jupyter(start: Start, front: Proxy) -> None:
    """By jupyter-server-proxy, which passes on what we tell Jupyter."""
    port, inside = notebook_port(), notebook_port()
    jupyter = python("jupyter-server-proxy", JUPYTER)
    token = secrets.token_hex(24)
    start(inside, jupyter, str(PROGRAMS / "code_server.py"), str(inside))
    start(
        port,
        *(jupyter, "-m", "jupyter_server", "--no-browser", "--ip=127.0.0.1", "--allow-root"),
        *(f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *(f"--ServerApp.base_url=/ipython/{port}/", f"--IdentityProvider.token={token}"),
    )
    with user(front, port) as page:
        page.log_in(token)
        form, channel = f"proxy/{inside}/form", f"proxy/{inside}/channel"
        assert page.request("POST", form).text == "taken"
        with page.websocket(channel, origin=front.origin) as websocket:
            websocket.send("said")
            assert websocket.recv(timeout=30) == "said"


def test_code_server_s_check_passes_on_a_port_of_its_own(
    start: Start, front: Proxy, port: int
) -> None:
    program = str(PROGRAMS / "code_server.py")
    start(port, python("jupyter-server-proxy", JUPYTER), program, str(port))
    with user(front, port) as page:
        assert page.request("POST", "form").text == "taken"
        with page.websocket("channel", origin=front.origin) as websocket:
            websocket.send("said")
            assert websocket.recv(timeout=30) == "said"
        with (
            pytest.raises(InvalidStatus) as refused,
            page.websocket("channel", origin="https://evil.example"),
        ):
            pass
        assert refused.value.response.status_code == 403
