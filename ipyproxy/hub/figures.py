"""The metrics of configurable-http-proxy, under the same names.

Knows numbers and their names. Knows nothing of what is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator


class Figures:
    """Counters: calls of the API, requests, and the statuses of answers.

    ``finding`` has the look-ups of routes, ``noting`` the updates of activity: their number, and
    the seconds that they took.
    """

    def __init__(self) -> None:
        self.gets = self.adds = self.deletes = 0
        self.web = self.websocket = 0
        self.proxied: Counter[int] = Counter()
        self.api: Counter[int] = Counter()
        self.found = 0
        self.finding = 0.0
        self.noted = 0
        self.noting = 0.0

    def exposed(self) -> bytes:
        """All counters in the text format of Prometheus, version 0.0.4."""
        return "".join(self._lines()).encode("ascii")

    def _lines(self) -> Iterator[str]:
        yield _one("api_route_get", "Count of API route get requests", self.gets)
        yield _one("api_route_add", "Count of API route add requests", self.adds)
        yield _one("api_route_delete", "Count of API route delete requests", self.deletes)
        yield _timed("find_target_for_req", "Look-ups of routes", self.found, self.finding)
        yield _timed("last_activity_updating", "Notes of activity", self.noted, self.noting)
        yield _one("requests_ws", "Count of websocket requests", self.websocket)
        yield _one("requests_web", "Count of web requests", self.web)
        yield _by_status("requests_proxy", "Count of proxy requests", self.proxied)
        yield _by_status("requests_api", "Count of API requests", self.api)


def _one(name: str, text: str, value: int) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} counter\n{name} {value}\n"


def _timed(name: str, text: str, count: int, seconds: float) -> str:
    return (
        f"# HELP {name} {text}\n# TYPE {name} summary\n{name}_sum {seconds}\n{name}_count {count}\n"
    )


def _by_status(name: str, text: str, counts: Counter[int]) -> str:
    lines = [f'{name}{{status="{status}"}} {count}\n' for status, count in sorted(counts.items())]
    return f"# HELP {name} {text}\n# TYPE {name} counter\n{''.join(lines)}"
