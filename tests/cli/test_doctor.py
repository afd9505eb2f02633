"""``ipyproxy doctor``: what it says of good and bad notebooks, real ones and played ones."""

from __future__ import annotations

import base64
import contextlib
import getpass
import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ipyproxy.cli import doctor, main
from tests.certificates import Authority
from tests.integration.jupyter import Jupyter, notebook_port
from tests.live.mortal import Mortal
from tests.live.streams import Notebook, Stream

Examine = Callable[..., tuple[int, str]]


@pytest.fixture
def examine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Examine:
    """Runs the command; gives its status and what it says."""
    monkeypatch.setattr(doctor, "PATIENCE", 5.0)
    monkeypatch.delenv("JUPYTER_TOKEN", raising=False)

    def run(
        port: int, *arguments: str, configuration: str = "", token: str = ""
    ) -> tuple[int, str]:
        file = tmp_path / "ipyproxy.toml"
        file.write_text(configuration)
        if token:
            monkeypatch.setenv("JUPYTER_TOKEN", token)
        status = main(["doctor", str(port), "--config", str(file), *arguments])
        out, err = capsys.readouterr()
        assert not err
        return status, out

    return run


def verdicts(said: str) -> dict[str, str]:
    """The verdict on each subject."""
    lines = [line for line in said.splitlines() if line[:7].strip() in ("ok", "WRONG", "note")]
    return {line[7:].partition(":")[0]: line[:7].strip() for line in lines}


class Quiet(BaseHTTPRequestHandler):
    """A web server that has nothing to say."""

    def log_message(self, *facts: object) -> None:
        """Leave the terminal to the command."""


@contextlib.contextmanager
def speaking_tls(directory: Path) -> Iterator[int]:
    """A web server with a certificate for localhost; gives its port."""
    authority = Authority()
    certificate, key = authority.issue("localhost").write(directory)
    authority.write(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


class Server(Jupyter):
    """A Jupyter server without a user interface."""

    def __init__(self, directory: Path, *options: str, token: str) -> None:
        super().__init__(
            directory,
            notebook_port(),
            application="jupyter_server",
            credential={"JUPYTER_TOKEN": token},
            options=list(options),
        )


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """As it comes, with a token."""
    running = Server(tmp_path_factory.mktemp("good"), token="s3cret-token")
    yield running
    running.child.stop()


@pytest.fixture(scope="module")
def careless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One whose owner had trouble with it, and followed the first advice in a forum."""
    options = ("--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True")
    running = Server(tmp_path_factory.mktemp("careless"), *options, token="")
    yield running
    running.child.stop()


@pytest.mark.integration
class TestRealJupyter:
    def test_a_good_one_is_well_in_everything(self, examine: Examine, good: Server) -> None:
        status, said = examine(good.port, "--kernel", token="s3cret-token")
        assert status == 0, said
        assert set(verdicts(said).values()) == {"ok"}
        assert f"pid {good.child.pid} (" in said
        assert f"of user {getpass.getuser()} on 127.0.0.1" in said
        assert "subprotocol: v1.kernel.websocket.jupyter.org" in said
        assert "s3cret" not in said

    def test_no_kernel_is_left_behind(self, examine: Examine, good: Server) -> None:
        examine(good.port, "--kernel", token="s3cret-token")
        assert "DELETE" in good.settled_log()
        assert '"POST' not in good.settled_log().rpartition("DELETE")[2]

    @pytest.mark.parametrize("mode", ["tcp", "http"])
    def test_without_its_token_the_rest_is_said_not_to_be_looked_at(
        self, examine: Examine, good: Server, mode: str
    ) -> None:
        status, said = examine(good.port, configuration=f'health.mode = "{mode}"\n')
        assert status == 0
        assert verdicts(said)["XSRF, Origin, WebSocket"] == "note"
        assert "set JUPYTER_TOKEN" in said
        assert f"probes ({mode}) find it" in said

    def test_a_wrong_token_is_said_to_be_wrong(self, examine: Examine, good: Server) -> None:
        status, said = examine(good.port, token="another")
        assert (status, verdicts(said)["login"]) == (1, "WRONG")

    def test_another_base_url_is_found_with_what_to_do(
        self, examine: Examine, good: Server
    ) -> None:
        status, said = examine(good.port, configuration='notebooks.prefix = "/other"\n')
        assert (status, verdicts(said)["base_url"]) == (1, "WRONG")
        assert f"-> start it with --ServerApp.base_url=/other/{good.port}/" in said

    def test_a_port_that_is_not_served_is_found(self, examine: Examine, good: Server) -> None:
        status, said = examine(good.port, configuration='notebooks.ports = "8888"\n')
        assert (status, verdicts(said)["notebooks.ports"]) == (1, "WRONG")
        assert f'set notebooks.ports = "8888,{good.port}"' in said

    def test_neither_login_nor_xsrf_is_dangerous(self, examine: Examine, careless: Server) -> None:
        status, said = examine(careless.port)
        found = verdicts(said)
        assert (status, found["login"], found["XSRF"]) == (1, "WRONG", "WRONG")
        assert found["WebSocket"] == "ok"
        assert "2 things are wrong; docs/troubleshooting.md says more" in said


@pytest.mark.integration
class TestNoJupyter:
    def test_nobody(self, examine: Examine) -> None:
        port = notebook_port()
        status, said = examine(port)
        assert (status, verdicts(said)["who listens"]) == (1, "WRONG")
        assert f"--ServerApp.port={port} --ServerApp.base_url=/ipython/{port}/" in said

    def test_one_that_takes_connections_and_never_answers(
        self, examine: Examine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(doctor, "PATIENCE", 0.3)
        with Mortal() as mute:
            mute.live("mute")
            status, said = examine(mute.port)
        assert (status, verdicts(said)["HTTP"]) == (1, "WRONG")
        assert "it took a request and did not answer within 0.3 s" in said

    def test_one_that_speaks_another_protocol(self, examine: Examine) -> None:
        with Mortal() as other:
            other.live("ssh")
            status, said = examine(other.port)
        assert (status, verdicts(said)["HTTP"]) == (1, "WRONG")
        assert "what it says is no HTTP/1: 'SSH-2.0-none'" in said

    def test_one_that_speaks_tls_itself(self, examine: Examine, tmp_path: Path) -> None:
        with speaking_tls(tmp_path) as port:
            status, said = examine(port)
            assert (status, verdicts(said)["TLS"]) == (1, "WRONG")
            assert "it speaks TLS itself, and the proxy speaks plain HTTP to it" in said
            trusted = f'[notebooks]\ntls = true\ntls_ca = "{tmp_path}/authority.pem"\n'
            status, said = examine(port, configuration=trusted)
            assert "TLS" not in verdicts(said)
            status, said = examine(port, configuration="notebooks.tls = true\n")
            assert (status, verdicts(said)["TLS"]) == (1, "WRONG")
            assert "its certificate does not hold" in said

    def test_one_that_does_not_speak_tls_though_it_should(self, examine: Examine) -> None:
        with Mortal() as other:
            other.live()
            status, said = examine(other.port, configuration="notebooks.tls = true\n")
        assert (status, verdicts(said)["TLS"]) == (1, "WRONG")
        assert "it does not speak TLS" in said

    def test_another_services_port_is_not_to_be_added(self, examine: Examine) -> None:
        for port in (22, 6379):
            status, said = examine(port)
            assert status == 1
            assert f"{port} is none of " in said
            assert "set notebooks.ports" not in said

    def test_another_web_server(self, examine: Examine) -> None:
        with Mortal() as other:
            other.live()
            status, said = examine(other.port)
        assert (status, verdicts(said)["base_url"]) == (0, "note")
        assert "is no Jupyter server" in said


class Played(Notebook):
    """A server that answers by a table: method and path, without the prefix, to an answer."""

    def __init__(self, **answers: bytes) -> None:
        super().__init__()
        self.answers = {"GET_api": reply(200, {"version": "2.99"}), "GET_": reply(200), **answers}
        self.heads: list[bytes] = []

    def answer(self, stream: Stream) -> None:
        head = stream.hear_head()
        if not head:
            return  # as a probe does
        self.heads.append(head)
        method, target, _ = head.split(b" ", 2)
        path = target.removeprefix(self.path).partition(b"?")[0].replace(b"/", b"_")
        found = self.answers.get(f"{method.decode()}_{path.decode()}", reply(404))
        if b"{accept}" in found:
            [key] = [
                line.partition(b": ")[2]
                for line in head.split(b"\r\n")
                if line.startswith(b"Sec-WebSocket-Key")
            ]
            guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            accept = base64.b64encode(hashlib.sha1(key + guid).digest())
            found = found.replace(b"{accept}", accept)
        stream.say(found)
        stream.close()


def reply(status: int, document: object = None, *lines: bytes) -> bytes:
    body = json.dumps(document).encode()
    head = [b"HTTP/1.1 %d Reason" % status, b"Content-Length: %d" % len(body), *lines, b"", body]
    return b"\r\n".join(head)


SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: {accept}\r\n\r\n"
)
OPEN = {
    "GET_api_status": reply(200, {}),
    "GET_login": reply(200, {}, b"Set-Cookie: _xsrf=2|token; Path=/"),
    "GET_api_events_subscribe": SWITCH,
}


@contextlib.contextmanager
def played(**answers: bytes) -> Iterator[Played]:
    server = Played(**answers)
    with server.serving(server.answer):
        yield server


class TestPlayed:
    def test_requests_are_those_that_the_proxy_sends(self, examine: Examine) -> None:
        with played() as server:
            examine(server.port, configuration='site.hosts = ["hub.example.org"]\n')
        lines = server.heads[0].split(b"\r\n")
        assert lines[0] == b"GET " + server.path + b"api HTTP/1.1"
        assert b"Host: 127.0.0.1:%d" % server.port in lines
        assert b"Origin: http://127.0.0.1:%d" % server.port in lines
        assert b"Referer: http://127.0.0.1:%d" % server.port + server.path in lines
        assert not any(line.startswith(b"X-Forwarded-Host") for line in lines)

    def test_an_application_is_asked_as_one(self, examine: Examine) -> None:
        with played(GET_api=reply(421), GET_=reply(421)) as server:
            _, said = examine(
                server.port,
                configuration='site.hosts = ["hub.example.org"]\n'
                f"notebooks.ports = {server.port}\nnotebooks.applications = {server.port}\n",
            )
        lines = server.heads[0].split(b"\r\n")
        assert b"Host: hub.example.org" in lines
        assert b"Origin: https://hub.example.org" in lines
        assert b"X-Forwarded-Host: hub.example.org" in lines
        assert "it refuses the Host hub.example.org" in said

    def test_one_that_refuses_the_host(self, examine: Examine) -> None:
        with played(GET_api=reply(421), GET_=reply(421)) as server:
            status, said = examine(server.port)
        assert (status, verdicts(said)["Host"]) == (1, "WRONG")

    def test_one_that_leads_elsewhere(self, examine: Examine) -> None:
        with played(GET_api=reply(404), GET__=reply(302, None, b"Location: /lab/tree")) as server:
            status, said = examine(server.port)
        assert status == 1
        assert "base_url: it leads to /lab/tree" in said

    def test_one_that_refuses_the_origin(self, examine: Examine) -> None:
        refusal = reply(403, {"message": "Blocking Cross Origin"})
        harmless = "DELETE_api_sessions_00000000-0000-0000-0000-000000000000"
        with played(**{**OPEN, harmless: refusal, "GET_api_events_subscribe": refusal}) as server:
            status, said = examine(server.port)
        found = verdicts(said)
        assert (status, found["Host, Origin, Referer"], found["WebSocket"]) == (1, "WRONG", "WRONG")
        assert "403 Blocking Cross Origin" in said

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (reply(200), "no upgrade, but 200"),
            (reply(426), "no upgrade, but 426"),
            (SWITCH.replace(b"{accept}", b"x" * 28), "WebSocket handshake:"),
            (SWITCH[:-2] + b"Sec-WebSocket-Protocol: unasked\r\n\r\n", "WebSocket handshake:"),
        ],
    )
    def test_one_that_does_not_upgrade(self, examine: Examine, answer: bytes, words: str) -> None:
        with played(**{**OPEN, "GET_api_events_subscribe": answer}) as server:
            status, said = examine(server.port)
        assert (status, verdicts(said)["WebSocket"]) == (1, "WRONG")
        assert words in said

    def test_one_that_probes_would_call_busy(self, examine: Examine) -> None:
        server = Played()

        def answer(stream: Stream) -> None:
            if stream.socket.recv(1, socket.MSG_PEEK):
                server.answer(stream)

        with server.serving(answer):
            _, said = examine(server.port, configuration="health.timeout = 0.2\n")
        assert verdicts(said)["time-outs"] == "note"
        assert "would count as busy" in said
        assert '-> set health.mode = "http"' in said

    def test_one_that_hangs_up_as_a_container_does_that_is_not_up(self, examine: Examine) -> None:
        server = Played()
        with server.serving(lambda stream: stream.close()):
            status, said = examine(server.port)
        assert (status, verdicts(said)["HTTP"]) == (1, "WRONG")
        assert "if a container publishes this port" in said


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1", "８０"])
def test_a_port_is_a_port(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", port])
    assert ended.value.code == 2
    assert "a port is a number from 1 to 65535" in capsys.readouterr().err


def test_a_configuration_that_does_not_hold_is_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ipyproxy.toml"
    file.write_text("health.mode = 'x'\n")
    assert main(["doctor", "10000", "--config", str(file)]) == 2
    assert "health.mode" in capsys.readouterr().err
