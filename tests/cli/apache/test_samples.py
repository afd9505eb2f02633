"""Configurations of Apache's that hosts really have, and what becomes of every line of them.

What is expected stands beside each sample, so that a change of it is seen and judged. To write it
anew after a change: ``python -m tests.cli.apache.test_samples``.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from ipyproxy.cli.apache.parsing import Directive, parse
from ipyproxy.cli.import_apache import imported, told
from ipyproxy.config import parse as parse_config

HERE = Path(__file__).parent
SAMPLES = sorted(HERE.glob("*.conf"))


def outcome(sample: Path) -> tuple[str, str]:
    """TOML and remarks."""
    toml, remarks = imported({sample.name: sample.read_text()})
    return toml, "".join(f"{line}\n" for line in told(remarks))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_what_becomes_of_a_sample(sample: Path) -> None:
    toml, remarks = outcome(sample)
    assert toml == sample.with_suffix(".toml").read_text()
    assert remarks == sample.with_suffix(".remarks").read_text()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_it_is_toml_that_leads_everywhere_once(sample: Path) -> None:
    parse_config(outcome(sample)[0], {}, "")
    routes = tomllib.loads(outcome(sample)[0]).get("routes", [])
    places = [(route.get("host", ""), route.get("path", "/")) for route in routes]
    assert len(set(places)) == len(places)
    for route in routes:
        assert len({"to", "files", "redirect"} & route.keys()) == 1


def flat(directives: list[Directive]) -> list[Directive]:
    found: list[Directive] = []
    for directive in directives:
        found.append(directive)
        found += flat(directive.children)
    return found


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_no_line_is_dropped(sample: Path) -> None:
    """What an unknown directive would be in its place is told, wherever it stands."""
    lines = sample.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        if line.strip().startswith("#") or lines[number - 2].endswith("\\"):
            continue
        changed = [*lines[: number - 1], "Unheard Of", *lines[number - 1 :]]
        _, remarks = imported({"a.conf": "\n".join(changed)})
        assert [each for each in remarks if each.directive.line == number and each.is_left]
    assert flat(parse(sample.read_text(), sample.name, {}))


if __name__ == "__main__":
    for path in SAMPLES:
        written, said = outcome(path)
        path.with_suffix(".toml").write_text(written)
        path.with_suffix(".remarks").write_text(said)
