"""docs/from-apache.md, walked by its own commands, on a machine where Apache serves notebooks.

Apache with the original recipe, certbot, the built package and systemd are real; the notebook is a
stand-in. Somebody asks for it all the time, and no step may keep him waiting but the one that swaps
one server for the other.
"""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.client import HTTPException, HTTPSConnection
from pathlib import Path

import pytest

from tests.certificates import Authority

from .machine import Machine, why_not
from .pages import Page
from .running import PATIENCE

pytestmark = pytest.mark.integration

HOST = "hub.example.org"
PAGE = Page("from-apache.md")
NEEDED = ("apache2", "apt-get", "certbot", "curl", "journalctl", "pebble", "pebble-challtestsrv")
AWAY = 15.0
"""Seconds for which the swap may keep somebody waiting, on a machine that has a lot else to do."""

# systemd's own units come after the page's and the machine's.
UNITS = "/etc/systemd/system:/run/test/units:/lib/systemd/system"
SERVICES = {
    "notebook": "/usr/bin/python3 /run/test/notebook.py",
    "pebble": "/usr/bin/pebble -config /run/test/pebble.json -dnsserver 127.0.0.1:8053",
    "challtestsrv": "/usr/bin/pebble-challtestsrv -defaultIPv6 '' -dns01 127.0.0.1:8053 "
    "-http01 '' -https01 '' -tlsalpn01 '' -management 127.0.0.1:8055",
}
STAND_IN = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Notebook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        known = self.path == "/ipython/10000/api"
        self.send_response(200 if known else 403)
        body = b'{"version": "2.14.2"}' if known else b"{}"
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Seen", self.headers["Host"])
        self.end_headers()
        self.wfile.write(body)

ThreadingHTTPServer(("127.0.0.1", 10000), Notebook).serve_forever()
"""
VIRTUAL_HOST = """
ServerName {host}
Listen 443
<VirtualHost *:443>
SSLEngine on
SSLCertificateFile /etc/letsencrypt/live/{host}/fullchain.pem
SSLCertificateKeyFile /etc/letsencrypt/live/{host}/privkey.pem
{rules}
</VirtualHost>
"""
FURNISH = f"""
echo 127.0.0.1 localhost {HOST} >/etc/hosts
cat /run/test/pebble-ca.pem >>/etc/ssl/certs/ca-certificates.crt
rm -rf /etc/letsencrypt /etc/apache2/sites-enabled
mkdir -p /etc/letsencrypt /etc/apache2/sites-enabled /var/www/html /var/log/journal
cp /run/test/cli.ini /etc/letsencrypt/
"""
CLI_INI = """
server = https://localhost:14000/dir
agree-tos = true
register-unsafely-without-email = true
"""
PEBBLE = {
    "listenAddress": "127.0.0.1:14000",
    "managementListenAddress": "127.0.0.1:15000",
    "certificate": "/run/test/pebble.pem",
    "privateKey": "/run/test/pebble.key",
    "httpPort": 80,
    "tlsPort": 443,
}


class Visitor:
    """Somebody who asks for the notebook all the time.

    :ivar told: the Host that the notebook hears: Apache's recipe and ipyproxy differ in it.
    :ivar waits: for each time that it could not be had, for how many seconds.
    """

    def __init__(self, machine: Machine, authority: Path) -> None:
        self.answers = 0
        self.told = ""
        self.waits: list[float] = []
        self._machine = machine
        self._tls = ssl.create_default_context(cafile=authority)
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._ask_on)
        self._thread.start()

    def _ask_on(self) -> None:
        self._machine.enter_network()
        missing_since = None
        while not self._leaving.wait(0.05):
            try:
                self._ask()
            except (OSError, HTTPException):
                missing_since = missing_since or time.monotonic()
            else:
                self.answers += 1
                if missing_since:
                    self.waits.append(time.monotonic() - missing_since)
                    missing_since = None

    def _ask(self) -> None:
        # The name is known on the machine only.
        with socket.create_connection(("127.0.0.1", 443), timeout=5) as tcp:
            connection = HTTPSConnection(HOST)
            connection.sock = self._tls.wrap_socket(tcp, server_hostname=HOST)
            connection.request("GET", "/ipython/10000/api")
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200 or b"version" not in body:
                raise OSError(f"{answer.status}: {body!r}")
            self.told = answer.headers["X-Seen"]

    def is_served(self) -> None:
        """Wait until two more answers have come."""
        wanted, deadline = self.answers + 2, time.monotonic() + PATIENCE
        while self.answers < wanted:
            assert time.monotonic() < deadline, "the notebook cannot be had"
            time.sleep(0.05)

    def leave(self) -> None:
        self._leaving.set()
        self._thread.join()


class Walk:
    """A machine with Apache, a notebook and certbot, and a reader who does as the page says."""

    def __init__(self, directory: Path, package: Path) -> None:
        shutil.copy(package, directory)
        own = Authority("Pebble's own")
        own.issue("localhost").write(directory, "pebble")
        own.write(directory, "pebble-ca")
        (directory / "pebble.json").write_text(json.dumps({"pebble": PEBBLE}))
        (directory / "notebook.py").write_text(STAND_IN)
        (directory / "cli.ini").write_text(CLI_INI)
        units = directory / "units"
        units.mkdir()
        for name, command in SERVICES.items():
            (units / f"{name}.service").write_text(
                "[Unit]\nDefaultDependencies=no\n"
                f"[Service]\nEnvironment=PEBBLE_VA_NOSLEEP=1\nExecStart={command}\n"
            )
        self.directory = directory
        self.machine = Machine(directory, FURNISH, units=UNITS)

    def sh(self, commands: str) -> str:
        """Do what stands in a block: what it prints."""
        done = self.machine.run_there("bash", "-ec", f"cd /run/test; export HOME=/root\n{commands}")
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}{self.machine.said}"
        return done.stdout

    def step(self, heading: str) -> str:
        """Do all that a section of the page says."""
        blocks = PAGE.blocks(heading)
        assert blocks, heading
        return "".join(map(self.sh, blocks))

    def use_apache_with(self, rules: str) -> None:
        site = self.directory / "site.conf"
        site.write_text(VIRTUAL_HOST.format(host=HOST, rules=rules))
        self.sh(
            "a2enmod -q ssl rewrite proxy proxy_http proxy_wstunnel headers\n"
            "cp site.conf /etc/apache2/sites-enabled/\n"
            # Apache's file says that it listens there, unless a module is missing.
            "echo Listen 80 >/etc/apache2/ports.conf\n"
            "systemctl restart apache2"
        )

    def get_certificate(self) -> Path:
        """What certbot had got for Apache before; gives whose it is."""
        self.sh(
            "echo Listen 80 >/etc/apache2/ports.conf; systemctl start apache2\n"
            "curl -fsS --retry 60 --retry-delay 1 --retry-all-errors https://localhost:14000/dir\n"
            f"certbot certonly -n --webroot -w /var/www/html -d {HOST}\n"
            "curl -fsS https://localhost:15000/roots/0 >root.pem\n"
            "cat root.pem >>/etc/ssl/certs/ca-certificates.crt"
        )
        return self.directory / "root.pem"


@pytest.fixture
def walk(tmp_path: Path, debian_package: Path) -> Iterator[Walk]:
    if reason := why_not():
        pytest.skip(reason)
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    made = Walk(tmp_path, debian_package)
    yield made
    made.machine.stop()


def test_the_page_leads_from_apache_to_ipyproxy_and_back(walk: Walk) -> None:
    machine = walk.machine
    machine.do("start", "systemd-journald", "notebook", "challtestsrv", "pebble")
    root = walk.get_certificate()
    (recipe,) = PAGE.blocks("From Apache", "apache")[:1]
    walk.use_apache_with(recipe)
    visitor = Visitor(machine, root)
    try:
        visitor.is_served()
        for heading in ("1. Install", "2. Copy", "3. Configure"):
            walk.step(heading)
        assert "serving" in walk.step("4. Start it")
        visitor.is_served()
        assert visitor.waits == [], "a step before the swap was felt"

        assert "serving" in walk.step("5. Stop Apache")
        visitor.is_served()
        assert visitor.told == "127.0.0.1:10000"
        assert max(visitor.waits) < AWAY
        visitor.waits.clear()
        walk.step("6. Renew")
        visitor.is_served()
        assert visitor.waits == [], "the renewal was felt"
        the_journal_is_in_order(walk)

        an_upgrade_is_not_felt(walk, visitor)

        walk.step("Switching back")
        visitor.is_served()
        assert visitor.told == "localhost:10000"

        walk.step("Apache, or another")
        (rules,) = PAGE.blocks("Apache, or another", "apache")
        walk.use_apache_with(rules)
        visitor.is_served()
        assert visitor.told == "127.0.0.1:10000"
        assert max(visitor.waits) < AWAY
    finally:
        visitor.leave()


def an_upgrade_is_not_felt(walk: Walk, visitor: Visitor) -> None:
    """As docs/operations.md tells it, and back again."""
    machine = walk.machine
    (there,) = Page("operations.md").blocks("Upgrade without")
    old, new = "ipyproxy.service", "ipyproxy@standin.service"
    back = there.replace("ipyproxy@standin", "OLD").replace("QUIT ipyproxy", f"QUIT {new}")
    back = back.replace("OLD", old)
    for commands, leaving, coming in (there, old, new), (back, new, old):
        walk.sh(commands)
        deadline = time.monotonic() + PATIENCE
        while machine.show("ActiveState", leaving) != "inactive":
            assert time.monotonic() < deadline, f"{leaving} does not end"
            time.sleep(0.1)
        assert machine.show("Result", leaving) == "success"
        assert machine.show("ActiveState", coming) == "active"
        visitor.is_served()
    walk.sh("for _ in $(seq 50); do ipyproxy status && exit; sleep 0.2; done; exit 1")
    assert visitor.waits == [], "the upgrade was felt"


def the_journal_is_in_order(walk: Walk) -> None:
    """One time a line, which is the journal's own, and a refused reload is an error."""
    walk.sh("journalctl --flush || true")
    lines = walk.sh("journalctl -t ipyproxy -o cat").splitlines()
    assert any("leads to http://127.0.0.1:<port>" in line for line in lines), lines
    assert not [line for line in lines if "Factory" in line or " object at " in line]
    walk.sh("echo 'no toml' >>/etc/ipyproxy/ipyproxy.toml")
    refused = walk.machine.ask("reload", "ipyproxy")
    assert refused.returncode != 0
    walk.sh("sed -i '$d' /etc/ipyproxy/ipyproxy.toml; systemctl reload ipyproxy")
    errors = walk.sh("journalctl -t ipyproxy -p err -o cat").splitlines()
    assert errors, "nothing is an error"
    assert all("NOT RELOADED" in line for line in errors), errors
