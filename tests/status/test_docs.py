"""What is written about the figures, and drawn of them, beside the figures that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ipyproxy.net.address import UNIXPath

from .office import Office
from .test_metrics import busy as notebooks_busy

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "status.md").read_text()
DASHBOARD = ROOT / "etc" / "grafana-dashboard.json"


def busy() -> Office:
    """An office with an application beside its notebooks."""
    office = notebooks_busy()
    application = office.upstreams.acquire("unix:/app.sock", UNIXPath("/app.sock"))
    application.is_known = True
    office.statistics.add(application, 200, 0.01, 0, 0)
    return office


def families() -> list[Any]:
    return list(text_string_to_metric_families(busy().read(b"metrics").decode()))


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head."""
    below = DOCS.partition(f"\n## {heading}\n")[2]
    rows = re.search(r"\n\|---.*\n((?:\|.*\n)+)", below)
    assert rows is not None
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[1].splitlines()]


def test_the_metrics_that_are_described_are_those_that_there_are() -> None:
    described = {row[0].strip("`"): tuple(row[1:]) for row in table("Prometheus")}
    there = {}
    for family in families():
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = sorted({label for one in family.samples for label in one.labels} - {"le"})
        listed = ", ".join(f"`{label}`" for label in labels)
        there[name] = (family.type, listed, family.documentation)
    assert described == there


def test_the_fields_of_status_json_that_are_described_are_those_that_there_are() -> None:
    office = busy()
    there = set(office.document())
    described: set[str] = set()
    for first, second in table("status.json"):
        names = re.findall(r"`(\w+)`", first)
        described.update(names)
        if names == ["upstreams"]:
            assert set(re.findall(r"`(\w+)`", second)) == {
                field for upstream in office.document()["upstreams"] for field in upstream
            }
        elif isinstance(value := office.document()[names[0]], dict) and names != [
            "versions",
            "listeners",
        ]:
            assert set(value) == set(re.findall(r"`(\w+)`", second))
    assert described == there


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def test_the_dashboard_draws_what_there_is_and_leaves_nothing_out() -> None:
    there = {sample.name for family in families() for sample in family.samples}
    drawn = {
        name
        for expression in expressions()
        for name in re.findall(r"\b(?:ipyproxy|process)_\w+", expression)
    }
    assert drawn <= there
    ours = {
        re.sub("_(bucket|count|sum)$", "_bucket", name)
        for name in there
        if name.startswith("ipyproxy_")
    }
    assert ours - drawn == {"ipyproxy_build_info"}


def test_the_dashboard_asks_for_labels_that_there_are() -> None:
    labels = {label for family in families() for one in family.samples for label in one.labels}
    for expression in expressions():
        for selector in re.findall(r"\{(.*?)\}", expression):
            named = set(re.findall(r"(\w+)=", selector))
            assert named <= labels | {"job"}
        for grouped in re.findall(r"by \((\w+)\)", expression):
            assert grouped in labels


def test_panels_lie_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_promtool_can_read_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    rules = [
        {"record": f"panel:{at}", "expr": expression.replace("$__rate_interval", "5m")}
        for at, expression in enumerate(expressions())
    ]
    file = tmp_path / "rules.yml"
    # JSON is YAML.
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"SUCCESS: {len(rules)} rules found" in checked.stdout


def test_the_scrape_configuration_is_one(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    written = re.search(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
    assert written is not None
    file = tmp_path / "prometheus.yml"
    file.write_text(written[1])
    command = [promtool, "check", "config", "--syntax-only", str(file)]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_pictures_are_there_and_small() -> None:
    pictures = re.findall(r"status-[a-z-]+\.png", DOCS)
    assert len(pictures) == 4
    assert sum((ROOT / "docs" / name).stat().st_size for name in pictures) < 200_000
