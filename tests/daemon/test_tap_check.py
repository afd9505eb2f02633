"""``twistd ipyproxy --check``: what it says of a configuration, and whose rights count."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from pathlib import Path

import pytest

from tests.certificates import NOW, Authority
from tests.daemon.commandline import Told

ROOT = Path(__file__).parents[2]

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
