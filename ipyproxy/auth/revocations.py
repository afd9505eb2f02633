"""When each notebook's port last got a new tenant: links and cookies from before are void.

The times are kept over restarts. Knows names of notebooks (their port numbers), times, one file and
a thread that writes it. Knows nothing of what is issued.
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
    """The last time for each notebook, in seconds since the epoch.

    Until :meth:`keep` they are in memory only. A new one is valid at once; the file is written in a
    thread, because a disk may be slow.
    """

    log = Logger(namespace="ipyproxy.auth.revocations")

    def __init__(self, run: Run) -> None:
        self._moments: dict[str, float] = {}
        self._kept = KeptFile(run, self._content, self._not_written)

    def of(self, name: str) -> float:
        """The last time for the notebook ``name``; 0 if there was none."""
        return self._moments.get(name, 0.0)

    def revoke(self, name: str, moment: float) -> None:
        """The port of the notebook ``name`` has a new tenant.

        :param moment: when the former tenant was last seen; everything issued until then is void.
        """
        self._moments[name] = max(moment, self.of(name))
        self._kept.change()

    def written(self) -> Deferred[None]:
        """Fires once everything is written, or could not be."""
        return self._kept.written()

    def keep(self, file: Path) -> None:
        """Read ``file``, and save everything there from now on.

        If the file cannot be read or written, or if others may write there, that is logged: links
        of a former tenant may then become valid again after a restart.
        """
        self._kept.path = file
        try:
            for name, moment in json.loads(statefiles.read(file)).items():
                name = str(int(name))  # the canonical spelling
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
