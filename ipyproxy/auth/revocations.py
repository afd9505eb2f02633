"""When each port last changed hands: what was issued for it before is void, over restarts too.

Knows ports, moments and one file. Knows nothing of what is issued.
"""

from __future__ import annotations

import json
from pathlib import Path

from twisted.logger import Logger

from ipyproxy import statefiles


class Revocations:
    """The last such moment of each port, in seconds since the epoch.

    Until :meth:`keep` they are in memory only.
    """

    log = Logger(namespace="ipyproxy.auth.revocations")

    def __init__(self) -> None:
        self._moments: dict[int, float] = {}
        self._file: Path | None = None

    def of(self, port: int) -> float:
        """The last moment of ``port``; 0 if there was none."""
        return self._moments.get(port, 0.0)

    def revoke(self, port: int, moment: float) -> None:
        """``port`` has changed hands.

        :param moment: when its former tenant was last seen; what was issued until then is void.
        """
        self._moments[port] = max(moment, self.of(port))
        if self._file is not None:
            self._write(self._file)

    def keep(self, file: Path) -> None:
        """Take in what ``file`` holds, and keep all that is known there from now on.

        A file that cannot be read or written, or is where others may write, is told to the log:
        links of a former tenant may then come to life again when the proxy is restarted.
        """
        self._file = file
        try:
            for port, moment in json.loads(statefiles.read(file)).items():
                self._moments[int(port)] = max(float(moment), self.of(int(port)))
        except FileNotFoundError:
            pass
        except OSError as error:
            self._tell(file, "read", error.strerror)
        except (ValueError, AttributeError, TypeError) as error:
            self._tell(file, "read", str(error))

    def _write(self, file: Path) -> None:
        try:
            statefiles.write(file, json.dumps(self._moments).encode())
        except OSError as error:
            self._tell(file, "written", error.strerror)

    def _tell(self, file: Path, done: str, why: str | None) -> None:
        self.log.error(
            "{file} cannot be {done} ({why}): links that were issued for a former tenant of a port "
            "may count again after a restart",
            file=str(file),
            done=done,
            why=why,
        )
