"""``ipyproxy doctor``: reports problems of a notebook behind the proxy, and how to fix them.

Knows arguments, the environment and the terminal. ``doctoring/examination.py`` does the checks.
Does not ask the running proxy.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable

from ipyproxy.cli.configuration import add_file, read_file
from ipyproxy.cli.doctoring.examination import Examination, Finding, Verdict
from ipyproxy.cli.doctoring.listeners import listeners

PATIENCE = 10.0
"""Seconds to wait for each answer."""


def add(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the parser."""
    parser = words.add_parser(
        "doctor",
        help="say what would go wrong with a notebook, and how to mend it",
        description="Asks the notebook on PORT as the proxy would. With its token or password in "
        "the environment variable JUPYTER_TOKEN it logs in, and looks at XSRF, Origin and "
        "WebSockets too. The status is 1 if something is wrong.",
    )
    parser.add_argument("port", type=_port, metavar="PORT", help="the notebook's port")
    add_file(parser)
    parser.add_argument(
        "--kernel",
        action="store_true",
        help="start a kernel for a moment, to look at the subprotocol of its WebSocket",
    )
    parser.set_defaults(run=_run)


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError("a port is a number from 1 to 65535")


def _run(given: argparse.Namespace) -> int:
    examination = Examination(
        given.port,
        read_file(given),
        os.environ.get("JUPYTER_TOKEN", ""),
        with_kernel=given.kernel,
        patience=PATIENCE,
        listening=listeners,
    )
    count = 0
    for finding in examination.findings():
        count += finding.verdict is Verdict.WRONG
        sys.stdout.writelines(_lines(finding))
        sys.stdout.flush()
    if count:
        things = "one thing is" if count == 1 else f"{count} things are"
        sys.stdout.write(f"{things} wrong; docs/troubleshooting.md says more\n")
    return int(count > 0)


def _lines(finding: Finding) -> Iterable[str]:
    yield f"{finding.verdict.value:<5}  {finding.subject}: {finding.said}\n"
    if finding.remedy:
        yield f"       -> {finding.remedy}\n"
