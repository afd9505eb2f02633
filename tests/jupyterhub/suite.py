"""JupyterHub's own tests of its proxy, run with a proxy of one's choice.

    python -m tests.jupyterhub.suite --proxy chp --subdomains

They start ``configurable-http-proxy`` by that name, so the one that comes first in PATH is judged.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from .names import DOMAIN
from .programs import configurable_http_proxy, in_its_place, jupyterhub, path

#: The modules that say something of a proxy.
MODULES = (
    "test_proxy",
    "test_unix_socket",
    "test_internal_ssl_connections",
    "test_services",
    "test_named_servers",
    "test_api",
)
#: Since 6.0.
_NOT_FORMERLY = ("test_unix_socket",)

#: As in the pytest.ini of JupyterHub's sources, which is not installed.
_OPTIONS = {
    "asyncio_mode": "auto",
    "asyncio_default_fixture_loop_scope": "module",
    "asyncio_default_test_loop_scope": "module",
}


@dataclass(frozen=True)
class Results:
    """The names of the tests by what came of them, and what pytest printed."""

    passed: frozenset[str]
    failed: frozenset[str]
    skipped: frozenset[str]
    output: str


def run(
    proxy: Path,
    tests: Sequence[str] = MODULES,
    *,
    former: bool = False,
    subdomains: bool = False,
) -> Results:
    """Run *tests*, modules or single ones (``test_proxy::test_x``), with the command in *proxy*.

    *former* takes the version before; *subdomains* gives each user a name of its own.
    """
    programs = jupyterhub(former=former)
    modules = [test for test in tests if not (former and test in _NOT_FORMERLY)]
    with tempfile.TemporaryDirectory() as scratch:
        (ini := Path(scratch) / "pytest.ini").write_text(
            "[pytest]\n" + "".join(f"{name} = {value}\n" for name, value in _OPTIONS.items())
        )
        report = Path(scratch) / "report.xml"
        environment = {
            **os.environ,
            "PATH": path(proxy, programs),
            "PYTHONPATH": str(Path(__file__).parent),
            **({"JUPYTERHUB_TEST_SUBDOMAIN_HOST": f"http://{DOMAIN}:8000"} if subdomains else {}),
        }
        # A script's background ignores SIGINT, by which these tests stop servers: 10 s for each.
        command = ["env", "--default-signal=INT"]
        command += [str(programs / "python"), "-m", "pytest", "-q", "-c", str(ini)]
        command += ["-p", "names", "-p", "no:jupyter_server", "-p", "no:cacheprovider"]
        command += [
            "-m",
            "not browser",
            "--disable-warnings",
            "--rootdir",
            str(programs.parent),
            f"--junitxml={report}",
            "--pyargs",
        ]
        done = subprocess.run(
            [*command, *(f"jupyterhub.tests.{test}" for test in modules)],
            env=environment,
            cwd=scratch,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return _results(report, done.stdout)


def _results(report: Path, output: str) -> Results:
    if not report.exists():
        raise RuntimeError(output)
    found: dict[str, set[str]] = {"passed": set(), "failed": set(), "skipped": set()}
    for case in ET.parse(report).iter("testcase"):
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "passed"
        found["skipped" if "skipped" in kinds else outcome].add(name)
    passed, failed, skipped = map(frozenset, found.values())
    return Results(passed, failed, skipped, output)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--proxy", choices=["chp", "ipyproxy"], default="ipyproxy")
    parser.add_argument("--former", action="store_true", help="JupyterHub 5")
    parser.add_argument("--subdomains", action="store_true")
    parser.add_argument("tests", nargs="*", default=MODULES)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        proxy = configurable_http_proxy() if chosen.proxy == "chp" else in_its_place(Path(scratch))
        results = run(proxy, chosen.tests, former=chosen.former, subdomains=chosen.subdomains)
    print(results.output)
    print(
        f"{len(results.passed)} passed, {len(results.failed)} failed,"
        f" {len(results.skipped)} skipped"
    )
    return bool(results.failed)


if __name__ == "__main__":
    sys.exit(main())
