"""The table: how long a good user waits while somebody attacks, in each proxy.

``python -m tests.attacks [--tree PATH ...] [--nginx] [--only 1,2] [--seconds 6]``. Each row runs on
all proxies one after the other, so that what else the machine does meets them alike.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.attacks.attacks import ATTACKS, Attack
from tests.attacks.measure import Result, each
from tests.attacks.targets import Checkout, Nginx, Target, machine

_HERE = Path(__file__).parents[2]


def main() -> None:
    """See the module."""
    options = _options()
    trees = options.tree or [_HERE]
    targets: list[Target] = [Checkout(tree) for tree in trees]
    if options.nginx:
        targets.append(Nginx())
    wanted = options.only.split(",") if options.only else []
    attacks = [one for one in ATTACKS if not wanted or {one.name, str(one.kind)} & set(wanted)]
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        run = each(attacks, targets, options.seconds, Path(directory), options.nice, _tell)
        for attack, target, result in run:
            row = _row(attack, target, result)
            _tell("  " + row)
            rows.append(row)
    print(f"{machine()}; attackers at nice {options.nice}, {options.seconds:g} s each\n")
    print("\n".join(f"- {target.name}: {target.version}" for target in targets), end="\n\n")
    print(_HEAD)
    print("\n".join(rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("--tree", action="append", type=Path, help="a checkout; this one if none")
    parser.add_argument("--nginx", action="store_true", help="nginx too")
    parser.add_argument("--only", default="", help="kinds or names of attacks, joined by commas")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each attack")
    parser.add_argument("--nice", type=int, default=5, help="niceness of the attackers")
    return parser.parse_args()


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


_HEAD = """\
| attack | proxy | worst wait | less the machine's part | median | before | refused | the attack |
|---|---|---|---|---|---|---|---|"""


def _row(attack: Attack, target: Target, result: Result | str) -> str:
    start = f"| {attack.kind}. {attack.title} | {target.name} |"
    if isinstance(result, str):
        return f"{start} {result} | | | | | |"
    during = result.during
    refused = f"{len(during.refused)} of {during.visits}"
    waits = (during.worst, during.net, during.median, result.before.worst)
    times = " | ".join(f"{wait * 1e3:,.0f} ms" for wait in waits)
    return f"{start} {times} | {refused} | {_figures(attack, result)} |"


def _figures(attack: Attack, result: Result) -> str:
    """What the attack itself has come to."""
    seconds = result.seconds
    parts = [
        f"sent {result.sent / seconds / 1e6:.2f} MB/s",
        f"answered {result.received / seconds / 1e6:.2f} MB/s",
    ]
    if attack.kind == 2 and result.asked:
        parts.append(f"answers {result.received / result.asked:.0f} times as long as requests")
    if attack.kind in (2, 6):
        parts.append(f"log {result.logged / 1e6:.2f} MB/s")
    if attack.kind == 5:
        parts.append(f"longest pause of the log {result.log_pause:.1f} s")
        if result.silent_for is not None:
            parts.append(f"silent connection closed after {result.silent_for:.1f} s")
    if result.closed:
        parts.append(f"{result.closed} closed")
    if result.statuses:
        parts.append("answers " + ", ".join(f"{n} x {s}" for s, n in result.statuses.items()))
    return "; ".join(parts)


if __name__ == "__main__":
    main()
