"""The load generators: wrk, curl and wsload, run against one proxy and read.

Knows how each is called and what it prints. Each gives back a :class:`Load`, or raises
:class:`LoadError` with the reason for people.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from time import sleep
from typing import Any

from benchmarks.peers import Running
from benchmarks.processes import cpu_seconds, rss_kib
from benchmarks.site import HERE, Site

_GRACE = 60.0  # seconds after which a load generator is taken to hang
_FEW = 0.001  # of the requests may break before a figure is worth nothing
_CARRIED = 0.95  # of what an open loop sends has to be answered in time
_HANDSHAKES_AT_ONCE = 16


class LoadError(Exception):
    """Nothing was measured; the message says why."""


@dataclass(frozen=True)
class Load:
    """What a load generator told.

    :param count: requests, connections, messages or bytes.
    :param cpu_seconds: what the proxy used up meanwhile.
    """

    count: float
    seconds: float
    cpu_seconds: float
    p50_us: float = 0
    p99_us: float = 0

    def __post_init__(self) -> None:
        """Refuse a run in which nothing happened."""
        if not self.count:
            raise LoadError(f"nothing came through in {self.seconds:.1f} s")

    @property
    def rate(self) -> float:
        """How many a second."""
        return self.count / self.seconds

    @property
    def cpu_each(self) -> float:
        """CPU seconds of the proxy for each."""
        return self.cpu_seconds / self.count


def requests(running: Running, site: Site, connections: int, seconds: float) -> Load:
    """Ask for 1 KiB again and again on connections that are kept, with changing heads."""
    url = f"https://localhost:{running.port}"
    options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    script = ["-s", str(HERE / "browser.lua"), url, "--", str(running.port), site.http_prefix]
    told, cpu = _run(running, site, ["wrk", *options, *script], seconds)
    if told["refused"]:
        raise LoadError(f"{told['refused']} of {told['requests']} answers were not 2xx or 3xx")
    if told["broken"] > _FEW * told["requests"]:
        raise LoadError(f"{told['broken']} errors in {told['requests']} requests")
    return Load(told["requests"], told["seconds"], cpu, told["p50_us"], told["p99_us"])


def pages(
    running: Running,
    site: Site,
    connections: int,
    seconds: float,
    rate: float = 0,
    ports: range | None = None,
    warm_up: float = 0,
) -> Load:
    """The same by wsload.

    :param rate: requests a second that are sent however long answers take; 0: each waits for one.
    :param ports: the upstreams that connections lead to in turn.
    :param warm_up: seconds for which requests are sent first that do not count.
    """
    prefix = "/ipython/*/" if ports else site.http_prefix
    options = ["-c", str(connections), "-d", str(seconds), "-w", str(warm_up)]
    argv = ["get", *options, *_loop(rate), *_among(ports), str(running.port), prefix]
    return _round_trips(_wsload(running, site, argv, seconds), rate)


def one_target(running: Running, site: Site, target: str, connections: int, seconds: float) -> Load:
    """Ask for one target again and again on connections that are kept."""
    url = f"https://localhost:{running.port}{target}"
    options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    script = ["-s", str(HERE / "one.lua"), url]
    told, cpu = _run(running, site, ["wrk", *options, *script], seconds)
    if told["refused"] or told["broken"]:
        raise LoadError(f"{told['refused']} refused and {told['broken']} broken")
    return Load(told["requests"], told["seconds"], cpu, told["p50_us"], told["p99_us"])


def handshakes(running: Running, site: Site, resume: bool, seconds: float) -> Load:
    """Connect, ask for 1 KiB, close; with the ticket of the connection before, or without."""
    options = ["-c", str(_HANDSHAKES_AT_ONCE), "-d", str(seconds)]
    mode = "resume" if resume else "handshake"
    target = site.http_prefix + "tree"
    told, cpu = _wsload(running, site, [mode, *options, str(running.port), target], seconds)
    may = told["messages"] - _HANDSHAKES_AT_ONCE  # the first ones have no ticket yet
    if resume and told["resumed"] < may / 2:
        raise LoadError(f"{told['resumed']} of {may} sessions were resumed")
    return Load(told["messages"], told["seconds"], cpu)


def download(running: Running, site: Site) -> Load:
    """Fetch the large file once."""
    url = f"https://localhost:{running.port}{site.http_prefix}files/large.bin"
    return _curl(running, site, [url])


def named_file(running: Running, site: Site) -> Load:
    """Fetch the large file once, which the application names and the proxy sends."""
    return _curl(running, site, [f"https://localhost:{running.port}/application/named"])


def proxied_file(running: Running, site: Site) -> Load:
    """Fetch the large file once, which the application sends itself."""
    return _curl(running, site, [f"https://localhost:{running.port}/application/large.bin"])


def upload(running: Running, site: Site) -> Load:
    """Send the large file once."""
    url = f"https://localhost:{running.ws_port}{site.ws_prefix}api/contents/large.bin"
    return _curl(running, site, ["-H", "Expect:", "-T", str(site.large_file), url])


def round_trips(
    running: Running,
    site: Site,
    connections: int,
    size: int,
    seconds: float,
    rate: float = 0,
    ports: range | None = None,
    warm_up: float = 0,
) -> Load:
    """Echo messages, one under way on each bridge.

    :param rate: messages a second that are sent however long echoes take; 0: each waits for one.
    :param ports: the upstreams that bridges lead to in turn.
    :param warm_up: seconds for which messages are sent first that do not count.
    """
    path = "/ipython/*/api/kernels/1/channels" if ports else _channels(site)
    options = ["-c", str(connections), "-s", str(size), "-d", str(seconds), "-w", str(warm_up)]
    argv = ["rtt", *options, *_loop(rate), *_among(ports), str(running.ws_port), path]
    return _round_trips(_wsload(running, site, argv, seconds), rate)


def _loop(rate: float) -> list[str]:
    return ["-r", str(rate)] if rate else []


def _among(ports: range | None) -> list[str]:
    return ["-u", str(ports.start), "-n", str(len(ports))] if ports else []


def _round_trips(run: tuple[dict[str, Any], float], rate: float) -> Load:
    told, cpu = run
    load = Load(
        told["messages"], told["seconds"], cpu, told.get("p50_us", 0), told.get("p99_us", 0)
    )
    if load.rate < _CARRIED * rate:
        raise LoadError(f"{load.rate:,.0f} of {rate:,.0f} a second were carried")
    return load


def flood(running: Running, site: Site, upwards: bool, size: int, seconds: float) -> Load:
    """Send large messages one way on one bridge; ``count`` is in bytes."""
    mode, task = ("up", "?sink") if upwards else ("down", f"?flood={size}")
    argv = [mode, "-s", str(size), "-d", str(seconds)]
    argv += [str(running.ws_port), _channels(site) + task]
    told, cpu = _wsload(running, site, argv, seconds)
    return Load(told["messages"] * size, told["seconds"], cpu)


def kib_per_idle_bridge(running: Running, site: Site, bridges: int) -> float:
    """Hold idle bridges open, and look by how much the proxy has grown."""
    before = rss_kib(running.pids())
    argv = [site.tool("wsload"), "idle", "-c", str(bridges), str(running.ws_port), _channels(site)]
    with _popen(argv, site) as generator:
        assert generator.stdout
        assert generator.stderr
        if generator.stdout.readline() != "open\n":
            raise LoadError(generator.stderr.read().strip())
        sleep(1)  # what the proxy still has to tidy up after the upgrades
        after = rss_kib(running.pids())
        generator.communicate(timeout=_GRACE)
    return (after - before) / bridges


def _channels(site: Site) -> str:
    return f"{site.ws_prefix}api/kernels/3f1c2a70-9c1e-4f0e-8d7a-5b1f0e6a2d4c/channels"


def _wsload(
    running: Running, site: Site, argv: Sequence[str], seconds: float
) -> tuple[dict[str, Any], float]:
    return _run(running, site, [site.tool("wsload"), *argv], seconds, says_open=True)


def _curl(running: Running, site: Site, argv: Sequence[str]) -> Load:
    form = '{"seconds": %{time_total}, "down": %{size_download}, "up": %{size_upload}}'
    options = ["--silent", "--show-error", "--fail", "--http1.1", "-o", "/dev/null", "-w", form]
    trust = ["--cacert", str(site.certificate)]
    told, cpu = _run(running, site, ["curl", *options, *trust, *argv], _GRACE)
    count = max(told["down"], told["up"])
    if count != site.large_bytes:
        raise LoadError(f"{count} of {site.large_bytes} bytes went through")
    return Load(count, told["seconds"], cpu)


def _popen(argv: Sequence[str], site: Site) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    env = {**os.environ, "OPENSSL_CONF": str(site.client_tls)}
    argv = [*site.ahead, *argv]
    return subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=env)


def _run(
    running: Running, site: Site, argv: Sequence[str], seconds: float, says_open: bool = False
) -> tuple[dict[str, Any], float]:
    """Run a load generator; give what its last line says, and the proxy's CPU seconds.

    :param says_open: whether it prints a line when measuring begins, to leave out what was before.
    """
    pids = running.pids()
    with _popen(argv, site) as generator:
        assert generator.stdout
        if says_open:
            generator.stdout.readline()
        before = cpu_seconds(pids)
        try:
            output, errors = generator.communicate(timeout=seconds + _GRACE)
        except subprocess.TimeoutExpired:
            generator.kill()
            raise LoadError(f"no end after {seconds + _GRACE:.0f} s") from None
        cpu = cpu_seconds(pids) - before
    if generator.returncode:
        raise LoadError(errors.strip() or output.strip() or f"status {generator.returncode}")
    try:
        told: dict[str, Any] = json.loads(output.strip().rpartition("\n")[2])
    except ValueError:
        raise LoadError(f"{argv[0]} says {output.strip()[-200:]!r}") from None
    return told, cpu
