"""``twistd ipyproxy`` as an administrator meets it: what is said, and with which exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ipyproxy import __version__
from ipyproxy.config import Config, Ports
from ipyproxy.tap import Options
from tests.daemon.commandline import Told

ROOT = Path(__file__).parents[2]


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run another Python that finds ipyproxy in this checkout."""
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def twistd(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run twistd itself, for what only a whole process can show."""
    return python("-c", "from twisted.scripts.twistd import run; run()", *arguments)


def configured(*arguments: str) -> Config:
    options = Options()
    options.parseOptions(list(arguments))
    return options.config


# --- Through twistd -------------------------------------------------------------------------


def test_twistd_lists_ipyproxy() -> None:
    done = twistd("--help")
    assert done.returncode == 0
    assert "    ipyproxy " in done.stdout


@pytest.mark.parametrize(("arguments", "problems"), [
    (["--prots=1"], ["option --prots not recognized"]),
    (["--ports"], ["option --ports requires argument"]),
    (["--config", "/no/such.toml"], ["/no/such.toml: No such file or directory"]),
    (["--ports", "80-x", "--trusted-origin", "null"], [
        '--trusted-origin: "null" is not an origin such as https://galaxy.example.org or '
        "http://localhost:8080, without a path",
        '--ports: "80-x" is not a list of ports such as 10000-14999,8888',
    ]),
])  # fmt: skip
def test_twistd_ends_with_a_line_for_each_problem_and_no_more(
    arguments: list[str], problems: list[str]
) -> None:
    done = twistd("-n", "--pidfile=", "ipyproxy", *arguments)
    assert done.stderr.splitlines() == [f"ipyproxy: {problem}" for problem in problems]
    assert done.stdout == ""
    assert done.returncode == 2


def test_twistd_ends_as_cleanly_when_the_service_cannot_be_made() -> None:
    done = python(
        "-c",
        "import sys, types\n"
        "from ipyproxy.config import ConfigError\n"
        "def make_service(read, reactor, manager):\n"
        "    raise ConfigError(['x.pem cannot be read.'])\n"
        "service = types.SimpleNamespace(make_service=make_service)\n"
        "sys.modules['ipyproxy.daemon.service'] = service\n"
        "from twisted.scripts.twistd import run\n"
        "run()\n",
        *("-n", "--pidfile=", "ipyproxy"),
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ipyproxy: x.pem cannot be read.\n"


def test_the_command_line_is_read_without_the_servers_code() -> None:
    heavy = (
        "autobahn OpenSSL cryptography twisted.web twisted.internet.reactor ipyproxy.daemon.service"
    )
    done = python(
        "-c",
        "import sys\n"
        "from twisted.application.service import IServiceMaker\n"
        "from twisted.plugin import getPlugins\n"
        "maker = next(p for p in getPlugins(IServiceMaker) if p.tapname == 'ipyproxy')\n"
        "print('ipyproxy.tap' in sys.modules)\n"
        "maker.options().parseOptions([])\n"
        f"print(sorted(set({heavy.split()!r}) & sys.modules.keys()))\n",
    )
    assert done.stdout.split("\n") == ["False", "[]", ""], done.stderr


# --- Options and file -----------------------------------------------------------------------


def test_nothing_needs_to_be_given() -> None:
    assert configured() == Config()


def test_options_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "i.toml"
    file.write_text("[listen]\nhttps = 1443\nhttp = 1080\n[site]\ntrusted_origins = ['http://a']\n")
    config = configured(
        "--config", str(file), "--https", "systemd:domain=INET:index=0", "--ports", "8888",
        "--trusted-origin", "https://b.example", "--trusted-origin", "https://c.example:443",
    )  # fmt: skip
    assert config.listen.https == "systemd:domain=INET:index=0"
    assert config.listen.http == 1080
    assert config.notebooks.ports == Ports.read("8888")
    assert config.site.trusted_origins == ("https://b.example", "https://c.example")


def test_ports_in_the_file_that_systemd_has_opened_others_for_are_told(tmp_path: Path) -> None:
    file = tmp_path / "i.toml"
    file.write_text("[listen]\nhttps = 8443\nhttp = 80\n")
    options = Options()
    systemd = ["--https", "systemd:domain=INET6:index=0", "--http", "systemd:domain=INET6:index=1"]
    options.parseOptions(["--config", str(file), *systemd])
    opened = {"systemd:domain=INET6:index=0": 443, "systemd:domain=INET6:index=1": 80}
    assert list(options.unused_listeners(lambda endpoint: opened.get(str(endpoint)))) == [
        f"{file}:2: listen.https: 8443 has no effect: ipyproxy.socket says where systemd listens, "
        "and that is port 443"
    ]
    assert list(options.unused_listeners(lambda _: None)) == []


def test_an_option_given_empty_unsets_what_the_file_sets(tmp_path: Path) -> None:
    file = tmp_path / "i.toml"
    file.write_text("listen.http = 80\ntls.certificate = 'c'\ntls.key = 'k'\n")
    config = configured("--config", str(file), "--http=", "--certificate=", "--key=")
    assert config == Config()


def test_two_command_lines_share_nothing() -> None:
    assert configured("--trusted-origin", "https://a.example").site.trusted_origins
    assert not configured().site.trusted_origins


def test_paths_start_from_where_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "i.toml").write_text(
        "tls.certificate = 'c.pem'\ntls.key = 'k.pem'\nlog.access = 'a.log'\n"
    )
    monkeypatch.chdir(tmp_path)
    config = configured("--config", "etc/i.toml", "--key", "mine.pem")
    assert config.tls.certificate == tmp_path / "etc" / "c.pem"
    assert config.tls.key == tmp_path / "mine.pem"
    assert config.log.access == str(tmp_path / "etc" / "a.log")


@pytest.mark.parametrize(("content", "problem"), [
    (b"[log]\naccess = 1\n", """:2: log.access: 1 is not a file's path, nor "-", nor \"\""""),
    (b"[log\n", ":1: the name of a table stands between [ and ], alone on its line"),
    (b"[log]\n# caf\xe9\n", ":2: is not UTF-8 text"),
])  # fmt: skip
def test_a_problem_in_the_file_is_told_with_file_and_line(
    content: bytes, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "i.toml"
    file.write_bytes(content)
    assert Told(capsys, "--config", str(file)) == (2, "", f"ipyproxy: {file}{problem}\n")


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "i.toml"
    file.write_bytes(b"\xef\xbb\xbflisten.http = 80\r\n")
    assert configured("--config", str(file)).listen.http == 80


def test_a_directory_is_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = Told(capsys, "--config", str(tmp_path))
    assert told == (2, "", f"ipyproxy: {tmp_path}: Is a directory\n")


def test_arguments_that_are_no_options_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert Told(capsys, "start", "it") == (2, "", "ipyproxy: unexpected argument start\n")


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert Told(capsys, "--version") == (0, f"ipyproxy {__version__}\n", "")
    told = Told(capsys, "--help")
    assert told.status == 0
    for option in ("config", "https", "http", "certificate", "key", "ports", "trusted-origin"):
        assert f"--{option}=" in told.out
    assert "--check " in told.out
