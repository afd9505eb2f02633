"""What `--check` says of certificates: what is wrong, and what soon will be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from ipyproxy.config import Config, ConfigError, Site, Tls
from ipyproxy.daemon.settings import check
from tests.certificates import NOW, Authority, Issued, ecdsa_key, pem

DAY = timedelta(days=1)
HOST = "hub.example.org"


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority("Root")


@pytest.fixture(scope="module")
def team(root: Authority) -> Authority:
    return Authority("Team", issuer=root)


@pytest.fixture(autouse=True)
def known(
    root: Authority, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This system trusts that root, and no other."""
    directory = tmp_path_factory.mktemp("known")
    monkeypatch.setenv("SSL_CERT_FILE", str(root.write(directory)))
    monkeypatch.setenv("SSL_CERT_DIR", str(directory / "none"))


def configured(issued: Issued, directory: Path, *hosts: str) -> Config:
    certificate, key = issued.write(directory)
    return Config(tls=Tls(certificate=certificate, key=key), site=Site(hosts=hosts))


def looked(config: Config) -> list[str]:
    """What is doubtful; nothing has to be kept in the state directory."""
    return list(check(config, Path("/nonexistent")))


def problems(config: Config) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        looked(config)
    return list(caught.value.problems)


def test_a_good_certificate_is_passed_over_in_silence(team: Authority, tmp_path: Path) -> None:
    issued = team.issue(HOST, "*.example.org", not_after=NOW + 15 * DAY)
    assert (looked(configured(issued, tmp_path, "a.example.org", "*.example.org"))) == []


def test_a_key_that_does_not_belong_is_told(team: Authority, tmp_path: Path) -> None:
    issued = team.issue(HOST)
    other = Issued(issued.certificate, ecdsa_key(), issued.intermediates)
    (told,) = problems(configured(other, tmp_path))
    assert f"{tmp_path / 'server.key'} does not belong to" in told


def test_the_end_is_told_two_weeks_ahead(team: Authority, tmp_path: Path) -> None:
    end = NOW + 13 * DAY
    issued = team.issue(HOST, not_before=NOW - 77 * DAY, not_after=end)
    (told,) = looked(configured(issued, tmp_path))
    assert told == f"{tmp_path}/server.pem: ends in 12 days, on {end:%Y-%m-%d}; renew it now"


def test_the_end_of_a_short_one_is_told_in_the_last_quarter_of_its_life(
    team: Authority, tmp_path: Path
) -> None:
    for left, told in (5, 0), (1.5, 1):
        issued = team.issue(HOST, not_before=NOW + (left - 7) * DAY, not_after=NOW + left * DAY)
        assert len(list(looked(configured(issued, tmp_path)))) == told


def test_what_is_over_or_has_not_begun_is_told(team: Authority, tmp_path: Path) -> None:
    path, past, to_come = tmp_path / "server.pem", NOW - DAY, NOW + DAY
    over = configured(team.issue(HOST, not_before=NOW - 9 * DAY, not_after=past), tmp_path)
    assert looked(over)[0] == f"{path}: expired on {past:%Y-%m-%d}, so browsers refuse it; renew it"
    told = looked(configured(team.issue(HOST, not_before=to_come), tmp_path))[0]
    assert told.startswith(f"{path}: is not valid before {to_come:%Y-%m-%d %H:%M} UTC; wait")


def test_a_chain_that_stops_short_is_told(team: Authority, tmp_path: Path) -> None:
    issued = team.issue(HOST)
    (told,) = looked(configured(Issued(issued.certificate, issued.key, ()), tmp_path))
    assert told.startswith(
        f"{tmp_path}/server.pem: the chain stops at the certificate of CN=server.example, whose "
        "issuer (CN=Team) this system does not know; put the intermediate certificates behind it"
    )


def test_a_chain_in_disorder_is_wrong(root: Authority, team: Authority, tmp_path: Path) -> None:
    issued = Authority("Group", issuer=team).issue(HOST)
    upside_down = Issued(issued.certificate, issued.key, issued.intermediates[::-1])
    assert problems(configured(upside_down, tmp_path)) == [
        f"{tmp_path}/server.pem: the certificate of CN=server.example was not issued by the "
        "certificate of CN=Team, which stands behind it; put each certificate in front of the one "
        "that issued it",
        f"{tmp_path}/server.pem: the certificate of CN=Team was not issued by the certificate of "
        "CN=Group, which stands behind it; put each certificate in front of the one that issued it",
    ]


def test_one_of_an_unknown_root_is_told(tmp_path: Path) -> None:
    stranger = Authority("Stranger")
    (told,) = looked(configured(stranger.issue(HOST), tmp_path))
    assert "(CN=Stranger) this system does not know" in told
    whole = Issued(*vars(stranger.issue(HOST)).values())
    whole = Issued(whole.certificate, whole.key, (stranger.certificate,))
    (told,) = looked(configured(whole, tmp_path))
    assert "the certificate of CN=Stranger is self-signed" in told


def test_a_key_that_lies_open_is_told(team: Authority, tmp_path: Path) -> None:
    config = configured(team.issue(HOST), tmp_path)
    key = tmp_path / "server.key"
    key.chmod(0o644)
    assert (looked(config)) == [
        f"{key}: anybody on this host may read the private key; chmod o= it"
    ]


def test_a_name_that_no_certificate_bears_is_told(team: Authority, tmp_path: Path) -> None:
    config = configured(team.issue(HOST, "*.example.org"), tmp_path, "a.example.org", "b.example")
    assert (looked(config)) == ["site.hosts: no certificate bears the name b.example"]


def test_every_certificate_of_a_directory_is_looked_at(team: Authority, tmp_path: Path) -> None:
    """One that has lapsed keeps none of the others from being renewed."""
    for name, age in ("a", 1), ("b", 2):
        team.issue(HOST, not_before=NOW - 9 * DAY, not_after=NOW - age * DAY).write(tmp_path, name)
    told = [line for line in looked(Config(tls=Tls(directory=tmp_path))) if "expired" in line]
    assert [each.split(":")[0] for each in told] == [f"{tmp_path}/a.pem", f"{tmp_path}/b.pem"]


def empty(directory: Path) -> None:
    (directory / "notes.txt").touch()


def missing(directory: Path) -> None:
    directory.rmdir()


def garbage(directory: Path) -> None:
    (directory / "x.pem").write_bytes(b"?")


@pytest.mark.parametrize(("spoil", "problem"), [
    (empty, "There is no certificate in "),
    (missing, "certs cannot be read (No such file or directory); it should be a directory"),
    (garbage, "x.pem holds no whole PEM certificates"),
])  # fmt: skip
def test_a_directory_without_certificates_is_told(
    spoil: Callable[[Path], None], problem: str, tmp_path: Path
) -> None:
    directory = tmp_path / "certs"
    directory.mkdir()
    spoil(directory)
    (told,) = problems(Config(tls=Tls(directory=directory)))
    assert problem in told


def test_a_client_authority_that_is_none_is_told(team: Authority, tmp_path: Path) -> None:
    path = tmp_path / "staff.pem"
    path.write_bytes(pem(team.issue(HOST).certificate))
    (told,) = problems(Config(tls=Tls(client_ca=path)))
    assert "holds a certificate that may not issue others" in told
