"""``twistd ipyproxy`` as an administrator meets it: what is said, and with which exit status."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.application.service import Service

from ipyproxy import __version__
from ipyproxy.config import Config, ConfigError, Ports, State
from ipyproxy.daemon.settings import Settings
from ipyproxy.daemon.state import state_directory
from ipyproxy.daemon.systemd import Manager
from ipyproxy.tap import Options, makeService
from tests.certificates import NOW, Authority

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


class Told:
    """What a command line that ends the process leaves behind."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        with pytest.raises(SystemExit) as caught:
            Options().parseOptions(list(arguments))
        self.status = caught.value.code
        self.out, self.err = capsys.readouterr()

    def __eq__(self, other: object) -> bool:
        return (self.status, self.out, self.err) == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr((self.status, self.out, self.err))


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


# --- --check --------------------------------------------------------------------------------


NOBODY = "nobody"


def is_valid(told: Told) -> bool:
    """Whether it is; root is told as well whose rights count."""
    return told.status == 0 and told.out.startswith("configuration is valid")


def test_check_is_content_with_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    told = Told(capsys, "--check")
    assert is_valid(told)
    assert told.err == ""


def test_check_is_content_with_the_example_and_a_good_certificate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.write(tmp_path)))
    certificate, key = authority.issue("hub.example.org").write(tmp_path)
    example = str(ROOT / "etc" / "ipyproxy.toml")
    arguments = ("--config", example, "--certificate", str(certificate), "--key", str(key))
    told = Told(capsys, "--check", *arguments)
    assert is_valid(told)
    assert told.err == ""


def test_check_never_touches_the_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = Authority().issue("hub.example.org").write(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was touched")

    for name in ("socket", "create_connection", "getaddrinfo", "gethostbyname", "getfqdn"):
        monkeypatch.setattr(socket, name, refuse)
    told = Told(
        capsys, "--check", "--https", "systemd:domain=INET6:index=0", "--http", "80",
        "--certificate", str(certificate), "--key", str(key),
    )  # fmt: skip
    assert told.status == 0


def test_check_tells_of_a_certificate_that_cannot_be_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, key = Authority().issue("hub.example.org").write(tmp_path)
    told = Told(capsys, "--check", "--certificate", str(tmp_path / "none"), "--key", str(key))
    assert told.err.startswith(f"ipyproxy: --certificate: {tmp_path / 'none'} cannot be read ")
    assert told.err.count("\n") == 1
    assert (told.status, told.out) == (2, "")


def test_check_warns_of_what_is_not_yet_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate, key = Authority().issue("hub.example.org").write(tmp_path)
    told = Told(capsys, "--check", "--certificate", str(certificate), "--key", str(key))
    assert is_valid(told)
    assert told.err.startswith(f"ipyproxy: {certificate}: the chain stops at ")


def test_check_tells_of_a_certificate_that_expired(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    issued = Authority().issue(
        "hub.example.org", not_before=NOW - timedelta(days=9), not_after=NOW - timedelta(days=2)
    )
    certificate, key = issued.write(tmp_path)
    told = Told(capsys, "--check", "--certificate", str(certificate), "--key", str(key))
    day = NOW - timedelta(days=2)
    assert is_valid(told)
    said = f"ipyproxy: {certificate}: expired on {day:%Y-%m-%d}, so browsers refuse it; renew it\n"
    assert said in told.err


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as somebody else")


@needs_root
def test_root_looks_with_the_rights_of_the_service(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    certificate, key = Authority().issue("hub.example.org").write(tmp_path)
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    key.chmod(0o600)
    certificate.chmod(0o644)
    arguments = ("--check", "--certificate", str(certificate), "--key", str(key))
    told = Told(capfd, *arguments, "--user", NOBODY)
    assert told.status == 2
    assert told.err.startswith(f"ipyproxy: --key: {key} cannot be read (Permission denied)")
    key.chmod(0o604)
    told = Told(capfd, *arguments, "--user", NOBODY)
    assert (told.status, told.out) == (0, "configuration is valid as user nobody reads it\n")


@needs_root
def test_root_is_told_where_nobody_knows_whose_rights_count(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ipyproxy.daemon.checking.SERVICE", "no-such-user")
    told = Told(capsys, "--check")
    assert "as root reads it (there is no user no-such-user, so nobody knows" in told.out


@needs_root
@pytest.mark.parametrize("more", [[], ["--check"]])
def test_a_user_who_does_not_exist_is_told(
    more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    told = Told(capsys, *more, "--user", "no-such-user")
    said = "there is no user no-such-user\n"
    assert told == (2, "", f"ipyproxy: {said}" if more else f"ipyproxy: --user: {said}")


def test_check_tells_what_a_start_would_fail_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "i.toml"
    (tmp_path / "state").touch()
    file.write_text("log.access = 'no/access.log'\nstate.directory = 'state'\n")
    told = Told(capfd, "--check", "--config", str(file))
    assert told.status == 2
    assert told.err.splitlines() == [
        f"ipyproxy: {file}:1: log.access: {tmp_path}/no/access.log cannot be written: there is no "
        f"directory {tmp_path}/no",
        f"ipyproxy: {file}:2: state.directory: no development certificate can be kept in "
        f"{tmp_path}/state: {tmp_path}/state is no directory; name tls.certificate and tls.key, "
        "or another directory",
    ]


# --- The service ----------------------------------------------------------------------------


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """In place of the service: remembers what it is called with, raises ``error`` if set."""

    class Daemon(Service):
        def reload(self) -> None: ...
        def stop(self) -> None: ...
        def hand_over(self) -> None: ...
        def reopen_log(self) -> None: ...

    composer = SimpleNamespace(error=None, service=Daemon())

    def make_service(read: Callable[[], Settings], reactor: Any, manager: Manager) -> Service:
        if composer.error:
            raise composer.error
        composer.read, composer.reactor = read, reactor
        service: Service = composer.service
        return service

    stand_in = SimpleNamespace(make_service=make_service)
    monkeypatch.setitem(sys.modules, "ipyproxy.daemon.service", stand_in)
    yield composer
    gc.unfreeze()


def test_the_service_gets_the_reactor_and_reads_its_settings_whenever_it_wants(
    composed: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from twisted.internet import reactor

    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "i.toml"
    file.write_text("listen.http = 1080\n")
    options = Options()
    options.parseOptions(["--config", "i.toml", "--ports", "8888"])
    assert makeService(options) is composed.service
    assert reactor.seconds is time.monotonic
    assert composed.reactor is reactor
    settings = composed.read()
    assert settings.config == options.config
    assert settings.certificates[0].certificate.parent == tmp_path / "state"

    monkeypatch.chdir("/")
    file.write_text("listen.http = 1081\n")
    settings = composed.read()
    assert settings.config.listen.http == 1081
    assert settings.config.notebooks.ports == Ports.read("8888")
    file.write_text("listen.http = []\n")
    with pytest.raises(ConfigError, match="http: "):
        composed.read()


@pytest.mark.parametrize("error", [None, ConfigError(["no certificate"])])
def test_garbage_is_collected_afterwards_but_not_among_what_was_loaded(
    composed: SimpleNamespace, error: Exception | None
) -> None:
    options = Options()
    options.parseOptions([])
    composed.error = error
    with contextlib.suppress(SystemExit):
        makeService(options)
    assert gc.isenabled()
    assert gc.get_freeze_count() > 10_000


def test_a_certificate_that_cannot_be_served_is_told_as_all_else_is(
    composed: SimpleNamespace, tmp_path: Path
) -> None:
    options = Options()
    options.parseOptions(["--certificate", str(tmp_path / "c"), "--key", str(tmp_path / "k")])
    makeService(options)
    with pytest.raises(ConfigError, match="cannot be read"):
        composed.read()


def test_a_service_that_cannot_be_made_ends_the_process(
    composed: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    composed.error = ConfigError(["a: is wrong", "b: too"])
    options = Options()
    options.parseOptions([])
    with pytest.raises(SystemExit) as caught:
        makeService(options)
    assert caught.value.code == 2
    assert capsys.readouterr() == ("", "ipyproxy: a: is wrong\nipyproxy: b: too\n")


def test_state_is_kept_where_configured_or_where_systemd_says_or_at_home(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    systemd = {"STATE_DIRECTORY": "/var/lib/ipyproxy:/var/lib/other"}
    named = Config(state=State(Path("/srv/state")))
    assert state_directory(named, systemd) == Path("/srv/state")
    assert state_directory(Config(), systemd) == Path("/var/lib/ipyproxy")
    home = Path("/home/ada/.local/state/ipyproxy")
    assert state_directory(Config(), {}) == home
    assert state_directory(Config(), {"STATE_DIRECTORY": ""}) == home
    own = Path("/var/lib/ipyproxy")
    assert state_directory(Config(), {}, own) == own


def test_without_a_home_the_state_directory_must_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    with pytest.raises(ConfigError) as caught:
        state_directory(Config(), {})
    assert caught.value.problems == ("state.directory: must be set, for this user has no home",)
