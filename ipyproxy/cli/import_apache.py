"""``ipyproxy import-apache``: translates Apache's configuration.

Knows files and the terminal. :mod:`ipyproxy.cli.apache` knows what directives mean.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from ipyproxy.cli.apache.parsing import SyntaxProblemError, parse
from ipyproxy.cli.apache.plan import written
from ipyproxy.cli.apache.settings import Remark
from ipyproxy.cli.apache.translating import Translation
from ipyproxy.config import ConfigError


def add(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the parser."""
    parser = words.add_parser(
        "import-apache",
        help="write a configuration that does what Apache's does, and say what it does not",
        description="Writes TOML to standard output, and to standard error every directive that "
        "has no key there, with what takes its place or why nothing does. Files that are included "
        "have to be named as well. The status is 1 if a directive was left.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="Apache's files")
    parser.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> int:
    toml, remarks = imported({str(file): _read(file) for file in given.files})
    sys.stdout.write(toml)
    sys.stderr.writelines(f"{line}\n" for line in told(remarks))
    return int(any(remark.is_left for remark in remarks))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError([f"{file}: {error.strerror}"]) from None


def imported(files: Mapping[str, str]) -> tuple[str, list[Remark]]:
    """The TOML for files by name, and a remark on each directive that is not in it.

    :raises ConfigError: if a file is no Apache configuration.
    """
    translation = Translation()
    variables: dict[str, str] = {}
    try:
        for name, text in files.items():
            translation.take(parse(text, name, variables))
    except SyntaxProblemError as error:
        raise ConfigError([str(error)]) from None
    translation.finish()
    order = list(files)
    remarks = sorted(
        translation.remarks,
        key=lambda each: (order.index(each.directive.file), each.directive.line),
    )
    left = [f"#   {line}" for line in told(each for each in remarks if each.is_left)]
    head = f"# From {', '.join(files)}\n"
    if left:
        head += "#\n# What Apache's files say besides, and what this does not do:\n"
        head += "".join(f"{line}\n" for line in left)
    return head + "\n" + written(translation.plan), remarks


def told(remarks: Iterable[Remark]) -> list[str]:
    """The remarks, one line each."""
    return [
        f"{each.directive.place}: {_on_one_line(each.directive.text)}: "
        f"{'LEFT' if each.is_left else 'not needed'}: {each.why}"
        for each in remarks
    ]


def _on_one_line(text: str) -> str:
    """``text`` for a TOML comment, which must not contain control characters."""
    return "".join(character if character.isprintable() else " " for character in text)
