"""What sslyze and testssl.sh, which know every weakness of TLS by name, say of the proxy."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.certificates import NOW, Authority, rsa_key
from tests.integration.proxy import Proxy

pytestmark = pytest.mark.integration

SSLYZE = Path(__file__).parents[2] / ".venv-sslyze" / "bin" / "sslyze"
TESTSSL = shutil.which("testssl")

#: What testssl.sh finds fault with, and why that is not ours to mend.
BY_DESIGN = {
    "engine_problem": "its own OpenSSL has no GOST",
    "cipher_order": "Mozilla leaves the choice to clients, for all suites are good",
    "cert_revocation": "the test's authority answers no questions",
    "DNS_CAArecord": "localhost is in no zone",
    "HPKP": "a thing of the past",
    "sessionresumption_ticket": "its client hangs up before the tickets of TLS 1.3 come",
}


class Audited(NamedTuple):
    proxy: Proxy
    root: Path

    @property
    def target(self) -> str:
        return f"localhost:{self.proxy.port}"


@pytest.fixture(scope="module", params=["intermediate", "modern"])
def audited(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Audited]:
    """A proxy as it would stand on the internet; the modern profile has no RSA."""
    directory = tmp_path_factory.mktemp(request.param)
    certificates = directory / "tls"
    certificates.mkdir()
    authority, end = Authority("Root"), NOW + timedelta(days=89)
    team = Authority("Team", issuer=authority)
    team.issue("localhost", not_after=end).write(certificates, "ecdsa")
    if request.param == "intermediate":
        team.issue("localhost", key=rsa_key(), not_after=end).write(certificates, "rsa")
    root = authority.write(directory, "root")
    # Whoever tries hundreds of ciphers in a second is otherwise turned away, as it should be.
    limits = "[limits]\nconnection_rate = 0\n"
    # Off by default; an administrator who wants everything switches it on.
    tls = f'{limits}[tls]\ndirectory = "tls"\nprofile = "{request.param}"\nhsts = 63072000\n'
    proxy = Proxy(directory, tls, trusted=root)
    yield Audited(proxy, root)
    proxy.child.stop()


def profile(audited: Audited) -> str:
    return audited.root.parent.name.rstrip("0123456789")


@pytest.mark.skipif(not SSLYZE.exists(), reason="sslyze is missing: make -B .venv-sslyze/.made")
def test_sslyze_finds_it_as_mozilla_recommends(audited: Audited) -> None:
    arguments = ("--certinfo_ca_file", str(audited.root), audited.target)
    done = subprocess.run(
        [SSLYZE, "--mozilla_config", profile(audited), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert f"{audited.target}: OK - Compliant." in done.stdout, done.stdout


def faults(audited: Audited, *checks: str, seconds: float) -> list[str]:
    """What testssl.sh finds fault with."""
    assert TESTSSL is not None
    report = audited.root.with_name("testssl.json")
    report.unlink(missing_ok=True)
    done = subprocess.run(
        [
            *(TESTSSL, "--quiet", "--color", "0", "--warnings", "off", "--ip", "one"),
            *("--add-ca", str(audited.root), "--jsonfile", str(report), *checks),
            audited.target,
        ],
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    found = json.loads(report.read_text())
    assert len(found) > 10, done.stdout
    return [
        f"{finding['id']}: {finding['severity']}: {finding['finding']}"
        for finding in found
        if finding["severity"] not in ("OK", "INFO") and finding["id"].split()[0] not in BY_DESIGN
    ]


needs_testssl = pytest.mark.skipif(TESTSSL is None, reason="Debian's testssl.sh is missing")


@needs_testssl
def test_testssl_finds_no_known_weakness(audited: Audited) -> None:
    if profile(audited) == "modern":
        pytest.skip("the older versions are where the weaknesses are")
    assert faults(audited, "--vulnerable", seconds=300) == []


@pytest.mark.soak
@needs_testssl
def test_testssl_finds_nothing_at_all(audited: Audited) -> None:
    assert faults(audited, seconds=1800) == []
