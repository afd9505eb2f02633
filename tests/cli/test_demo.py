"""``make run``: its pure parts, and the whole of it beside whatever else runs here."""

import importlib.util
import json
import os
import queue
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.sync.client import connect

from ipyproxy.cli import children, demo
from tests.tlssocket import TLSSocket

needs_jupyterlab = pytest.mark.skipif(
    importlib.util.find_spec("jupyterlab") is None, reason="JupyterLab is not installed"
)

OPTIONS = demo.Options(port=10000, https=8443, notebooks=Path("/srv/notebooks"))


class TestWhatIsStarted:
    def test_jupyter_keeps_its_own_defences(self) -> None:
        command = demo.jupyter_command(OPTIONS, as_root=False)
        told = {word.split("=")[0] for word in command if word.startswith("--")}
        assert told == {
            "--no-browser",
            "--ServerApp.ip",
            "--ServerApp.port",
            "--ServerApp.port_retries",
            "--ServerApp.base_url",
            "--ServerApp.root_dir",
        }

    def test_jupyter_listens_on_loopback_below_the_public_path(self) -> None:
        command = demo.jupyter_command(OPTIONS, as_root=False)
        assert "--ServerApp.ip=127.0.0.1" in command
        assert "--ServerApp.base_url=/ipython/10000/" in command

    def test_only_root_needs_allow_root(self) -> None:
        assert "--allow-root" not in demo.jupyter_command(OPTIONS, as_root=False)
        assert "--allow-root" in demo.jupyter_command(OPTIONS, as_root=True)

    def test_no_configuration_of_the_user_joins_in(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("JUPYTER_TOKEN", "known-to-everybody")
        monkeypatch.setenv("JUPYTER_CONFIG_DIR", "/home/user/.jupyter")
        environment = demo.jupyter_environment(tmp_path)
        assert "JUPYTER_TOKEN" not in environment
        assert environment["JUPYTER_CONFIG_DIR"] == str(tmp_path / "config")
        assert environment["PATH"] == os.environ["PATH"]

    def test_the_proxy_serves_this_notebook_only(self) -> None:
        command = demo.proxy_command(OPTIONS)
        assert command[-5:] == ["ipyproxy", "--https", "8443", "--ports", "10000"]


class TestNotebooks:
    def test_a_welcome_is_laid_into_a_new_directory(self, tmp_path: Path) -> None:
        demo.furnish(tmp_path / "notebooks")
        welcome = json.loads((tmp_path / "notebooks" / "Welcome.ipynb").read_text())
        assert [cell["cell_type"] for cell in welcome["cells"]] == ["markdown", "code"]
        compile(welcome["cells"][1]["source"], "cell", "exec")

    def test_a_directory_that_exists_is_left_as_it_is(self, tmp_path: Path) -> None:
        demo.furnish(tmp_path)
        assert list(tmp_path.iterdir()) == []


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of 127.0.0.1 on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


class TestPortInUse:
    def test_the_message_names_the_port_and_the_way_out(self, taken: int) -> None:
        with pytest.raises(children.DemoError, match=f"^Port {taken} is in use") as caught:
            demo.require_free("127.0.0.1", taken, "port")
        assert f"make run PORT={taken + 1}" in str(caught.value)

    def test_a_listener_on_one_address_is_in_the_way_of_all(self, taken: int) -> None:
        with pytest.raises(children.DemoError, match="HTTPS="):
            demo.require_free("0.0.0.0", taken, "https")

    def test_a_free_port_passes_and_stays_free(self) -> None:
        (port,) = free_ports(1)
        demo.require_free("127.0.0.1", port, "port")
        demo.require_free("127.0.0.1", port, "port")

    @needs_jupyterlab
    @pytest.mark.parametrize("option", ["--port", "--https"])
    def test_nothing_is_started_then(self, option: str, taken: int, tmp_path: Path) -> None:
        other = {"--port": "--https", "--https": "--port"}[option]
        arguments = [option, str(taken), other, str(free_ports(1)[0])]
        done = subprocess.run(
            [sys.executable, "-m", "ipyproxy.cli.demo", *arguments, "--notebooks", tmp_path / "n"],
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"Port {taken} is in use")
        assert not (tmp_path / "n").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--port", "0"], "--port must be from 1 to 65535, not 0"),
        (["--https", "65536"], "--https must be from 1 to 65535, not 65536"),
        (["--port", "8443"], "must differ"),
    ],
)
def test_impossible_ports_are_refused(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        demo.parse(arguments)
    assert complaint in capsys.readouterr().err


class TestChildren:
    def test_a_dead_one_is_named_with_its_last_words(self, tmp_path: Path) -> None:
        program = "import sys; print('one'); print('no such kernel'); sys.exit(3)"
        child = start(program, tmp_path)
        child.process.wait()
        with pytest.raises(children.DemoError, match=r"^Child ended \(status 3\)") as caught:
            child.require_alive()
        assert str(caught.value).endswith("    one\n    no such kernel")

    def test_a_process_is_known_by_its_mark_after_its_parent_is_gone(self, tmp_path: Path) -> None:
        mark = secrets.token_hex(8)
        sleeper = "import time; time.sleep(60)"
        parent = (
            "import subprocess, sys; "
            f"subprocess.Popen([sys.executable, '-c', {sleeper!r}], start_new_session=True)"
        )
        start(parent, tmp_path, mark).process.wait()
        (orphan,) = children.descendants(mark)
        os.kill(orphan, signal.SIGKILL)
        until_none(lambda: list(children.descendants(mark)), seconds=5)

    def test_one_that_ignores_sigterm_is_killed(self, tmp_path: Path) -> None:
        stubborn = (
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
            "print('ready', flush=True); time.sleep(60)"
        )
        impatient = children.StopSignals()
        running = demo.Demo(OPTIONS, tmp_path, impatient)
        running.children.append(start(stubborn, tmp_path, running.mark))
        until_none(lambda: not running.children[0].tail(), seconds=10)
        stopping = threading.Thread(target=running.stop)
        stopping.start()
        time.sleep(0.1)
        impatient.count += 1  # a second Ctrl-C
        stopping.join(30)
        assert running.children[0].process.returncode == -signal.SIGKILL


def start(program: str, home: Path, mark: str = "") -> children.Child:
    environment = dict(os.environ) | {children.MARK: mark}
    return children.Child.start("Child", [sys.executable, "-c", program], environment, home / "log")


def until_none(ask: Callable[[], object], seconds: float) -> None:
    """Wait until ``ask()`` has nothing more to report."""
    deadline = time.monotonic() + seconds
    while left := ask():
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def free_ports(count: int) -> list[int]:
    """Ports within the default range of notebooks where nobody listens now."""
    free: list[int] = []
    while len(free) < count:
        port = 10000 + secrets.randbelow(5000)
        with socket.socket() as probe:
            if port not in free and probe.connect_ex(("127.0.0.1", port)):
                free.append(port)
    return free


def marked(mark: str) -> list[str]:
    """The command line of every process that has ``mark`` in its environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_text(errors="replace"):
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@needs_jupyterlab
@pytest.mark.integration
class TestTheWholeOfIt:
    """One real JupyterLab, one real proxy, a tab open on one real kernel; all gone after Ctrl-C."""

    @pytest.mark.parametrize("wish", [signal.SIGINT, signal.SIGTERM])
    def test_it_prints_a_url_that_works_and_leaves_nothing(
        self, wish: signal.Signals, tmp_path: Path
    ) -> None:
        mark = secrets.token_hex(16)
        port, https = free_ports(2)
        running = subprocess.Popen(
            [
                *(sys.executable, "-m", "ipyproxy.cli.demo", "--port", str(port)),
                *("--https", str(https), "--notebooks", str(tmp_path / "notebooks")),
            ],
            env=dict(os.environ) | {"STATE_DIRECTORY": str(tmp_path), "TEST_MARK": mark},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            url = url_from(running, within=90)
            assert url.startswith(f"https://localhost:{https}/ipython/{port}/lab?token=")
            assert "<title>JupyterLab</title>" in fetch(url).decode()
            base, token = url.split("lab?token=")
            authorization = {"Authorization": f"token {token}"}
            kernel = json.loads(fetch(f"{base}api/kernels", authorization, b"{}"))
            channels = f"{base}api/kernels/{kernel['id']}/channels".replace("https:", "ws:")
            server = urlsplit(base)
            address = (server.hostname or "", server.port or 443)
            sock: Any = TLSSocket(address, unverified(), timeout=30)
            with connect(channels, sock=sock, additional_headers=authorization):
                assert any("ipykernel" in command for command in marked(mark))
                running.send_signal(wish)
                assert running.wait(60) == 0
                assert marked(mark) == []
        finally:
            running.kill()
            running.communicate()


def url_from(process: subprocess.Popen[str], within: float) -> str:
    """The URL that the demo prints."""
    lines: queue.Queue[str] = queue.Queue()
    assert process.stdout is not None
    output = process.stdout

    def read() -> None:
        for line in output:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    said = ""
    deadline = time.monotonic() + within
    while line := lines.get(timeout=max(0.1, deadline - time.monotonic())):
        said += line
        if line.startswith("Open "):
            return line.split()[1]
    pytest.fail(f"the demo ended without a URL:\n{said}")


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def fetch(url: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, body, headers or {})
    with urllib.request.urlopen(request, timeout=30, context=unverified()) as response:
        answer: bytes = response.read()
        return answer


def test_a_machine_without_a_display_is_known() -> None:
    assert demo.is_headless({})
    assert demo.is_headless({"DISPLAY": ""})
    assert not demo.is_headless({"DISPLAY": ":0"})
    assert not demo.is_headless({"WAYLAND_DISPLAY": "wayland-0"})
