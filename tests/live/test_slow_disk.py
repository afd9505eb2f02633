"""A disk that is slow, as NFS may be: who needs a file waits for it, and nobody else does."""

from __future__ import annotations

import socket
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from tests.integration.jupyter import notebook_port
from tests.integration.processes import free_port
from tests.integration.proxy import Proxy

from .streams import Stream, browse, request

pytestmark = pytest.mark.integration

DELAY = 1.0
#: Longest wait of a neighbour; two shared processors, and no disk in it.
BEARABLE = 0.5
CONFIG = """
health.mode = "off"
listen.http = "tcp:{http}:interface=127.0.0.1"
listen.acme_directory = "disk/acme"
[auth]
htpasswd = "disk/users"
link_keys = "disk/keys"
[[auth.rules]]
path = "/ipython/{ports[0]}"
require = "htpasswd"
[[auth.rules]]
path = "/ipython/{ports[1]}"
require = "link"
"""
TOKEN = b"evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ"
CHALLENGE = b"/.well-known/acme-challenge/" + TOKEN
LOGIN = b"Authorization: Basic " + b64encode(b"alice:right")


class Disk:
    """The proxy's disk, and the port of its plain HTTP."""

    def __init__(self, directory: Path) -> None:
        disk = directory / "disk"
        challenges = disk / "acme" / ".well-known" / "acme-challenge"
        challenges.mkdir(parents=True)
        (challenges / TOKEN.decode()).write_bytes(b"answer")
        hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
        (disk / "users").write_text(f"alice:{hashed}\n")
        keys = disk / "keys"
        keys.write_text("k1:" + "s" * 40 + "\n")
        keys.chmod(0o640)
        self._mark = disk / "slow"
        self.http = free_port()
        program = str(Path(__file__).with_name("slowdisk.py"))
        twistd = (sys.executable, program, str(self._mark), str(DELAY))
        self.ports = [notebook_port(), notebook_port()]
        config = CONFIG.format(http=self.http, ports=self.ports)
        self.proxy = Proxy(directory, config, twistd=twistd)
        self.tls = self.proxy.client_tls()

    def become_slow(self) -> None:
        """From now on, until the end."""
        self._mark.touch()

    def connect(self) -> Stream:
        """A connection of somebody else than the neighbour."""
        return browse(self.proxy.port, self.tls, source="127.0.0.2")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path)
    yield made
    made.proxy.child.stop()


class Neighbour(threading.Thread):
    """Asks for the front page, for which no file is needed, again and again until it is told.

    :ivar worst: the longest wait, in seconds.
    """

    def __init__(self, disk: Disk) -> None:
        super().__init__(daemon=True)
        self.worst = 0.0
        self.visits = 0
        self._stream = browse(disk.proxy.port, disk.tls)
        self._over = threading.Event()
        self.start()

    def run(self) -> None:
        with self._stream as stream:
            while not self._over.wait(0.02):
                began = time.monotonic()
                stream.say(request(b"HEAD /"))
                assert stream.hear_status() == 200
                self.worst = max(self.worst, time.monotonic() - began)
                self.visits += 1

    def stop(self) -> None:
        self._over.set()
        self.join()


def timed(stream: Stream, start: bytes, *lines: bytes) -> tuple[int, float]:
    """The status of an answer, and the seconds that it took."""
    began = time.monotonic()
    stream.say(request(start, *lines))
    status = stream.hear_status()
    stream.close()
    return status, time.monotonic() - began


def plain(disk: Disk) -> Stream:
    """A connection to the plain HTTP."""
    return Stream(socket.create_connection(("127.0.0.1", disk.http), 20, ("127.0.0.2", 0)))


def test_only_those_wait_who_need_a_file(disk: Disk) -> None:
    # Nobody listens at the notebooks' ports, and whoever may pass hears of that.
    by_password, by_link = (b"GET /ipython/%d/" % port for port in disk.ports)
    assert timed(disk.connect(), by_password, LOGIN)[0] == 503
    disk.become_slow()
    time.sleep(1.1)  # what was seen of the file counts for a second
    neighbour = Neighbour(disk)
    for status, seconds in (
        timed(disk.connect(), by_password, LOGIN),
        timed(disk.connect(), by_link, b"Cookie: x"),
        timed(plain(disk), b"GET " + CHALLENGE),
    ):
        print(f"{status} after {seconds:.2f} s")
        assert status in (503, 403, 200)
        assert seconds >= DELAY
    neighbour.stop()
    print(f"the neighbour waited {neighbour.worst:.3f} s of {neighbour.visits} times")
    assert neighbour.visits > 20
    assert neighbour.worst < BEARABLE
