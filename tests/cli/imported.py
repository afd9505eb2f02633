"""What ``ipyproxy import-apache`` takes of a virtual host, and what it leaves."""

from __future__ import annotations

import tomllib
from typing import Any

from ipyproxy.cli.import_apache import imported


def taken(*lines: str, host: bool = True) -> tuple[dict[str, Any], dict[int, str]]:
    """The TOML as values, and why a line was left, by its number."""
    text = "\n".join(lines)
    if host:
        text = f"<VirtualHost *:443>\n{text}\n</VirtualHost>"
    toml, remarks = imported({"site.conf": text})
    first = 1 if host else 0
    left = {each.directive.line - first: each.why for each in remarks if each.is_left}
    return tomllib.loads(toml), left
