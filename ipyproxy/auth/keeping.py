"""One file of the state directory that is written in a thread, once at a time.

Knows when there is something to write. Knows nothing of what that is, nor of how it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ipyproxy import statefiles
from ipyproxy.threads import Run


class KeptFile:
    """Keeps what ``content`` gives in a file, from the moment when it has a ``path``.

    A change while a write is under way is written after it: once, however many there are.

    :param run: where the file is written, for a disk may take its time.
    :param content: what is to be in the file now.
    :param tell: is handed the file and the reason when it could not be written.
    """

    def __init__(
        self, run: Run, content: Callable[[], bytes], tell: Callable[[Path, str], None]
    ) -> None:
        self.path: Path | None = None
        self.is_there = False
        """Whether the file holds something of ours, or is about to."""
        self._run = run
        self._content = content
        self._tell = tell
        self._is_behind = False
        self._writing: Deferred[None] | None = None

    def change(self) -> None:
        """Something is to be kept."""
        if self.path is None:
            return
        self._is_behind = True
        if self._writing is None:
            self._writing = Deferred()
            self._write(self.path)

    def written(self) -> Deferred[None]:
        """Called back once all that is known is in the file, or could not be written."""
        result: Deferred[None] = Deferred()
        if self._writing is None:
            result.callback(None)
        else:
            self._writing.chainDeferred(result)
        return result

    def _write(self, path: Path) -> None:
        self._is_behind, self.is_there = False, True
        done = self._run(partial(statefiles.write, path, self._content()))
        done.addErrback(self._not_written, path).addCallback(self._go_on, path)

    def _not_written(self, failure: Failure, path: Path) -> None:
        self.is_there = False
        error = failure.value
        self._tell(path, getattr(error, "strerror", None) or str(error))

    def _go_on(self, _: None, path: Path) -> None:
        if self._is_behind:
            self._write(path)
        elif self._writing is not None:
            done, self._writing = self._writing, None
            done.callback(None)
