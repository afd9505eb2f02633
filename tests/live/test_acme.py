"""Certificates from Pebble: through the real listener, while people are connected."""

from __future__ import annotations

import asyncio
import re
import stat
import time
from functools import partial
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.daemon.running import PATIENCE, Echo, all_move, notebook

from .certified import Machine, machine, until

pytestmark = pytest.mark.integration

HUB, LAB, ASTRAY = "hub.example.org", "lab.example.org", "astray.example.org"
STAR = "*.notebooks.example.org"
WEBSOCKETS = 200

HOOK = """\
#!/bin/sh
case $1 in
set) curl -sf -d "{{\\"host\\":\\"$2.\\",\\"value\\":\\"$3\\"}}" http://127.0.0.1:{port}/set-txt ;;
clear) curl -sf -d "{{\\"host\\":\\"$2.\\"}}" http://127.0.0.1:{port}/clear-txt ;;
esac
"""


def test_a_trusted_page_within_a_minute_of_the_first_start(tmp_path: Path) -> None:
    with machine(tmp_path) as here:
        began = time.monotonic()
        proxy = here.start(here.configuration([HUB]))
        first = here.wait_for(HUB)
        assert time.monotonic() - began < 60
        assert f"got a certificate for {HUB}" in here.log()
        files = [path for path in (tmp_path / "acme").rglob("*") if path.is_file()]
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}

        # It is there at once after a restart, and got anew if all was lost.
        proxy.child.stop()
        proxy = here.start(here.configuration([HUB]))
        assert here.shown(HUB) == first
        proxy.child.stop()
        (tmp_path / "acme").rename(tmp_path / "lost")
        here.start(here.configuration([HUB]))
        here.wait_for(HUB, other_than=first)


def test_while_people_are_connected(tmp_path: Path) -> None:
    """Bad nonces, no authorization used again, a name that leads astray, and a Pebble that dies."""
    faults = {"PEBBLE_WFE_NONCEREJECT": "30", "PEBBLE_AUTHZREUSE": "0"}
    with machine(tmp_path, faults) as here:
        here.pebble.lead_astray(ASTRAY)
        asyncio.run(asyncio.wait_for(_while_people_are_connected(here), 10 * PATIENCE))


async def _while_people_are_connected(here: Machine) -> None:
    async with notebook() as port:
        ports = f'[notebooks]\nports = "{port}"\n[limits]\nconnections_per_port = 256'
        proxy = await asyncio.to_thread(here.start, ports)
        tls = proxy.client_tls()
        url = f"wss://localhost:{here.port}/ipython/{port}/echo"
        echoes = [
            Echo(await connect(url, ssl=tls, proxy=None, ping_interval=None), pause=0.5)
            for _ in range(WEBSOCKETS)
        ]
        await all_move(echoes)

        configuration = here.configuration([ASTRAY, HUB, LAB], ports)
        here.configure(configuration)
        first = await asyncio.to_thread(here.wait_for, HUB)
        lab = await asyncio.to_thread(here.wait_for, LAB)
        await all_move(echoes)
        assert here.shown(ASTRAY) is None
        store = here.store(HUB, LAB, ASTRAY)
        assert "tls-alpn-01 did not convince" in store.attempts(ASTRAY).why

        store.ask(HUB)
        second = await asyncio.to_thread(here.wait_for, HUB, first)
        await all_move(echoes)
        assert here.shown(LAB) == lab

        # An authority that is gone changes nothing, nor does one that has forgotten us.
        here.pebble.child.stop()
        store.ask(HUB)
        await asyncio.to_thread(until, lambda: store.attempts(HUB).failures == 1)
        assert here.shown(HUB) == second
        here.pebble.start()
        here.pebble.write_root(here.root)
        store.ask(HUB)
        await asyncio.to_thread(here.wait_for, HUB, second)
        await all_move(echoes)
        for echo in echoes:
            await echo.end()


def test_by_plain_http_where_tls_is_not_reached_and_a_wildcard_and_an_address(
    tmp_path: Path,
) -> None:
    hook = tmp_path / "hook"
    with machine(tmp_path, reaches_tls=False) as here:
        hook.write_text(HOOK.format(port=here.pebble.dns_management))
        hook.chmod(0o755)
        names = [STAR, HUB, "127.0.0.1"]
        here.start(
            here.configuration(
                names,
                f'dns_hook = "{hook}"',
                'key_type = "rsa"',
                listen=f'http = "tcp:{here.http}:interface=127.0.0.1"',
            )
        )
        here.wait_for("10000.notebooks.example.org")
        store = here.store(*names)
        for name in names[1:]:
            until(partial(lambda name: store.attempts(name).failures, name))
            assert "tls-alpn-01" in store.attempts(name).why
            store.ask(name)  # now, and by the other way
            here.wait_for(name)
        assert re.search(r"certificate: .*127\.0\.0\.1", here.log())


def test_an_address_by_tls(tmp_path: Path) -> None:
    with machine(tmp_path) as here:
        here.start(here.configuration(["127.0.0.1"]))
        here.wait_for("127.0.0.1")
