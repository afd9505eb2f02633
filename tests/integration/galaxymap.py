"""Galaxy's own writer of its map, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Self

from .apps import environment

_PROGRAM = Path(__file__).parent / "applications" / "galaxy_map.py"
#: Without what they depend on: of Galaxy that would be half a gigabyte.
_REQUIREMENTS = (
    "--no-deps",
    "galaxy-app==26.1.2",
    "sqlalchemy>=2.0,<3",
    "typing-extensions>=4.6",
    "psycopg2-binary>=2.9,<3",
)


class GalaxyMap:
    """Writes to the map at *url*, spelled as in galaxy.yml (``interactivetoolsproxy_map``).

    Entry points have numbers; :func:`key` gives the key of one.
    """

    def __init__(self, url: str) -> None:
        python = environment("galaxy-map", _REQUIREMENTS) / "bin" / "python"
        self._process = subprocess.Popen(
            [python, _PROGRAM, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def save(self, number: int, token: str, port: int, **more: Any) -> None:
        """A tool has begun to run."""
        told = {
            "id": number,
            "token": token,
            "host": "127.0.0.1",
            "port": port,
            "requires_path_in_url": False,
            "requires_path_in_header_named": None,
        }
        self._do("save_entry_point", {**told, **more})

    def remove(self, number: int) -> None:
        """A tool has been stopped."""
        self._do("remove_entry_point", {"id": number})

    def _do(self, method: str, values: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([method, values]) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n", "Galaxy's writer has failed"

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def key(number: int) -> str:
    """The key of an entry point in the map."""
    return f"k{number:x}"
