"""``ipyproxy link``, and the few lines of other languages that do the same."""

from __future__ import annotations

import io
import re
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ipyproxy.access.facts import Lack
from ipyproxy.access.tokens import Keyring, Ticket, split_token
from ipyproxy.cli import main
from tests.certificates import Authority

DOCS = Path(__file__).parents[2] / "docs" / "authentication.md"
SECRET = "0123456789abcdef" * 4
RING = Keyring({"k1": SECRET})
CONFIGURATION = """
[listen]
https = 443
[site]
hosts = ["*.example.org", "hub.example.org"]
[state]
directory = "state"
[auth]
link_keys = "link.keys"
[[auth.rules]]
path = "/ipython"
require = "link"
[[auth.rules]]
path = "/ipython/10001"
require = "link"
users = ["alice"]
[[auth.rules]]
path = "/ipython/10002"
require = "none"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration file, with its keys."""
    keys = tmp_path / "link.keys"
    keys.touch(mode=0o600)
    keys.write_text(f"# ours\nk1:{SECRET}\nk0:{'x' * 40}\n")
    file = tmp_path / "ipyproxy.toml"
    file.write_text(CONFIGURATION)
    return file


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The status of the command, and what it says."""
    status = main(["link", *arguments])
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines(keepends=True) if ": note: " not in line]
    return status, out + "".join(lines)


def read(url: str, origin: str = "https://hub.example.org") -> Ticket | Lack:
    """What a link's token says, after a look at the rest of it."""
    assert url.startswith(f"{origin}/ipython/10000/?token=v1.k1.")
    target = urlsplit(url).path + "?" + urlsplit(url).query
    token, rest = split_token(target.encode())
    assert token is not None
    assert rest == b"/ipython/10000/"
    return RING.check(token, b"/ipython/10000", time.time(), 0)


def test_a_link_for_eight_hours(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = int(time.time())
    status, url = said(capsys, "10000", "--user", "alice", "--config", str(config))
    assert status == 0
    ticket = read(url.removesuffix("\n"))
    assert isinstance(ticket, Ticket)
    assert ticket.user == "alice"
    assert before <= ticket.issued <= time.time()
    assert ticket.expires - ticket.issued == 8 * 3600


@pytest.mark.parametrize(("text", "seconds"), [
    ("90s", 90), ("30m", 1800), ("1h", 3600), ("7d", 604800),
])  # fmt: skip
def test_for_as_long_as_wanted(
    config: Path, capsys: pytest.CaptureFixture[str], text: str, seconds: int
) -> None:
    arguments = ["10000", "--user", "a@b.example", "--for", text, "--config", str(config)]
    status, url = said(capsys, *arguments, "--origin", "https://hub.example.org:8443")
    assert status == 0
    ticket = read(url.strip(), "https://hub.example.org:8443")
    assert isinstance(ticket, Ticket)
    assert ticket.expires - ticket.issued == seconds


@pytest.mark.parametrize(("listen", "site", "origin"), [
    ("https = 8443", 'hosts = ["192.0.2.7"]', "https://192.0.2.7:8443"),
    ("https = 443", 'hosts = ["2001:db8::1"]', "https://[2001:db8::1]"),
    ("https = 443", 'notebook_domain = "nb.example"', "https://10000.nb.example"),
    ('https = "systemd:domain=INET:index=0"', 'hosts = ["a.example"]', "https://a.example"),
])  # fmt: skip
def test_the_address_is_what_the_configuration_tells(
    config: Path, capsys: pytest.CaptureFixture[str], listen: str, site: str, origin: str
) -> None:
    text = CONFIGURATION.replace("https = 443", listen)
    config.write_text(re.sub("hosts = .*", site, text))
    status, url = said(capsys, "10000", "--user", "alice", "--config", str(config))
    assert status == 0
    assert isinstance(read(url.strip(), origin), Ticket)


def test_the_name_is_the_certificates_and_the_port_the_sockets(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not the machine's own name, nor the port in the file, which systemd's sockets replace."""
    Authority().issue("jupyter.example.org").write(config.parent)
    named = 'tls.certificate = "server.pem"\ntls.key = "server.key"\n'
    without = CONFIGURATION.replace("https = 443", "https = 8443")
    config.write_text(named + re.sub(r"\[site\]\nhosts = .*", "", without))
    state = config.parent / "state"
    state.mkdir()
    body = b'{"listeners": [":: port 443", ":: port 80"]}'
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(state / "status.sock"))
        listener.listen()

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

        thread = threading.Thread(target=answer)
        thread.start()
        status, url = said(capsys, "10000", "--user", "alice", "--config", str(config))
        thread.join()
    assert status == 0
    assert isinstance(read(url.strip(), "https://jupyter.example.org"), Ticket)


def test_a_host_without_a_name_wants_an_origin(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(re.sub(r"\[site\]\nhosts = .*", "", CONFIGURATION))
    status, told = said(capsys, "10000", "--user", "alice", "--config", str(config))
    assert (status, "say --origin https://" in told) == (2, True)


def test_an_origin_is_one_that_is_served(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["10000", "--user", "alice", "--config", str(config), "--origin"]
    status, told = said(capsys, *arguments, "https://other.example")
    assert status == 2
    assert "other.example is none of the names that the proxy serves" in told
    assert said(capsys, *arguments, "https://a.example.org")[0] == 0


def test_a_link_alone_is_no_login_to_the_notebook(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["link", "10000", "--user", "alice", "--config", str(config)]) == 0
    assert "a token or a password asks for that as well" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("port", "user", "why"),
    [
        ("22", "alice", "22 is none of notebooks.ports"),
        ("10001", "bob", "auth.rules: the rule for /ipython/10001 lets others pass than bob"),
        ("10002", "alice", "auth.rules: no rule for /ipython/10002 asks for a link"),
    ],
)
def test_a_link_that_would_open_nothing_is_not_made(
    config: Path, capsys: pytest.CaptureFixture[str], port: str, user: str, why: str
) -> None:
    arguments = (port, "--user", user, "--config", str(config))
    assert said(capsys, *arguments) == (2, f"ipyproxy: {why}\n")


def test_the_notebooks_own_token_goes_with_it_unread(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("9f86d081884c7d65\n"))
    arguments = ["10000", "--user", "alice", "--config", str(config), "--token-stdin"]
    status, url = said(capsys, *arguments)
    assert status == 0
    assert "9f86d081884c7d65" not in url
    ticket = read(url.strip())
    assert isinstance(ticket, Ticket)
    assert ticket.enclosed == b"9f86d081884c7d65"


@pytest.mark.parametrize("given", ["", "\n", "two words\n", "ü\n", "x" * 513])
def test_what_is_no_token_is_told(
    config: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    given: str,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(given))
    arguments = ["10000", "--user", "alice", "--config", str(config), "--token-stdin"]
    status, why = said(capsys, *arguments)
    assert (status, "standard input holds no token" in why) == (2, True)


@pytest.mark.parametrize(
    "wrong",
    [
        ["10000"],
        ["--user", "alice"],
        ["x", "--user", "alice"],
        ["10000", "--user", "a b"],
        ["10000", "--user", "alice", "--for", "8"],
        ["10000", "--user", "alice", "--for", "0h"],
        ["10000", "--user", "alice", "--for", "8 h"],
        ["10000", "--user", "alice", "--for", "367d"],
        ["10000", "--user", "alice", "--origin", "hub.example.org"],
        ["10000", "--user", "alice", "--origin", "https://hub.example.org/ipython"],
    ],
)
def test_what_cannot_be_meant_is_told(
    config: Path, capsys: pytest.CaptureFixture[str], wrong: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["link", *wrong, "--config", str(config)])
    assert caught.value.code == 2
    assert "ipyproxy link: error:" in capsys.readouterr().err


def test_files_that_cannot_be_used_are_told(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("10000", "--user", "alice", "--config")
    status, why = said(capsys, *arguments, str(config.parent / "none.toml"))
    assert (status, why.endswith("none.toml: No such file or directory\n")) == (2, True)
    (config.parent / "link.keys").chmod(0o644)
    status, why = said(capsys, *arguments, str(config))
    assert (status, "can be read by all users" in why) == (2, True)


class TestTheRecipes:
    def recipe(self, language: str) -> str:
        """The lines of docs/authentication.md that make a link."""
        blocks = re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(), re.DOTALL)
        (block,) = [block for block in blocks if "?token=" in block]
        assert isinstance(block, str)
        return block

    def test_in_python(self) -> None:
        names: dict[str, Any] = {}
        exec(self.recipe("python"), names)
        ticket = read(names["link"](10000, "alice", 60, "k1", SECRET))
        assert isinstance(ticket, Ticket)
        assert (ticket.user, ticket.expires - ticket.issued) == ("alice", 60)

    @pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
    def test_in_a_shell(self, config: Path) -> None:
        (config.parent / "link.keys").write_text(f"k1:{SECRET}\n")
        script = "set -eu\n" + self.recipe("sh")
        done = subprocess.run(
            ["sh", "-c", script], cwd=config.parent, capture_output=True, text=True, check=True
        )
        ticket = read(done.stdout.strip())
        assert isinstance(ticket, Ticket)
        assert (ticket.user, ticket.expires - ticket.issued) == ("alice", 8 * 3600)

    def test_a_form_that_other_programs_make_is_read_too(self) -> None:
        token = RING.sign(b"/ipython/10000", Ticket("a+b@c.example", 1, 2**31)).decode()
        quoted = f"/ipython/10000/?token={token.replace('@', '%40').replace('+', '%2B')}"
        assert parse_qs(urlsplit(quoted).query)["token"] == [token]
        found, _ = split_token(quoted.encode())
        assert found == token.encode()
