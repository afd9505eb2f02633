"""Parses Apache's configuration files into directives, each with its file and line.

Knows the syntax: continued lines, quotes, sections, and variables set by Define. Knows no other
directive, and keeps all of them. (The parsers on PyPI are years old or have no line numbers:
apacheconfig is from January 2020.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_ARGUMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'|(\S+)')
_QUOTED = re.compile(r"\\([\"'\\])")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_SECTION = re.compile(r"<(\w+)\s*(.*?)\s*>")
_END = re.compile(r"</(\w+)\s*>")


@dataclass
class Directive:
    """One directive, or a section with its directives.

    ``text`` is its text, for messages; ``name`` is in lower case; ``is_section`` is true for
    ``<Location /a>`` and false for a directive of the same name.
    """

    name: str
    arguments: list[str]
    file: str
    line: int
    text: str
    is_section: bool = False
    children: list[Directive] = field(default_factory=list)

    @property
    def place(self) -> str:
        """Its file and line."""
        return f"{self.file}:{self.line}"


class SyntaxProblemError(Exception):
    """A file is no configuration of Apache's; the message begins with the place."""


def parse(text: str, file: str, variables: dict[str, str]) -> list[Directive]:
    """The directives of a file, in order; adds the file's definitions to ``variables``.

    Raises :class:`SyntaxProblemError` if sections do not match.
    """
    top: list[Directive] = []
    within: list[Directive] = []
    for number, line in _lines(text):
        into = within[-1].children if within else top
        if end := _END.fullmatch(line):
            if not within or within[-1].name != end[1].lower():
                raise SyntaxProblemError(f"{file}:{number}: {line} ends nothing that is open")
            within.pop()
        elif begin := _SECTION.fullmatch(line):
            arguments = _arguments(begin[2], variables)
            section = Directive(begin[1].lower(), arguments, file, number, line, is_section=True)
            into.append(section)
            within.append(section)
        else:
            name, _, rest = line.partition(" ")
            found = Directive(name.lower(), _arguments(rest, variables), file, number, line)
            if found.name == "define" and len(found.arguments) == 2:
                variables[found.arguments[0]] = found.arguments[1]
            into.append(found)
    if within:
        raise SyntaxProblemError(f"{within[-1].place}: {within[-1].text} is never ended")
    return top


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Non-empty lines, each with the number of its first line."""
    begun, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        first = first or number
        begun += line.strip() if not begun else " " + line.strip()
        if begun.endswith("\\"):
            begun = begun[:-1].rstrip()
            continue
        if begun and not begun.startswith("#"):
            yield first, re.sub(r"\s+", " ", begun, count=1)
        begun, first = "", 0
    if begun and not begun.startswith("#"):
        yield first, begun


def _arguments(text: str, variables: dict[str, str]) -> list[str]:
    found = []
    for match in _ARGUMENT.finditer(text):
        quoted = match[1] if match[1] is not None else match[2]
        argument = match[3] if quoted is None else _QUOTED.sub(r"\1", quoted)
        # Undefined variables stay as they are, so that the user sees them.
        found.append(_VARIABLE.sub(lambda name: variables.get(name[1], name[0]), argument))
    return found
