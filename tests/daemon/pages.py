"""The commands of a page of the documentation, as they stand there.

Knows Markdown's headings and fences. Knows nothing of what a command does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from .running import ROOT

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.*)$", re.MULTILINE)


class Page:
    """A page of ``docs/``; a section is found by how its heading begins."""

    def __init__(self, name: str) -> None:
        self._text = Path(ROOT / "docs" / name).read_text()

    def section(self, heading: str) -> str:
        """The text of a section, up to the next heading of its level or a higher one."""
        found = [match for match in self._headings() if match[2].startswith(heading)]
        assert len(found) == 1, f"{heading}: {len(found)} sections"
        (begin,) = found
        ends = (
            match.start()
            for match in self._headings()
            if match.start() > begin.start() and len(match[1]) <= len(begin[1])
        )
        return self._text[begin.end() : next(ends, None)]

    def _headings(self) -> Iterator[re.Match[str]]:
        fences = [match.span() for match in _FENCE.finditer(self._text)]
        for match in _HEADING.finditer(self._text):
            if not any(low < match.start() < high for low, high in fences):
                yield match

    def blocks(self, heading: str, language: str = "sh") -> list[str]:
        """What stands in the fences of a section that are of this language."""
        return [
            match[3] for match in _FENCE.finditer(self.section(heading)) if match[2] == language
        ]
