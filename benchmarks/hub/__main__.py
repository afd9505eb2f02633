"""``python -m benchmarks.hub [--rounds 5] [--tree build/compiled]``.

Both proxies are up at once, each on the same core; every row goes round both before the next, and
who begins changes with the round. Routes stay from row to row: 10, then 1,000, then 100,000.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.hub import servers
from benchmarks.hub.api import TOKEN, adding, call, removing
from benchmarks.peers import CHP, chp_is_missing
from benchmarks.processes import LOAD_CORE, PROXY_CORE, Process, cpu_seconds, rss_kib
from benchmarks.site import free_ports, wait_for_port

ROOT = Path(__file__).parents[2]
PORTS = range(17000, 17900)
TABLES = (10, 1_000, 100_000)
ADDED = 10_000
KERNELS = 500
PER_HOUR, HOURS = 200, 24
_COMMAND = "from ipyproxy.cli.chp import main; main()"


@dataclass
class Front:
    """A proxy that runs."""

    name: str
    port: int
    process: Process

    @property
    def api(self) -> int:
        """The port of its API."""
        return self.port + 1

    def cpu(self) -> float:
        """CPU seconds so far."""
        return cpu_seconds(self.process.pids())

    def mib(self) -> float:
        """Resident memory."""
        return rss_kib(self.process.pids()) / 1024


def add_routes(front: Front, begin: int, end: int, target: str) -> tuple[float, float]:
    """Add routes; the calls a second, and the CPU time of each in microseconds."""
    cpu, began = front.cpu(), time.monotonic()
    call(front.api, (adding(f"/user/u{number}", target) for number in range(begin, end)))
    seconds, used = time.monotonic() - began, front.cpu() - cpu
    return (end - begin) / seconds, used / (end - begin) * 1e6


def requests(front: Front, seconds: float) -> tuple[float, float]:
    """Ask for one user's page: the requests a second, and the CPU time of each in microseconds."""
    url = f"http://127.0.0.1:{front.port}/user/u7/api/status"
    cpu = front.cpu()
    told = subprocess.run(
        ["wrk", "-t1", "-c16", f"-d{seconds:g}s", url], capture_output=True, text=True, check=True
    ).stdout
    used = front.cpu() - cpu
    done = re.search(r"(\d+) requests in", told)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    if "Non-2xx" in told or done is None or rate is None:
        raise RuntimeError(told)
    return float(rate[1]), used / int(done[1]) * 1e6


def kernels(front: Front) -> float:
    """Have 500 pages open: the milliseconds of a round of messages."""
    urls = [
        f"ws://127.0.0.1:{front.port}/user/u{number}/api/kernels/k/channels"
        for number in range(KERNELS)
    ]
    return asyncio.run(servers.pages(urls, 10)) * 1000


def churn(front: Front, target: str) -> Iterator[float]:
    """Users come, work and go, a day's worth of them; the memory after each hour in MiB."""
    alive: list[str] = []
    for hour in range(HOURS):
        for number in range(PER_HOUR):
            path = f"/user/day-{hour}-{number}"
            alive.append(path)
            calls = [adding(path, target)]
            if len(alive) > PER_HOUR:
                calls.append(removing(alive.pop(0)))
            call(front.api, calls)
        urls = [f"ws://127.0.0.1:{front.port}{path}/channels" for path in alive]
        asyncio.run(servers.pages(urls, 2))
        yield front.mib()
    call(front.api, [removing(path) for path in alive])


def start(stack: ExitStack, directory: Path, tree: Path) -> list[Front]:
    """Start both proxies."""
    env = {"CONFIGPROXY_AUTH_TOKEN": TOKEN, "PYTHONPATH": str(tree)}
    fronts = []
    for name, command in (
        ("configurable-http-proxy", ["node", str(CHP)]),
        ("ipyproxy-chp", [sys.executable, "-c", _COMMAND]),
    ):
        port = free_ports(PORTS, 2)
        command += ["--ip", "127.0.0.1", "--port", str(port), "--api-port", str(port + 1)]
        command += ["--log-level", "error"]
        process = Process(command, directory / f"{name}.log", PROXY_CORE, env)
        stack.callback(process.stop)
        wait_for_port(process, port, 30)
        wait_for_port(process, port + 1, 30)
        fronts.append(Front(name, port, process))
    return fronts


def start_upstreams(stack: ExitStack, directory: Path) -> tuple[str, str]:
    """Start what answers HTTP, and what answers WebSockets; give their URLs."""
    port = free_ports(PORTS, 1)
    (conf := directory / "nginx.conf").write_text(
        f"pid {directory}/nginx.pid; daemon off; worker_processes 1; error_log stderr;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ access_log off; client_body_temp_path {directory}/b;"
        f" proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f;"
        f" uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;"
        " keepalive_requests 1000000;"
        f" server {{ listen 127.0.0.1:{port}; location / {{ return 200 ok; }} }} }}\n"
    )
    nginx = Process(
        ["/usr/sbin/nginx", "-c", str(conf), "-e", "stderr"], directory / "nginx.log", LOAD_CORE
    )
    stack.callback(nginx.stop)
    wait_for_port(nginx, port)
    sockets = free_ports(PORTS, 1)
    echo = Process(
        [sys.executable, "-m", "benchmarks.hub.servers", str(sockets)],
        directory / "echo.log",
        LOAD_CORE,
        {"PYTHONPATH": str(ROOT)},
    )
    stack.callback(echo.stop)
    wait_for_port(echo, sockets)
    return f"http://127.0.0.1:{port}", f"http://127.0.0.1:{sockets}"


class Measurement:
    """The figures of both proxies, by row and name."""

    def __init__(self, rounds: int, tell: Callable[[str], None]) -> None:
        """Measure each row so often, and *tell* what has come out so far."""
        self.figures: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._rounds = rounds
        self._tell = tell

    def run(self, tree: Path) -> None:
        """Everything, for both proxies."""
        with ExitStack() as stack:
            directory = Path(stack.enter_context(TemporaryDirectory()))
            http, sockets = start_upstreams(stack, directory)
            fronts = start(stack, directory, tree)
            for front in fronts:
                self._note(front, "memory at start, MiB", front.mib())
            self._tables(fronts, http)
            for front in fronts:
                call(front.api, (removing(f"/user/u{each}") for each in range(TABLES[-1])))
                call(front.api, (adding(f"/user/u{each}", sockets) for each in range(KERNELS)))
            for front in self._turns(fronts):
                row = f"a message to and fro on {KERNELS} WebSockets, ms"
                self._note(front, row, kernels(front))
            for front in fronts:
                memory = list(churn(front, sockets))
                self._note(front, "memory after 4 hours of users, MiB", memory[3])
                self._note(front, "memory after 24 hours of users, MiB", memory[-1])

    def _note(self, front: Front, row: str, value: float) -> None:
        self.figures[row, front.name].append(value)
        self._tell(f"{row}: {front.name} {value:.4g}")

    def _turns(self, fronts: list[Front]) -> Iterator[Front]:
        for number in range(self._rounds):
            yield from fronts[:: 1 if number % 2 else -1]

    def _tables(self, fronts: list[Front], target: str) -> None:
        """Tables of routes that grow, and requests at each size."""
        there, small = 0, {front.name: 0.0 for front in fronts}
        for table in TABLES:
            for front in fronts:
                for begin in range(there, table, ADDED):
                    rate, cpu = add_routes(front, begin, min(table, begin + ADDED), target)
                    if table == TABLES[-1] and begin == there:
                        self._note(front, f"{ADDED:,} routes added, calls/s", rate)
                        self._note(front, "CPU of an added route, us", cpu)
                if table == TABLES[0]:
                    small[front.name] = front.mib()
            there = table
            for front in self._turns(fronts):
                rate, cpu = requests(front, 2)
                self._note(front, f"requests/s with {table:,} routes", rate)
                self._note(front, f"CPU of a request with {table:,} routes, us", cpu)
        for front in fronts:
            kib = (front.mib() - small[front.name]) * 1024 / TABLES[-1]
            self._note(front, "memory of a route, KiB", kib)


def report(figures: Mapping[tuple[str, str], list[float]]) -> str:
    """A table of the medians."""
    names = ["ipyproxy-chp", "configurable-http-proxy"]
    lines = [f"| | {' | '.join(names)} |", "|---|---:|---:|"]
    for row in dict.fromkeys(row for row, _ in figures):
        values = [statistics.median(figures[row, name]) for name in names]
        lines.append(f"| {row} | {' | '.join(f'{value:,.4g}' for value in values)} |")
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hub", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tree", type=Path, default=ROOT / "build" / "compiled")
    chosen = parser.parse_args()
    if missing := chp_is_missing():
        sys.exit(missing)
    measurement = Measurement(chosen.rounds, print)
    measurement.run(chosen.tree.resolve())
    print(report(measurement.figures))


if __name__ == "__main__":
    main()
