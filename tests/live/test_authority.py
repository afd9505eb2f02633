"""What else there is to a real authority: revocation, another key, another node, what is new.

Pebble is real, and so is each proxy; what Debian's Pebble does not have is skipped there.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from signal import SIGKILL

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.daemon.running import ROOT

from .certified import Machine, machine, until

pytestmark = pytest.mark.integration

HUB, LAB = "hub.example.org", "lab.example.org"
STAR = "*.notebooks.example.org"


def command(here: Machine, *words: str) -> str:
    """What ``ipyproxy`` says, which is to succeed."""
    program = "import sys; from ipyproxy.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, *words, "--config", here.directory / "ipyproxy.toml"],
        env={"STATE_DIRECTORY": str(here.directory), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr + here.log()
    return done.stdout.strip()


def test_a_certificate_is_revoked_and_the_account_gets_another_key(tmp_path: Path) -> None:
    with machine(tmp_path, {"PEBBLE_WFE_NONCEREJECT": "30"}) as here:
        here.start(here.configuration([HUB]))
        first = here.wait_for(HUB)
        said = command(here, "revoke", HUB)
        assert said.endswith(f"; the one before ({first:x}) is revoked")
        second = here.wait_for(HUB, other_than=first)
        assert here.pebble.is_revoked(first)
        assert not here.pebble.is_revoked(second)

        key = (tmp_path / "acme" / "account.pem").read_bytes()
        assert command(here, "rekey") == "the account has another key"
        assert (tmp_path / "acme" / "account.pem").read_bytes() != key
        # It is still the account that may revoke what it got before.
        command(here, "revoke", HUB, "--compromised")
        here.wait_for(HUB, other_than=second)
        assert here.pebble.is_revoked(second)
        assert HUB in command(here, "certificates")


def test_of_two_nodes_one_gets_and_the_other_serves_it_too(tmp_path: Path) -> None:
    """They share a directory, and the authority finds only one of them."""
    first, second = tmp_path / "first", tmp_path / "second"
    for directory in (first, second):
        directory.mkdir()
    with machine(first, reaches_tls=False) as here:
        there = Machine.beside(here, second)
        (first / "acme").mkdir(mode=0o700)
        (second / "acme").symlink_to(first / "acme")
        for node in (here, there):
            node.start(node.configuration([HUB], listen=node.plain_http()))
        store = here.store(HUB)
        until(lambda: store.attempts(HUB).failures)  # by TLS
        store.ask(HUB)
        serial = here.wait_for(HUB)
        assert there.wait_for(HUB) == serial
        logs = here.log() + there.log()
        assert logs.count(f"got a certificate for {HUB}") == 1

        # Whichever it was: without the other each goes on.
        assert there.proxy is not None
        there.proxy.child.signal(SIGKILL)
        there.proxy.child.wait(20)
        store.ask(HUB)
        until(lambda: here.shown(HUB) not in (None, serial) or store.attempts(HUB).failures)
        if store.attempts(HUB).failures:
            store.ask(HUB)
        renewed = here.wait_for(HUB, other_than=serial)
        there.start(there.configuration([HUB], listen=there.plain_http()))
        assert there.shown(HUB) == renewed
        there.proxy.child.stop()


def test_it_is_renewed_when_the_authority_says_so(tmp_path: Path) -> None:
    with machine(tmp_path) as here:
        here.pebble.require("renewalInfo")
        here.start(here.configuration([HUB]))
        first = here.wait_for(HUB)
        (kept,) = here.store(HUB).load()
        now = datetime.now(UTC)
        window = {
            "suggestedWindow": {
                "start": (now - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "end": (now - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        }
        told = kept.chain[0].public_bytes(Encoding.PEM).decode()
        answer = {"certificate": told, "ariResponse": json.dumps(window)}
        here.pebble.manage("set-renewal-info/", answer)
        # It is asked when the proxy starts.
        assert here.proxy is not None
        here.proxy.child.stop()
        here.start(here.configuration([HUB]))
        here.wait_for(HUB, other_than=first)
        assert re.search('ARI: order ".*" is a replacement of', here.pebble.child.log())


def test_a_profile_and_an_account_that_a_web_site_knows(tmp_path: Path) -> None:
    secret = base64.urlsafe_b64encode(b"s" * 48).decode()
    more = {
        "externalAccountBindingRequired": True,
        "externalAccountMACKeys": {"kid-1": secret},
        "profiles": {
            "default": {"description": "the usual one", "validityPeriod": 7776000},
            "shortlived": {"description": "six days", "validityPeriod": 518400},
        },
    }
    with machine(tmp_path, more=more) as here:
        here.pebble.require("profiles")
        binding = 'eab_kid = "kid-1"', f'eab_hmac = "{secret}"'
        here.start(here.configuration([HUB], *binding, 'acme_profile = "shortlived"'))
        here.wait_for(HUB)
        (kept,) = here.store(HUB).load()
        assert kept.not_after - kept.not_before <= timedelta(days=6)


def test_a_wildcard_by_a_record_that_somebody_has_put_into_the_dns(tmp_path: Path) -> None:
    with machine(tmp_path, more={"caaIdentities": ["pebble.example"]}) as here:
        here.pebble.require("caaIdentities")
        here.start(here.configuration([STAR], "dns_persist = true"))
        store = here.store(STAR)
        until(lambda: store.attempts(STAR).failures)
        said = command(here, "certificates")
        _, _, record = said.partition("once and for all: ")
        name, _, value = record.partition(" TXT ")
        here.pebble.records(name, value.split('"')[1])
        assert "got " in command(here, "renew", STAR)
        here.wait_for("10000.notebooks.example.org")
