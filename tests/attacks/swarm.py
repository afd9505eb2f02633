"""Many hostile connections of one client, from one process, as fast as the other side takes it.

Knows sockets and TLS, and what a process of an attack says: ``ready`` when all connections are
open, and, some seconds after a line came on standard input, its figures as JSON. Knows nothing of
what is sent: a :class:`Plan` says so.
"""

from __future__ import annotations

import collections
import json
import os
import re
import selectors
import socket
import ssl
import sys
import time
from dataclasses import dataclass

_STATUS = re.compile(rb"HTTP/1\.1 (\d\d\d)")
_PIECE = 262144
_READS = 8
_UNSENT = 65536
_MOST_REOPENED = 50
"""Connections a second that are opened again, once the proxy has closed them."""
_OPENS_WITHIN = 30.0
_CONNECTS_WITHIN = 1.0
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_BOTH = _READ | _WRITE


@dataclass(frozen=True)
class Plan:
    """What each connection does.

    :param opening: is sent first; ``answered``: and an answer waited for before anything else.
    :param payload: is sent again and again.
    :param pace: bytes a second on each connection; 0: at full speed.
    :param reads: whether answers are read.
    :param request_size: bytes of one request in *payload*; 0: those of one answer say nothing.
    :param tls: whether it shakes hands first.
    """

    connections: int
    payload: tuple[bytes, ...]
    opening: tuple[bytes, ...] = (b"",)
    answered: bool = False
    pace: float = 0.0
    reads: bool = True
    request_size: int = 0
    tls: bool = True


class Enemy:
    """One connection; ``number`` chooses its opening and its payload."""

    def __init__(self, plan: Plan, number: int, sock: socket.socket) -> None:
        self.number = number
        self.socket = sock
        self.payload = plan.payload[number % len(plan.payload)]
        self.left = plan.opening[number % len(plan.opening)]
        self.opened = False
        self.waits = False
        self.began = 0.0
        self.sent = 0


class Swarm:
    """All of them.

    :ivar figures: bytes sent and received (within TLS), and connections opened and closed.
    """

    def __init__(self, plan: Plan, port: int, sources: list[str]) -> None:
        self._plan = plan
        self._address = ("127.0.0.1", port)
        self._sources = sources
        self._tls = ssl.create_default_context()
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE
        self._selector = selectors.DefaultSelector()
        self._buffer = bytearray(_PIECE)
        self._gone: collections.deque[int] = collections.deque()
        self._sends = False
        self.figures = dict.fromkeys(("sent", "received", "opened", "closed"), 0)
        self.statuses: collections.Counter[str] = collections.Counter()

    # Opening.

    def open_all(self) -> None:
        """Connect all, and shake hands; those that fail are left to :meth:`attack`."""
        for number in range(self._plan.connections):
            self._open(number)
        deadline = time.monotonic() + _OPENS_WITHIN
        while time.monotonic() < deadline and not self._are_open():
            self._turn(0.05)

    def _are_open(self) -> bool:
        enemies = [key.data for key in self._selector.get_map().values()]
        return all(enemy.opened and not enemy.waits and not enemy.left for enemy in enemies)

    def _open(self, number: int) -> None:
        source = (self._sources[number % len(self._sources)], 0)
        try:
            tcp = socket.create_connection(self._address, _CONNECTS_WITHIN, source)
        except OSError:
            self._gone.append(number)
            return
        # So that what counts as sent is not far from what the proxy has taken.
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNSENT)
        tcp.setblocking(False)
        if self._plan.tls:
            tcp = self._tls.wrap_socket(
                tcp, server_hostname="localhost", do_handshake_on_connect=False
            )
        self._selector.register(tcp, _BOTH, Enemy(self._plan, number, tcp))

    def _close(self, enemy: Enemy) -> None:
        self.figures["closed"] += 1
        self._selector.unregister(enemy.socket)
        enemy.socket.close()
        self._gone.append(enemy.number)

    # Attacking.

    def attack(self, seconds: float) -> None:
        """Send for so long."""
        self._sends = True
        for key in list(self._selector.get_map().values()):
            self._go_on(key.data)
        began = time.monotonic()
        reopened = 0
        while (passed := time.monotonic() - began) < seconds:
            while self._gone and reopened < _MOST_REOPENED * passed:
                reopened += 1
                self._open(self._gone.popleft())
            self._turn(0.02)

    def _turn(self, patience: float) -> None:
        for key, events in self._selector.select(patience):
            try:
                self._serve(key.data, events)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                pass
            except (OSError, EOFError):
                self._close(key.data)
        if self._plan.pace:
            time.sleep(patience)

    def _serve(self, enemy: Enemy, events: int) -> None:
        if not enemy.opened:
            self._shake_hands(enemy)
        if events & _READ and (self._plan.reads or enemy.waits):
            self._read(enemy)
        if events & _WRITE and not enemy.waits:
            self._write(enemy)

    def _shake_hands(self, enemy: Enemy) -> None:
        try:
            if isinstance(enemy.socket, ssl.SSLSocket):
                enemy.socket.do_handshake()
        except ssl.SSLWantReadError:
            self._watch(enemy, _READ)
            raise
        enemy.opened = True
        enemy.began = time.monotonic()
        self.figures["opened"] += 1
        self._go_on(enemy)

    def _go_on(self, enemy: Enemy) -> None:
        if enemy.opened and not enemy.waits:
            self._watch(enemy, _BOTH if self._plan.reads else _WRITE)

    def _watch(self, enemy: Enemy, events: int) -> None:
        self._selector.modify(enemy.socket, events, enemy)

    def _read(self, enemy: Enemy) -> None:
        for _ in range(_READS):
            try:
                size = enemy.socket.recv_into(self._buffer)
            except ssl.SSLWantReadError:
                return
            if not size:
                raise EOFError("the proxy has closed it")
            self.figures["received"] += size
            self.statuses.update(
                status.decode() for status in _STATUS.findall(memoryview(self._buffer)[:size])
            )
            if enemy.waits:
                enemy.waits = False
                self._go_on(enemy)

    def _write(self, enemy: Enemy) -> None:
        if not enemy.left:
            if not self._sends or self._is_early(enemy):
                if not self._plan.pace:
                    self._watch(enemy, _READ)
                return
            enemy.left = enemy.payload
        sent = enemy.socket.send(enemy.left)
        if not enemy.sent and self._plan.answered and sent == len(enemy.left):
            enemy.waits = True
            self._watch(enemy, _READ)
        enemy.left = enemy.left[sent:]
        enemy.sent += sent
        self.figures["sent"] += sent

    def _is_early(self, enemy: Enemy) -> bool:
        passed = time.monotonic() - enemy.began
        return bool(self._plan.pace) and enemy.sent > self._plan.pace * passed


def run(plan: Plan, port: int, sources: list[str], seconds: float, nice: int) -> None:
    """Be a process of an attack; see the module."""
    os.nice(nice)
    swarm = Swarm(plan, port, sources)
    swarm.open_all()
    print("ready", flush=True)
    sys.stdin.readline()
    swarm.attack(seconds)
    asked = swarm.statuses.total() * plan.request_size
    told = {**swarm.figures, "asked": asked, "statuses": dict(swarm.statuses)}
    print(json.dumps(told), flush=True)
