"""docs/tls.md, walked by its own commands: from the installed package to a page that is trusted.

The package, systemd with the shipped unit and its sandbox, Pebble and Chromium are real. Pebble's
root is what Chromium trusts, beside those that it knows, and what the machine trusts.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import Authority

from .machine import Machine, why_not
from .pages import Page
from .running import PATIENCE

pytestmark = pytest.mark.integration

HOST = "hub.example.org"
PAGE = Page("tls.md")
NEEDED = ("apt-get", "certutil", "chromium", "pebble", "pebble-challtestsrv")
MINUTE = 60.0

# The authority is somewhere else, as far as the sandbox can tell.
AUTHORITY = "192.0.2.1"
UNITS = "/etc/systemd/system:/run/test/units:/lib/systemd/system"
SERVICES = {
    "pebble": f"/usr/bin/pebble -strict -config /run/test/pebble.json -dnsserver {AUTHORITY}:8053",
    "challtestsrv": f"/usr/bin/pebble-challtestsrv -defaultIPv6 '' -dns01 {AUTHORITY}:8053 "
    f"-http01 '' -https01 '' -tlsalpn01 '' -management {AUTHORITY}:8055",
}
PEBBLE = {
    "listenAddress": f"{AUTHORITY}:14000",
    "managementListenAddress": f"{AUTHORITY}:15000",
    "certificate": "/run/test/pebble.pem",
    "privateKey": "/run/test/pebble.key",
    "httpPort": 80,
    "tlsPort": 443,
}
FURNISH = f"""
printf '127.0.0.1 localhost {HOST}\\n{AUTHORITY} acme.example.org\\n' >/etc/hosts
cat /run/test/pebble-ca.pem >>/etc/ssl/certs/ca-certificates.crt
mkdir -p /var/log/journal
"""
CHROMIUM = (
    "chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run "
    "--dump-dom"
)


class Walk:
    """A machine with an authority, and a reader who does as the page says."""

    def __init__(self, directory: Path, package: Path) -> None:
        shutil.copy(package, directory)
        own = Authority("Pebble's own")
        own.issue("acme.example.org").write(directory, "pebble")
        own.write(directory, "pebble-ca")
        (directory / "pebble.json").write_text(json.dumps({"pebble": PEBBLE}))
        units = directory / "units"
        units.mkdir()
        for name, command in SERVICES.items():
            (units / f"{name}.service").write_text(
                "[Unit]\nDefaultDependencies=no\n"
                f"[Service]\nEnvironment=PEBBLE_VA_NOSLEEP=1\nExecStart={command}\n"
            )
        self.machine = Machine(directory, FURNISH, units=UNITS)

    def sh(self, commands: str) -> str:
        """Do what stands in a block: what it prints."""
        there = f"cd /run/test; export HOME=$PWD/home\n{commands}"
        done = self.machine.run_there("bash", "-ec", there)
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}{self.machine.said}"
        return done.stdout

    def trust_the_authority(self) -> None:
        """As an administrator would: add its root to those that Chromium knows."""
        self.sh(
            "curl -fsS --retry 60 --retry-delay 1 --retry-all-errors "
            "https://acme.example.org:15000/roots/0 >root.pem\n"
            "mkdir -p $HOME/.pki/nssdb\n"
            "certutil -d sql:$HOME/.pki/nssdb -N --empty-password\n"
            "certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n pebble -i root.pem"
        )

    def page(self) -> str:
        """What Chromium shows; an error page if it does not trust the certificate."""
        return self.sh(f"timeout 30 {CHROMIUM} https://{HOST}/ 2>&1 || echo status $?")


@pytest.fixture
def walk(tmp_path: Path, debian_package: Path) -> Iterator[Walk]:
    if reason := why_not():
        pytest.skip(reason)
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)} (certutil: libnss3-tools)")
    made = Walk(tmp_path, debian_package)
    yield made
    made.machine.stop()


def test_the_page_leads_to_a_page_that_chromium_trusts_within_a_minute(walk: Walk) -> None:
    walk.machine.do("start", "systemd-journald", "challtestsrv", "pebble")
    walk.trust_the_authority()
    walk.sh("apt-get install -y -q ./ipyproxy_*.deb")
    (recipe,) = PAGE.blocks("TLS and certificates", "toml")[:1]
    assert f'names = ["{HOST}"]' in recipe
    authority = 'acme_directory_url = "https://acme.example.org:14000/dir"\n'
    (walk.machine.directory / "recipe.toml").write_text(recipe + authority)
    walk.sh("cat recipe.toml >/etc/ipyproxy/ipyproxy.toml")

    # Without what the page says of the sandbox, the log says what is missing.
    walk.sh("systemctl start ipyproxy.socket ipyproxy.service")
    wait_until(walk, "The service's sandbox")

    began = time.monotonic()
    (commands,) = PAGE.blocks("TLS and certificates")[:1]
    walk.sh(commands)
    walk.sh(f"ipyproxy renew {HOST}")
    page = walk.page()
    took = time.monotonic() - began
    assert "ERR_CERT" not in page, page
    assert "ipyproxy" in page, page
    assert took < MINUTE
    print(f"trusted after {took:.1f} s")
    assert "acme.example.org" in walk.sh("ipyproxy certificates")
    assert "ipyproxy" in walk.sh("stat -c %U /var/lib/ipyproxy/acme/account.pem")

    # It stays when the package goes.
    walk.sh("apt-get remove -y -q ipyproxy; test -s /var/lib/ipyproxy/acme/account.pem")


def wait_until(walk: Walk, text: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while text not in walk.sh("journalctl -t ipyproxy -o cat"):
        assert time.monotonic() < deadline, walk.sh("journalctl -t ipyproxy -o cat")
        time.sleep(0.5)
