"""A file in the state directory that is written in a thread, one write at a time.

Knows when to write. Knows nothing of the content, or of how it is read.
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
    """Writes the result of ``content`` into a file, once it has a ``path``.

    Any number of changes during a write cause one more write after it.

    :param run: runs the write in a thread, since a disk may be slow.
    :param content: returns the present content for the file.
    :param tell: called with the file and the reason if it could not be written.
    """

    def __init__(
        self, run: Run, content: Callable[[], bytes], tell: Callable[[Path, str], None]
    ) -> None:
        self.path: Path | None = None
        self.is_there = False
        """Whether the file has content of ours, or is about to."""
        self._run = run
        self._content = content
        self._tell = tell
        self._is_behind = False
        self._writing: Deferred[None] | None = None

    def change(self) -> None:
        """The content has changed: write it."""
        if self.path is None:
            return
        self._is_behind = True
        if self._writing is None:
            self._writing = Deferred()
            self._write(self.path)

    def written(self) -> Deferred[None]:
        """Fires once everything is written, or could not be."""
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
