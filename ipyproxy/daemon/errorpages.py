"""The site's own error pages: a directory of files named ``<status>.html``.

Knows files. Knows nothing of when a page is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ipyproxy.config import ConfigError
from ipyproxy.errors import Problem

LARGEST = 256 * 1024
"""Largest size of a page, in bytes: all pages are kept in memory."""

_STATUSES = frozenset(problem.status for problem in Problem)


def read_error_pages(directory: Path | None) -> Mapping[int, bytes]:
    """The pages in ``directory``, by status; empty without a directory.

    :raises ConfigError: if it can't be read, or for a page that would never be shown.
    """
    if directory is None:
        return {}
    pages = {}
    problems = []
    try:
        for file in sorted(directory.glob("*.html")):
            if not file.stem.isdecimal() or int(file.stem) not in _STATUSES:
                known = ", ".join(map(str, sorted(_STATUSES)))
                problems.append(f"{file}: is named by no status that the proxy gives: {known}")
            elif file.stat().st_size > LARGEST:
                problems.append(f"{file}: is larger than {LARGEST} bytes")
            else:
                pages[int(file.stem)] = file.read_bytes()
        if not directory.is_dir():
            problems.append(f"site.error_pages: {directory} is no directory")
    except OSError as error:
        problems.append(f"site.error_pages: {error.filename}: {error.strerror}")
    if problems:
        raise ConfigError(problems)
    return pages
