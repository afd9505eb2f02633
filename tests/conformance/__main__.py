"""Runs all of Autobahn's test suite both ways, and writes what it says into docs/conformance.md.

    python -m tests.conformance

It takes half an hour or more, most of it Autobahn's compression, and writes nothing if it fails.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from tests.integration.proxy import Proxy

from .suite import GROUPS, QUICK, Case, compare

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "conformance.md"

HEAD = """\
# What Autobahn's test suite says

The [Autobahn test suite](https://github.com/crossbario/autobahn-testsuite) is what WebSocket
implementations are measured by. Its fuzzing client holds some 500 conversations with a server, well
and badly behaved, and says of each whether the server did what RFC 6455 and RFC 7692 ask for, in
its messages and in how it closed. Its own runner is for Python 2; here
[kosoku](https://pypi.org/project/kosoku/) {kosoku} runs its cases.

The server is Autobahn's own, version {autobahn}, which sends every message back. Each case is run
twice: straight at that server, and through `twistd ipyproxy` with TLS. What counts is that none
comes out worse through the proxy. The proxy itself judges frame headers only; UTF-8, compression
and what a close frame says pass it, and are the server's to judge.

This page is written by `make conformance`, which takes half an hour or more, most of it Autobahn's
compression. `make test` runs these groups every time: {quick}; `make soak` all of them.

"""


def report(cases: list[Case]) -> str:
    """The page's figures."""
    lines = ["| | group | cases | straight | through the proxy | better | worse |"]
    lines.append("|---|---|---|---|---|---|---|")
    for group, title in GROUPS.items():
        lines.append(_row(group, title, [case for case in cases if case.group == group]))
    lines.append(_row("", "all", cases))
    odd = [case for case in cases if case.straight != case.through]
    lines += ["", *(_differences(odd) if odd else ["Every case has the same verdict both ways."])]
    return "\n".join(lines) + "\n"


def _row(group: str, title: str, cases: list[Case]) -> str:
    worse = [case for case in cases if case.is_worse]
    better = [case for case in cases if case.straight != case.through and not case.is_worse]
    straight = _counts([str(case.straight) for case in cases])
    through = _counts([str(case.through) for case in cases])
    cells = [group, title, str(len(cases)), straight, through, str(len(better)), str(len(worse))]
    return f"| {' | '.join(cells)} |"


def _counts(verdicts: list[str]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in Counter(verdicts).most_common())


def _differences(cases: list[Case]) -> list[str]:
    lines = ["| case | straight | through the proxy | why |", "|---|---|---|---|"]
    return lines + [f"| {c.name} | {c.straight} | {c.through} | {c.why} |" for c in cases]


def main() -> int:
    """Run, write, and say with the status whether anything is worse."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        proxy = Proxy(directory)
        try:
            cases = compare([*GROUPS], proxy, directory)
        finally:
            proxy.child.stop()
    head = HEAD.format(
        kosoku=version("kosoku"), autobahn=version("autobahn"), quick=", ".join(QUICK)
    )
    DOCUMENT.write_text(head + report(cases), encoding="utf-8")
    print(report(cases))
    return int(any(case.is_worse for case in cases))


if __name__ == "__main__":
    sys.exit(main())
