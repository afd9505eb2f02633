"""The attacks: what each sends, what it wants of the proxy, and how long a good user may wait.

One function each says what is sent, as a :class:`~tests.attacks.swarm.Plan`; floods of records
without data are made in ``keyfloods``. ``python -m tests.attacks.attacks NAME ARGUMENTS`` is the
process of an attack.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass

from tests.attacks.swarm import Plan, run

_PIECE = 65536
_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


@dataclass(frozen=True)
class Scene:
    """Where an attack takes place.

    :param own: the port of the good user's notebook; ``others``: ports of other notebooks.
    """

    port: int
    own: int
    others: tuple[int, ...]


def _request(start: str, *lines: str) -> bytes:
    return "\r\n".join([f"{start} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def _piece(what: bytes) -> bytes:
    return what * (_PIECE // len(what))


def split_hellos(scene: Scene) -> Plan:
    """One long message of the handshake, in records of one byte, on 64 connections."""
    hello = b"\x01" + (131000).to_bytes(3) + bytes(131000)
    records = b"".join(b"\x16\x03\x01\x00\x01%c" % byte for byte in hello)
    return Plan(64, (records,), tls=False)


def pipelined(scene: Scene) -> Plan:
    """Requests that the proxy answers itself, 1,500 in one read, on 256 connections."""
    request = _request("GET /x")
    return Plan(256, (_piece(request),), request_size=len(request))


def pipelined_unread(scene: Scene) -> Plan:
    """The same, and no answer is ever read."""
    return Plan(256, (_piece(_request("GET /x")),), reads=False)


def pipelined_pages(scene: Scene) -> Plan:
    """Requests for pages of notebooks."""
    pages = [_request(f"GET /ipython/{port}/") for port in scene.others]
    return Plan(256, tuple(map(_piece, pages)), request_size=len(pages[0]))


def tiny_chunks(scene: Scene) -> Plan:
    """240 uploads in chunks of one byte."""
    heads = (
        _request(f"POST /ipython/{port}/login", "Transfer-Encoding: chunked")
        for port in scene.others
    )
    return Plan(240, (_piece(b"1\r\nx\r\n"),), tuple(heads))


def _websockets(scene: Scene, frame: bytes) -> Plan:
    heads = (
        _request(
            f"GET /ipython/{port}/ws",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {_KEY.decode()}",
        )
        for port in scene.others
    )
    return Plan(240, (_piece(frame),), tuple(heads), answered=True)


def empty_pings(scene: Scene) -> Plan:
    """240 WebSockets on which empty pings come."""
    return _websockets(scene, b"\x89\x80mask")


def tiny_frames(scene: Scene) -> Plan:
    """240 WebSockets on which messages of one byte come."""
    return _websockets(scene, b"\x82\x81maskx")


def slow_uploads(scene: Scene) -> Plan:
    """128 uploads to the login page of the good user's own notebook, just above 512 bytes/s."""
    head = _request(f"POST /ipython/{scene.own}/login", "Content-Length: 10000000")
    return Plan(128, (bytes(160),), (head,), pace=640)


def _large_fields(*paths: str) -> Plan:
    field = b"User-Agent: " + b"\xff" * 15360
    requests = [
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\n".encode() + field + b"\r\n\r\n"
        for path in paths
    ]
    return Plan(16, tuple(4 * one for one in requests), request_size=len(requests[0]))


def large_fields(scene: Scene) -> Plan:
    """Requests for pages with a field of 15 KiB that a log has to escape, on 16 connections."""
    return _large_fields(*(f"/ipython/{port}/" for port in scene.others))


def large_fields_refused(scene: Scene) -> Plan:
    """The same for what is not there."""
    return _large_fields("/x")


def steady_load(scene: Scene) -> Plan:
    """Not hostile: ten requests a second on each of 16 connections."""
    pages = [_request(f"GET /ipython/{port}/") for port in scene.others]
    return Plan(16, tuple(pages), pace=10.0 * len(pages[0]), request_size=len(pages[0]))


SWARMS: dict[str, Callable[[Scene], Plan]] = {
    made.__name__: made
    for made in (
        split_hellos,
        pipelined,
        pipelined_unread,
        pipelined_pages,
        tiny_chunks,
        empty_pings,
        tiny_frames,
        slow_uploads,
        large_fields,
        large_fields_refused,
        steady_load,
    )
}


@dataclass(frozen=True)
class Attack:
    """One row of the table.

    :param kind: 1 to 6; see docs/security.md.
    :param bound: longest wait of the good user, in seconds.
    :param swarm: what a swarm does; "" for a flood of records.
    :param sources: how many addresses the attacker has.
    :param limited: whether a client's rate of requests is limited.
    :param version: of TLS, for a flood of records; ``notebook``: whether a notebook floods;
        ``split``: whether it sends its session tickets byte by byte.
    :param steps: seconds by which the wall clock is stepped during the attack.
    """

    kind: int
    name: str
    title: str
    bound: float
    swarm: str = ""
    sources: int = 1
    limited: bool = True
    version: str = ""
    notebook: bool = False
    split: bool = False
    steps: tuple[float, ...] = ()


ATTACKS = (
    Attack(1, "key-updates", "KeyUpdate, TLS 1.3, a client", 0.2, version="1.3"),
    Attack(1, "renegotiation", "ClientHello, TLS 1.2, a client", 0.2, version="1.2"),
    Attack(
        1, "key-updates-notebook", "KeyUpdate, TLS 1.3, a notebook", 0.2,
        version="1.3", notebook=True,
    ),
    Attack(
        1, "hello-requests", "HelloRequest, TLS 1.2, a notebook", 0.2,
        version="1.2", notebook=True,
    ),
    Attack(
        1, "split-tickets", "session tickets in 1-byte records, a notebook", 0.2,
        version="1.3", notebook=True, split=True,
    ),
    Attack(
        1, "split-hellos", "ClientHello in 1-byte records, 64 connections", 0.2, "split_hellos"
    ),
    Attack(2, "pipelined", "pipelined, 256 connections", 0.3, "pipelined", limited=False),
    Attack(
        2, "pipelined-unread", "pipelined, answers not read", 0.3, "pipelined_unread",
        limited=False,
    ),
    Attack(
        2, "pipelined-pages", "pipelined, pages of notebooks", 0.3, "pipelined_pages",
        limited=False,
    ),
    Attack(2, "pipelined-429", "pipelined, far above the rate", 0.3, "pipelined"),
    Attack(3, "tiny-chunks", "240 uploads in 1-byte chunks", 0.5, "tiny_chunks"),
    Attack(3, "empty-pings", "240 WebSockets, empty pings", 0.5, "empty_pings"),
    Attack(3, "tiny-frames", "240 WebSockets, 1-byte messages", 0.5, "tiny_frames"),
    Attack(4, "slow-uploads", "128 slow uploads to a login page", 1.0, "slow_uploads"),
    Attack(
        4, "slow-uploads-8", "the same from 8 addresses", 1.0, "slow_uploads", sources=8
    ),
    Attack(5, "clock-back-1h", "clock stepped by -1 h", 0.5, "steady_load", steps=(-3600.0,)),
    Attack(5, "clock-back-90s", "clock stepped by -90 s", 0.5, "steady_load", steps=(-90.0,)),
    Attack(5, "clock-ahead-1h", "clock stepped by +1 h", 0.5, "steady_load", steps=(3600.0,)),
    Attack(6, "log-fields", "fields of 15 KiB, all escaped", 0.3, "large_fields"),
    Attack(6, "log-fields-refused", "the same, refused", 0.3, "large_fields_refused"),
    Attack(
        6, "log-fields-fast", "pages, no limit on the rate", 0.3, "large_fields", limited=False
    ),
)  # fmt: skip


def main(name: str, arguments: str) -> None:
    """See the module."""
    told = json.loads(arguments)
    scene = Scene(told["port"], told["own"], tuple(told["others"]))
    run(SWARMS[name](scene), scene.port, told["sources"], told["seconds"], told["nice"])


if __name__ == "__main__":
    main(*sys.argv[1:])
