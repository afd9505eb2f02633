"""When each notebook last changed hands: what was issued for it before is void.

It holds over restarts too. Knows names of notebooks (the numbers of their ports), moments, one
file and a thread that writes it. Knows nothing of what is issued.
"""

from __future__ import annotations

import json
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ipyproxy import statefiles
from ipyproxy.auth.keeping import KeptFile
from ipyproxy.threads import Run


class Revocations:
    """The last such moment of each notebook, in seconds since the epoch.

    Until :meth:`keep` they are in memory only. They count at once; the file is written in a thread,
    because a disk may take its time.
    """

    log = Logger(namespace="ipyproxy.auth.revocations")

    def __init__(self, run: Run) -> None:
        self._moments: dict[str, float] = {}
        self._kept = KeptFile(run, self._content, self._not_written)

    def of(self, name: str) -> float:
        """The last moment of the notebook ``name``; 0 if there was none."""
        return self._moments.get(name, 0.0)

    def revoke(self, name: str, moment: float) -> None:
        """The port of the notebook ``name`` has changed hands.

        :param moment: when its former tenant was last seen; what was issued until then is void.
        """
        self._moments[name] = max(moment, self.of(name))
        self._kept.change()

    def written(self) -> Deferred[None]:
        """Called back once all that is known is in the file, or could not be written."""
        return self._kept.written()

    def keep(self, file: Path) -> None:
        """Take in what ``file`` holds, and keep all that is known there from now on.

        A file that cannot be read or written, or is where others may write, is told to the log:
        links of a former tenant may then come to life again when the proxy is restarted.
        """
        self._kept.path = file
        try:
            for name, moment in json.loads(statefiles.read(file)).items():
                name = str(int(name))  # as it is spelled here
                self._moments[name] = max(float(moment), self.of(name))
        except FileNotFoundError:
            pass
        except OSError as error:
            self._tell(file, "read", error.strerror)
        except (ValueError, AttributeError, TypeError) as error:
            self._tell(file, "read", str(error))

    def _content(self) -> bytes:
        return json.dumps(self._moments).encode()

    def _not_written(self, file: Path, why: str) -> None:
        self._tell(file, "written", why)

    def _tell(self, file: Path, done: str, why: str | None) -> None:
        self.log.error(
            "{file} cannot be {done} ({why}): links that were issued for a former tenant of a port "
            "may count again after a restart",
            file=str(file),
            done=done,
            why=why,
        )
