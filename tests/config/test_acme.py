"""Whether certificates are got by ACME, for which names, and what can't be asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipyproxy.config import Config, ConfigError, anchored, parse


def parsed(toml: str) -> Config:
    return parse(toml, {}, "i.toml")


def names(toml: str) -> tuple[str, ...]:
    return parsed(toml).certificate_names


def problem(toml: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parsed(toml)
    (told,) = caught.value.problems
    return told


def test_nothing_is_got_unless_it_is_asked_for() -> None:
    assert names("site.hosts = ['hub.example.org']") == ()


def test_the_names_that_are_listed() -> None:
    assert names("tls.acme = true\ntls.names = ['Hub.example.org', 'lab.local', '10.0.0.1']") == (
        "hub.example.org",
        "lab.local",
        "10.0.0.1",
    )


def test_without_a_list_those_of_the_site_that_the_internet_can_know() -> None:
    hosts = (
        "'localhost', 'hub', 'hub.example.org', '10.0.0.1', 'a.local', 'b.internal', '8.8.8.8', "
        "'*.wild.example.org', 'x.home.arpa', '::1'"
    )
    toml = f"tls.acme = true\nsite.hosts = [{hosts}]\nsite.notebook_domain = 'n.example.org'\n"
    assert names(toml) == ("hub.example.org", "8.8.8.8")
    assert names(toml + "tls.dns_hook = '/etc/dns'") == (
        "hub.example.org",
        "8.8.8.8",
        "*.wild.example.org",
        "*.n.example.org",
    )


def test_what_can_not_be_asked_for_is_refused() -> None:
    assert problem("tls.acme = true").endswith("set site.hosts, or tls.names")
    assert "needs tls.acme = true" in problem("tls.names = ['a.example.org']")
    assert "needs tls.dns_hook" in problem("tls.acme = true\ntls.names = ['*.example.org']")
    assert names("tls.acme = true\ntls.names = ['*.example.org']\ntls.dns_persist = true") == (
        "*.example.org",
    )
    assert "tls.eab_hmac" in problem("tls.eab_kid = 'k'")


@pytest.mark.parametrize(
    ("key", "bad", "good"),
    [
        ("acme_directory_url", "http://acme.example/dir", "https://acme.example:14000/dir"),
        ("acme_directory_url", "https://", "https://[::1]/dir"),
        ("email", "nobody", "a.b@example.org"),
        ("email", "a@b, c@d", ""),
        ("eab_hmac", "not base64", ""),
        ("key_type", "ed25519", "rsa"),
        ("acme_profile", "short lived", "shortlived"),
    ],
)
def test_values(key: str, bad: str, good: str) -> None:
    assert f"tls.{key}: " in problem(f"tls.{key} = '{bad}'")
    assert getattr(parsed(f"tls.{key} = '{good}'").tls, key) == good


def test_relative_paths_start_from_the_file() -> None:
    config = anchored(parsed("tls.acme_ca = 'ca.pem'\ntls.dns_hook = 'dns'"), Path("/etc/x"))
    assert config.tls.acme_ca == Path("/etc/x/ca.pem")
    assert config.tls.dns_hook == Path("/etc/x/dns")
