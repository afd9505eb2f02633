"""Runs cases of Autobahn's test suite in a process of its own: ``… runner URL GROUP.*…``.

``kosoku`` puts a package of its own in place of Autobahn's for the cases. So where Autobahn was
imported before, the cases break, and where it is imported after, Autobahn does.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import kosoku


async def run(url: str, cases: list[str]) -> list[Any]:
    """What became of each case."""
    try:
        return list(await kosoku.run_fuzzingclient(url, cases, concurrency=2))
    except kosoku.FailureError as error:
        return list(error.results)


if __name__ == "__main__":
    results = asyncio.run(run(sys.argv[1], sys.argv[2:]))
    json.dump(
        [
            [each.case_id, each.behavior.value, each.behavior_close.value, each.result]
            for each in results
        ],
        sys.stdout,
    )
    # kosoku's own threads abort the process now and then (5 of 100) while the interpreter ends.
    sys.stdout.flush()
    os._exit(0)
