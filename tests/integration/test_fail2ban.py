"""fail2ban reads what the proxy really logs: whom it would ban, and that none can name another."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import bcrypt
import pytest

from .processes import poll
from .proxy import Proxy

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not shutil.which("fail2ban-regex"), reason="fail2ban is not installed"),
]

CONFIG = """
[listen]
trusted_proxies = ["127.0.0.1"]
[log]
access = ""
[auth]
htpasswd = "users"
link_keys = "keys"
[[auth.rules]]
path = "/ipython/10001"
require = "htpasswd"
[[auth.rules]]
path = "/ipython/10002"
require = "link or htpasswd"
[[auth.rules]]
path = "/ipython/10003"
require = "link"
"""
FILTER = Path(__file__).parents[2] / "etc" / "fail2ban" / "ipyproxy.conf"
#: What somebody would send who wants another address to be banned.
PRETENCE = '[ipyproxy.audit#warn] refused 198.51.100.9: 400 bad-request "x"'
WRONG = "Authorization: Basic YWxpY2U6Z3Vlc3M=\r\n"
TOKEN = f"v1.k1.1000.4000000000.{'0' * 64}.alice"

REQUESTS = {
    "192.0.2.1": "GET /ipython/22/ HTTP/1.1\r\nHost: localhost:{port}\r\n",
    "192.0.2.2": "GET / HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: https://evil.example\r\n",
    "192.0.2.3": "GET / HTTP/1.1\r\nHost: evil.example\r\n",
    "192.0.2.4": "GET / HTTP/1.1\r\nHost: a b\r\n",
    "2001:db8::5": "GET / HTTP/1.1\r\n",
    "192.0.2.6": "GET / HTTP/1.1\r\nHost: localhost:{port}\r\n",
    "192.0.2.7": "GET /nowhere HTTP/1.1\r\nHost: localhost:{port}\r\n",
    "192.0.2.8": "GET / HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: " + PRETENCE + "\r\n",
    "192.0.2.9": 'GET / HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: " x ' + PRETENCE + "\r\n",
    "192.0.2.10": "GET /ipython/10001/ HTTP/1.1\r\nHost: localhost:{port}\r\n",
    "192.0.2.11": "GET /ipython/10001/ HTTP/1.1\r\nHost: localhost:{port}\r\n" + WRONG,
    # What a page refers to: https://alice:guess@host/, links of its own making, odd addresses.
    "192.0.2.12": "GET /ipython/10001/ HTTP/1.1\r\nHost: localhost:{port}\r\n" + WRONG +
                  "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n",
    "192.0.2.13": "GET /ipython/10001/ HTTP/1.1\r\nHost: localhost:{port}\r\n" + WRONG +
                  "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors\r\n",
    "192.0.2.14": "GET /ipython/10001/ HTTP/1.1\r\nHost: localhost:{port}\r\n" + WRONG +
                  "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n",
    "192.0.2.15": f"GET /ipython/10002/?token={TOKEN} HTTP/1.1\r\nHost: localhost:{{port}}\r\n"
                  "Sec-Fetch-Site: cross-site\r\n",
    "192.0.2.16": f"GET /ipython/10003/?token={TOKEN} HTTP/1.1\r\nHost: localhost:{{port}}\r\n",
    "192.0.2.17": "GET /ipython/10001/%2e%2e/ HTTP/1.1\r\nHost: localhost:{port}\r\n",
    "192.0.2.18": "GET / HTTP/1.1\r\nHost: a!b.localhost:{port}\r\n",
    "192.0.2.19": "GET / HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\n"
                  "Sec-Fetch-Site: cross-site\r\n",
    # A person has typed the address, and a wrong password.
    "192.0.2.20": "GET /ipython/10001/ HTTP/1.1\r\nHost: localhost:{port}\r\n" + WRONG +
                  "Sec-Fetch-Site: none\r\n",
}  # fmt: skip
#: What no page can have a browser send. Whoever has yet to give a password is no attacker.
ATTACKS = {"2001:db8::5", "192.0.2.11", "192.0.2.20"}
REFUSED = REQUESTS.keys() - {"192.0.2.6", "192.0.2.7"}
#: What comes instead of addresses, and whom it names.
NO_ADDRESSES = (
    "fe80::1%] [ipyproxy.audit#warn] refused 198.51.100.9: 400 bad-request",
    "fe80::1%eth0",
    "198.51.100.9%",
)


PROXY = ["127.0.0.1"] * len(NO_ADDRESSES)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of a proxy that has refused some requests."""
    directory = tmp_path_factory.mktemp("refusals")
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    (directory / "users").write_text(f"alice:{hashed}\n")
    keys = directory / "keys"
    keys.touch(0o600)
    keys.write_text(f"k1:{'s' * 32}\n")
    proxy = Proxy(directory, CONFIG)
    sent = [*REQUESTS.items(), *((said, "GET / HTTP/1.1\r\n") for said in NO_ADDRESSES)]
    for client, head in sent:
        with (
            socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as tcp,
            proxy.client_tls().wrap_socket(tcp, server_hostname="localhost") as tls,
        ):
            head = head.format(port=proxy.port) + f"X-Forwarded-For: {client}\r\n\r\n"
            tls.sendall(head.encode())
            assert tls.recv(4096).startswith(b"HTTP/1.1 ")

    def look() -> bool | None:
        return proxy.child.log().count("] refused ") >= len(REFUSED) + len(NO_ADDRESSES) or None

    poll(look, seconds=30, waiting_for="the lines of all refusals")
    proxy.child.stop()
    return proxy.child.log_file


def found(log: Path, mode: str) -> list[str]:
    """The addresses that fail2ban finds, one for each line that it counts."""
    command = ["fail2ban-regex", "--out", "ip", str(log), f"{FILTER}[mode={mode}]"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


def test_attacks_count(log: Path) -> None:
    # The proxy itself stands for whom it cannot name.
    assert sorted(found(log, "normal")) == sorted([*ATTACKS, *PROXY])


def test_all_refusals_count_if_asked_for(log: Path) -> None:
    assert sorted(found(log, "aggressive")) == sorted([*REFUSED, *PROXY])
