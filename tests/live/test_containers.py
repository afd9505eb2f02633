"""Routes to containers: by an engine that is made up, and by real ones where they run."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGHUP

import pytest

from tests.containers.test_labels import container, port
from tests.integration.processes import Child, free_port, poll
from tests.integration.proxy import Proxy

from .engine import MadeUpEngine

pytestmark = pytest.mark.integration


@pytest.fixture
def served() -> Iterator[int]:
    """The port of a server that answers with the Host and the path that it hears."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"{self.headers['Host']} {self.path}".encode())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def ask(proxy: Proxy, path: str) -> str:
    """What comes back, or the status if that is another one than 200."""
    context = ssl.create_default_context(cafile=proxy.certificate)
    try:
        with urllib.request.urlopen(proxy.origin + path, context=context, timeout=30) as answer:
            told: str = answer.read().decode()
            return told
    except urllib.error.HTTPError as error:
        return str(error.code)


def until(condition: Callable[[], object]) -> None:
    poll(lambda: condition() or None, seconds=60, waiting_for="a route to come or go")


@pytest.mark.parametrize(
    ("newest", "oldest", "spoken"), [("1.41", "1.12", "1.41"), ("1.52", "1.44", "1.47")]
)
def test_routes_come_and_go_with_the_containers(
    tmp_path: Path, served: int, newest: str, oldest: str, spoken: str
) -> None:
    engine = MadeUpEngine(tmp_path / "docker.sock", newest, oldest)
    lab = container("lab", port(8888, served, "127.0.0.1"), path="/lab")
    notebook = container("nb", port(8888, served), path="/nb", manners="notebook")
    engine.containers = [lab]
    proxy = Proxy(tmp_path, f'[containers]\nsocket = "{engine.path}"\n')
    try:
        until(lambda: ask(proxy, "/lab/x").endswith(" /lab/x"))
        assert ask(proxy, "/lab/x") == f"localhost:{proxy.port} /lab/x"
        assert f"/v{spoken}/events" in engine.asked

        engine.containers = [lab, notebook]
        engine.happen()
        until(lambda: ask(proxy, "/nb/") == f"127.0.0.1:{served} /nb/")

        # While the engine is away, the routes stay; what has gone meanwhile goes afterwards.
        engine.stop()
        until(lambda: "cannot be listed" in proxy.child.log())
        assert ask(proxy, "/nb/").endswith("/nb/")
        engine.containers = [lab]
        engine.start()
        until(lambda: ask(proxy, "/nb/") == "404")
        assert ask(proxy, "/lab/").endswith("/lab/")

        # One that asks for what is another's gets nothing, and that is told.
        engine.containers = [lab, container("greedy", port(1), path="/ipython/10000")]
        engine.happen()
        until(lambda: "greedy gets no route: /ipython/10000 belongs to" in proxy.child.log())

        # Without an engine in the configuration there are no such routes.
        (tmp_path / "ipyproxy.toml").write_text("")
        proxy.child.signal(SIGHUP)
        until(lambda: ask(proxy, "/lab/") == "404")
        assert "Traceback" not in proxy.child.log()
    finally:
        proxy.child.stop()
        engine.stop()


# Podman's own are more than some machines let root have.
LIMITS = [{"Name": name, "Soft": 1024, "Hard": 1024} for name in ("nofile", "nproc")]


def docker(directory: Path) -> tuple[Child, Path]:
    """A Docker of one's own: no iptables, no bridge."""
    socket = directory / "docker.sock"
    command = [
        # What it mounts goes with it.
        *(
            "unshare",
            "--mount",
            "dockerd",
            "--data-root",
            str(directory / "data"),
            "--exec-root",
            str(directory / "e"),
        ),
        *("--pidfile", str(directory / "docker.pid"), "--host", f"unix://{socket}"),
        *("--iptables=false", "--bridge=none", "--storage-driver=vfs"),
    ]
    return Child("dockerd", command, {"PATH": os.environ["PATH"] + ":/usr/sbin"}, directory), socket


def podman(directory: Path) -> tuple[Child, Path]:
    """Podman's service, which speaks as Docker does."""
    socket = directory / "podman.sock"
    command = [
        *(
            "unshare",
            "--mount",
            "podman",
            "--root",
            str(directory / "root"),
            "--runroot",
            str(directory / "r"),
        ),
        *("--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=file"),
        *("system", "service", "--time=0", f"unix://{socket}"),
    ]
    env = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    return Child("podman", command, env, directory), socket


def rootfs(directory: Path) -> Path:
    """An image of one file: busybox, which has a web server."""
    busybox = shutil.which("busybox")
    # One that is linked dynamically finds nothing in there.
    if busybox is None or subprocess.run(["ldd", busybox], capture_output=True).returncode == 0:
        pytest.skip("no static busybox (Debian: busybox-static)")
    made = directory / "rootfs"
    (made / "bin").mkdir(parents=True)
    (made / "www" / "real").mkdir(parents=True)
    (made / "www" / "real" / "index.html").write_text("from a container")
    shutil.copy(busybox, made / "bin" / "busybox")
    archive = directory / "rootfs.tar"
    subprocess.run(["tar", "-C", made, "-cf", archive, "."], check=True)
    return archive


def call(socket: Path, method: str, path: str, body: bytes = b"", kind: str = "") -> bytes:
    """Ask an engine, which is to succeed."""
    done = subprocess.run(
        ["curl", "-sS", "--fail-with-body", "--unix-socket", socket, "-X", method,
         *(["-H", f"Content-Type: {kind}", "--data-binary", "@-"] if kind else []),
         f"http://engine/v1.41{path}"],
        input=body, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="engines take root here")
@pytest.mark.parametrize(("program", "start"), [("dockerd", docker), ("podman", podman)])
def test_a_real_engine(
    tmp_path_factory: pytest.TempPathFactory,
    program: str,
    start: Callable[[Path], tuple[Child, Path]],
) -> None:
    tmp_path = tmp_path_factory.mktemp("e")  # sockets' paths are short
    if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin") is None:
        pytest.skip(f"{program} is not installed")
    archive = rootfs(tmp_path)
    child, socket = start(tmp_path)
    proxy = None
    try:
        child.wait_until(socket.exists, seconds=30)
        proxy = Proxy(tmp_path, f'[containers]\nsocket = "{socket}"\n')
        proxy.child.wait_until(lambda: "are followed at" in proxy.child.log(), seconds=30)
        path = "/images/create?fromSrc=-&repo=web&tag=1"
        imported = call(socket, "POST", path, archive.read_bytes(), "application/x-tar")
        image = json.loads(imported.splitlines()[-1])["status"]
        inside = free_port()
        labels = {"enable": "true", "path": "/real", "port": str(inside)}
        wanted = {
            "Image": image,
            "Cmd": ["/bin/busybox", "httpd", "-f", "-p", f"127.0.0.1:{inside}", "-h", "/www"],
            "Labels": {f"ipyproxy.{key}": value for key, value in labels.items()},
            "HostConfig": {"NetworkMode": "host", "Ulimits": LIMITS},
        }
        created = call(socket, "POST", "/containers/create?name=web", json.dumps(wanted).encode(),
                       "application/json")  # fmt: skip
        name = json.loads(created)["Id"]
        assert ask(proxy, "/real/") == "404"
        call(socket, "POST", f"/containers/{name}/start")
        until(lambda: ask(proxy, "/real/") == "from a container")
        call(socket, "POST", f"/containers/{name}/kill")
        until(lambda: ask(proxy, "/real/") == "404")
        call(socket, "DELETE", f"/containers/{name}?force=true")
        assert "Traceback" not in proxy.child.log()
    finally:
        if proxy is not None:
            proxy.child.stop()
        child.stop()
