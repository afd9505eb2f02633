"""Print where ipyproxy, nginx and HAProxy disagree, as a table in Markdown."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.corpus.requests import REQUESTS

from .gateways import Seen, missing, start_all
from .test_requests import send_everything


def _cell(seen: Seen) -> str:
    statuses = " ".join(map(str, seen.statuses)) or "no answer"
    return f"{statuses} ({len(seen.requests)} passed)"


def main() -> None:
    """Send the corpus and compare."""
    if why := missing():
        sys.exit(why)
    with tempfile.TemporaryDirectory() as directory:
        gateways = start_all(Path(directory))
        try:
            results = send_everything(gateways)
        finally:
            for gateway in gateways.values():
                gateway.stop()
    print("| request | " + " | ".join(results) + " |")
    print("|---" * (1 + len(results)) + "|")
    agreed = 0
    for case in REQUESTS:
        row = [results[name][case.name] for name in results]
        if len({len(seen.requests) for seen in row}) == 1:
            agreed += 1
        else:
            print(f"| {case.name} | " + " | ".join(map(_cell, row)) + " |")
    print(f"\nOn {agreed} of {len(REQUESTS)} all three agree how many requests pass.")


if __name__ == "__main__":
    main()
