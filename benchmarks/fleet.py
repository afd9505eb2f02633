"""What many nodes on one PostgreSQL cost, by simulation: nodes are connections that LISTEN.

``python -m benchmarks.fleet [--nodes 10 100 500] [--rows 1000000] [--seconds 5]``. Prints the
tables of docs/fleet.md's section on sizing. The server is Debian's, with fsync off; it, the writer
and the nodes share this machine.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import selectors
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from psycopg import pq

from ipyproxy.daemon.live import LiveRoutes
from ipyproxy.database.place import PostgreSQL
from ipyproxy.galaxy.entries import KEY_TYPE, Reader, Row, read_part
from ipyproxy.galaxy.postgresql import _PART, _STATE, PostgreSQLSource
from ipyproxy.galaxy.source import Part
from ipyproxy.galaxy.spelling import read_place
from ipyproxy.net.address import TCPAddress
from ipyproxy.routes.route import Application, Route, Server
from tests.galaxy.writing import TABLE, TELLING, UNTELLING, info
from tests.integration.postgres import Database
from tests.live.counted import resident

LARGEST_FLEET = 1000
PACE = 50
"""Changes a second, where the writer is held back."""


def row(number: int) -> tuple[str, str, str, str, int, str]:
    """A row as Galaxy writes it: keys of 16 letters, tokens of 32."""
    key, token = f"{number:016x}", f"{number:032x}"
    return key, KEY_TYPE, token, f"10.{number >> 16 & 255}.{number >> 8 & 255}.7", 8888, info()


# On paper: the tables of one node.


@dataclass
class Cost:
    """What a number of things takes."""

    what: str
    count: int
    seconds: float
    grown: int

    def __str__(self) -> str:
        each = self.seconds / self.count
        return (
            f"{self.what}: {self.grown / self.count:,.0f} bytes and {each * 1e6:.2f} µs each; "
            f"{self.count:,} take {self.grown / 2**20:,.0f} MiB and {self.seconds:.1f} s"
        )


def cost(what: str, count: int, work: Callable[[], object]) -> tuple[Cost, Any]:
    gc.collect()
    before, began = resident(), time.process_time()
    kept = work()
    took = time.process_time() - began
    gc.collect()
    return Cost(what, count, took, resident() - before), kept


def tables(count: int) -> Iterator[str]:
    """Memory and time of the two tables that a node has."""

    def read() -> object:
        reader = Reader()
        return reader, reader.read(Row(*row(n)) for n in range(count))

    yield str(cost("a tool of Galaxy's map", count, read)[0])
    live: Any = LiveRoutes(None, None)  # type: ignore[arg-type]
    routes = [(b"/user/u%07d" % n, TCPAddress("10.1.2.3", 1024 + n % 60000)) for n in range(count)]

    def put() -> None:
        for path, address in routes:
            server = Server(str(address), address)
            live.put(b"", path, Route(Application((server,)), "", path.decode()))

    yield str(cost("a route of JupyterHub's that nobody uses", count, put)[0])
    some = routes[:: max(1, count // 100_000)]

    def change() -> None:
        for path, address in some:
            live.remove(b"", path)
            server = Server(str(address), address)
            live.put(b"", path, Route(Application((server,)), "", path.decode()))

    yield str(cost("to remove and add such a route", len(some), change)[0])


# The nodes: one process with many connections.


def listen(url: str, nodes: int, told: Any) -> None:
    """Be so many nodes, until a change says ``end``; tell what was heard, and how late."""
    selector = selectors.EpollSelector()
    for _ in range(nodes):
        connection = pq.PGconn.connect(url.encode())
        assert connection.status == pq.ConnStatus.OK, connection.error_message
        connection.exec_(b"LISTEN gxitproxy")
        connection.nonblocking = 1
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    told.send("ready")
    late: list[float] = []
    ended = 0
    while ended < nodes:
        for key, _ in selector.select():
            connection = key.data
            connection.consume_input()
            while (heard := connection.notifies()) is not None:
                word = heard.extra
                if word == b"end":
                    ended += 1
                elif word.startswith(b"@"):
                    late.append(time.monotonic() - float(word[1:]))
    told.send((len(late), median(late or [0]), max(late or [0])))
    told.recv()  # to go is work for the server, which nobody wants to measure


@dataclass
class Heard:
    """What nodes heard of changes in a while."""

    nodes: int
    changes: int
    seconds: float
    delivered: int
    median: float
    worst: float
    cpu: float
    """Seconds of the processor that the server took for one change."""

    def __str__(self) -> str:
        rate = self.changes / self.seconds
        return (
            f"| {self.nodes} | {rate:,.0f} | {self.delivered / self.seconds:,.0f} | "
            f"{self.median * 1000:.1f} | {self.worst * 1000:.0f} | {self.cpu * 1000:.2f} |"
        )


def churn(database: Database, url: str, nodes: int, seconds: float, pace: float) -> Heard:
    """Write for a while as Galaxy does, with ``pace`` changes a second; 0: as many as can be."""
    ours, theirs = multiprocessing.Pipe()
    listening = multiprocessing.Process(target=listen, args=(url, nodes, theirs))
    listening.start()
    assert ours.recv() == "ready"
    with psycopg.connect(url, autocommit=True) as connection:
        used, began, at = _cpu(database), time.monotonic(), 0
        while (elapsed := time.monotonic() - began) < seconds:
            with connection.transaction():
                key, *rest = row(at % 10_000)
                connection.execute("DELETE FROM gxitproxy WHERE key = %s", (key,))
                connection.execute(
                    "INSERT INTO gxitproxy VALUES (%s, %s, %s, %s, %s, %s)", (key, *rest)
                )
                word = f"@{time.monotonic()}"
                connection.execute("SELECT pg_notify('gxitproxy', %s)", (word,))
            at += 1
            if pace:
                time.sleep(max(0.0, at / pace - elapsed))
        connection.execute("NOTIFY gxitproxy, 'end'")
        delivered, middle, worst = ours.recv()
        took, cpu = time.monotonic() - began, (_cpu(database) - used) / at
    ours.send("go")
    listening.join()
    return Heard(nodes, at, took, delivered, middle, worst, cpu)


def _cpu(database: Database) -> float:
    """Processor seconds of the server: its processes, and those that have ended."""
    server = database.server.pid
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    ticks = sum(_ticks(server))
    for pid in children:
        with suppress(FileNotFoundError):  # it has just ended
            ticks += sum(_ticks(int(pid))[:2])
    return ticks / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> list[int]:
    """Of a process's own in user and kernel mode, and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(field) for field in fields[11:15]]


# A whole reading of a large map.


def reading(database: Database, url: str, rows: int) -> Iterator[str]:
    """What it costs the server, and us, to read all of a map."""
    place = read_place(url)
    assert isinstance(place, PostgreSQL)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE gxitproxy")
        connection.execute("ALTER TABLE gxitproxy DISABLE TRIGGER USER")
        with connection.cursor().copy("COPY gxitproxy FROM STDIN") as copying:
            for number in range(rows):
                copying.write_row(row(number))
        connection.execute("ALTER TABLE gxitproxy ENABLE TRIGGER USER")
        connection.execute("VACUUM ANALYZE gxitproxy")
        # A DataRow has 7 bytes, and 4 for each column (the protocol's section 55.7).
        size = "sum(31 + length(key) + length(key_type) + length(token) + length(host) + 4 + "
        size += "length(info))"
        sent = connection.execute(f"SELECT {size} FROM gxitproxy").fetchone()
        assert sent is not None
    source = PostgreSQLSource(place.conninfo)
    reader = Reader()

    def look(what: str) -> str:
        used, own, began = _cpu(database), time.process_time(), time.monotonic()
        found = source.look()
        took = time.monotonic() - began
        if isinstance(found, Part):
            read_part(found.keys, found.rows)
        elif found is not None:
            reader.read(found)
        return (
            f"{what}: {took:.2f} s, of the server's processor {_cpu(database) - used:.2f} s, of "
            f"ours {time.process_time() - own:.2f} s"
        )

    yield look("first look") + f"; {sent[0] / 2**20:,.0f} MiB of rows"
    yield look("next look, nothing new")
    database.sql(f"DELETE FROM gxitproxy WHERE key = '{row(5)[0]}'")
    yield look("next look, one row deleted, told by trigger")
    source.close()
    yield look("after a connection was lost, one row less")
    source.close()
    yield look("after a connection was lost, nothing new")
    database.sql(UNTELLING)
    database.sql(f"DELETE FROM gxitproxy WHERE key = '{row(6)[0]}'")
    yield look("without triggers, one row deleted")
    source.close()


def asking(database: Database, url: str) -> Iterator[str]:
    """What it costs to connect, and to ask whether anything has changed."""

    def cost_of(what: str, count: int, work: Callable[[], object]) -> str:
        used, own, began = _cpu(database), time.process_time(), time.monotonic()
        for _ in range(count):
            work()
        took = (time.monotonic() - began) / count
        theirs, ours = (_cpu(database) - used) / count, (time.process_time() - own) / count
        return (
            f"{what}: {took * 1000:.2f} ms, of the server's processor {theirs * 1000:.2f} ms, of "
            f"ours {ours * 1000:.2f} ms"
        )

    def connect() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("LISTEN gxitproxy")

    yield cost_of("a connection with LISTEN", 100, connect)
    with psycopg.connect(url, autocommit=True) as connection:
        for what, statement, values in (
            ("to ask whether anybody has written", _STATE, None),
            ("to read the rows of 25 keys", _PART, [[row(n)[0] for n in range(25)]]),
        ):
            yield cost_of(what, 2000, partial(connection.execute, statement, values))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 100, 500])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args(arguments)
    print("The tables of one node")
    for line in tables(given.rows):
        print(f"- {line}", flush=True)
    database = Database()
    try:
        database.sql(f"ALTER SYSTEM SET max_connections = {max(given.nodes) + 50}")
        database.stop()
        database.start()
        database.sql(TABLE + ";" + TELLING)
        url = database.url.replace("+psycopg2", "")
        for pace in PACE, 0:
            print(f"\nChanges at {pace} a second" if pace else "\nAs many changes as it takes")
            print(
                "| nodes | changes/s | heard/s | median ms | worst ms | server's CPU ms a change |"
            )
            print("|---:|---:|---:|---:|---:|---:|")
            heard = [churn(database, url, nodes, given.seconds, pace) for nodes in given.nodes]
            for each in heard:
                print(each, flush=True)
            first, last = heard[0], heard[-1]
            if last.nodes > first.nodes:
                slope = (last.cpu - first.cpu) / (last.nodes - first.nodes)
                all_of_them = last.cpu + slope * (LARGEST_FLEET - last.nodes)
                print(
                    f"By a straight line: {slope * 1e6:.1f} µs for each node that hears of a "
                    f"change, {all_of_them * 1000:.1f} ms a change for {LARGEST_FLEET} nodes, "
                    f"{1 / all_of_them:,.0f} changes a second on one processor"
                )
        print(f"\nReading {given.rows:,} rows")
        for line in reading(database, url, given.rows):
            print(f"- {line}", flush=True)
        for line in asking(database, url):
            print(f"- {line}", flush=True)
    finally:
        database.kill()


if __name__ == "__main__":
    main()
