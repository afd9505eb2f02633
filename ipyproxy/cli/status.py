"""``ipyproxy status``: shows the status page's facts in a terminal.

Knows the daemon's status listener, and the names in its JSON document, which
:mod:`ipyproxy.status.facts` makes.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import socket
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from ipyproxy.cli.configuration import add_file, read_file
from ipyproxy.config import Config, ConfigError
from ipyproxy.daemon.account import SERVICE, NoAccountError, find_account
from ipyproxy.daemon.state import state_directory
from ipyproxy.status.serving import SOCKET
from ipyproxy.status.words import age, duration

_DOCUMENT = "/_ipyproxy/status.json"
_PATIENCE = 10.0
_COLUMNS = ("SERVER", "STATE", "SINCE", "REQUESTS", "ERRORS", "P50", "P99", "OPEN", "WS", "ACTIVE")


def add(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the parser."""
    parser = words.add_parser(
        "status",
        help="show what the status page shows",
        description="Asks the running daemon, where status.listen says that it answers. Root and "
        "the daemon's own user can.",
    )
    parser.add_argument("--json", action="store_true", help="as the daemon says it, for programs")
    add_file(parser)
    parser.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> int:
    body = ask_daemon(read_file(given))
    if given.json:
        sys.stdout.write(body)
    else:
        sys.stdout.writelines(f"{line}\n" for line in shown(json.loads(body)))
    return 0


def ask_daemon(config: Config) -> str:
    """Fetch the document from the running daemon. Raises ConfigError if it does not answer."""
    where = config.status.listen
    if where is None:
        raise ConfigError(['status.listen is "", so the daemon tells nobody its status'])
    spoken, connection = _connection(where, config)
    try:
        connection.request("GET", _DOCUMENT, headers={"Host": "localhost"})
        answer = connection.getresponse()
        body = answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ConfigError(
            [f"no daemon answers at {spoken}: {why}; does it run, and as root may you ask it?"]
        ) from None
    finally:
        connection.close()
    if answer.status != 200:
        raise ConfigError([f"{spoken} answers {answer.status} {answer.reason}"])
    return body


def _connection(where: int | str, config: Config) -> tuple[str, http.client.HTTPConnection]:
    """The listener's name for people, and a connection to it."""
    if isinstance(where, int):
        return f"127.0.0.1 port {where}", http.client.HTTPConnection("127.0.0.1", where, _PATIENCE)
    if where == "unix":
        path = service_directory(config) / SOCKET
        return str(path), _UnixConnection(path)
    if match := re.match(r"unix:(?:address=)?((?:[^:\\]|\\.)+)", where):
        path = Path(re.sub(r"\\(.)", r"\1", match[1]))
        return str(path), _UnixConnection(path)
    if match := re.match(r"tcp6?:(?:port=)?(\d+)(?:.*:interface=((?:[^:\\]|\\.)+))?", where):
        host = re.sub(r"\\(.)", r"\1", match[2] or "127.0.0.1")
        port = int(match[1])
        return f"{host} port {port}", http.client.HTTPConnection(host, port, _PATIENCE)
    raise ConfigError([f"status.listen = {json.dumps(where)}: this command cannot connect to that"])


def service_directory(config: Config) -> Path:
    """The daemon's state directory; for root, that of the daemon's account."""
    home = None
    if os.geteuid() == 0:
        try:
            home = find_account(SERVICE).home
        except NoAccountError:
            pass
    return state_directory(config, os.environ, home)


class _UnixConnection(http.client.HTTPConnection):
    """An HTTP connection to a UNIX socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_PATIENCE)
        self.sock.connect(str(self._path))


# The document as lines.


def shown(document: dict[str, Any]) -> Iterator[str]:
    """Format ``document`` as lines for people."""
    now = _date(document["time"])
    up, requests = document["upstreams_by_state"].get("up", 0), document["requests"]
    yield f"{document['phase']}, for {age(document['uptime_seconds'])}"
    yield (
        f"{up} of {sum(document['upstreams_by_state'].values())} notebooks up, "
        f"{document['open']['bridges']} WebSockets, {document['open']['exchanges']} requests open, "
        f"{document['connections']['open']} of at most {document['connections']['most']} "
        "connections"
    )
    yield (
        f"last hour: {sum(requests['per_minute'])} requests, "
        f"{sum(requests['errors_per_minute'])} errors, half within "
        f"{duration(requests['p50_seconds'])}, 99 of 100 within {duration(requests['p99_seconds'])}"
    )
    yield f"listens on {', '.join(document['listeners'])}"
    for one in document["certificates"]:
        end = _date(one["not_after"])
        left = "EXPIRED" if end < now else f"ends in {age((end - now).total_seconds())}"
        yield f"certificate for {', '.join(one['names'])}: {left}, on {end:%Y-%m-%d}"
    reloads = document["reloads"]
    yield f"reloads: {reloads['done']} done, {reloads['refused']} refused"
    rows = [_COLUMNS, *(_row(one, now) for one in document["upstreams"])]
    if len(rows) > 1:
        yield ""
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            yield "  ".join(map(str.ljust, row, widths)).rstrip()
    if document["upstreams_left_out"]:
        yield f"and {document['upstreams_left_out']} others that nobody has wanted lately"


def _row(one: dict[str, Any], now: datetime) -> tuple[str, ...]:
    state = f"{one['state']} ({one['why']})" if one["why"] else one["state"]
    return (
        str(one["port"]) if "port" in one else one["upstream"],
        state,
        _ago(one["since"], now),
        str(one["requests"]),
        str(one["errors"]),
        duration(one["p50_seconds"]),
        duration(one["p99_seconds"]),
        str(one["open"]["exchanges"]),
        str(one["open"]["bridges"]),
        _ago(one["person_active"], now),
    )


def _ago(text: str | None, now: datetime) -> str:
    return "-" if text is None else age((now - _date(text)).total_seconds())


def _date(text: str) -> datetime:
    return datetime.fromisoformat(text)
