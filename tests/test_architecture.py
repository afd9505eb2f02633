"""docs/architecture.md shows the rooms as they are."""

from __future__ import annotations

import ast
import re
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ipyproxy"
PAGE = ROOT / "docs" / "architecture.md"


def room_of(module: str) -> str:
    """The room of a module of ours; all that stands in none is one."""
    name = module.split(".")[1] if "." in module else ""
    return name if (PACKAGE / name).is_dir() and name else ""


def imports() -> dict[str, set[str]]:
    """The rooms that each room imports from."""
    found: dict[str, set[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        room = room_of(".".join(file.relative_to(ROOT).with_suffix("").parts))
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ipyproxy."):
                other = room_of(node.module or "")
                if room and other not in (room, ""):
                    found.setdefault(room, set()).add(other)
    return found


def reach(graph: dict[str, set[str]], room: str) -> set[str]:
    """All rooms that a room knows, by whatever way."""
    found: set[str] = set()
    new = set(graph.get(room, ()))
    while new:
        found |= new
        new = {other for one in new for other in graph.get(one, ())} - found
    return found


def diagram(graph: dict[str, set[str]]) -> str:
    """The rooms with the arrows that do not follow from others."""
    order = [room for room in TopologicalSorter(graph).static_order() if room][::-1]
    lines = ["```mermaid", "flowchart TD"]
    for room in order:
        direct = graph.get(room, set())
        longer = {far for near in direct for far in reach(graph, near)}
        others = sorted(direct - longer, key=order.index)
        lines += [f"    {room} --> {other}" for other in others]
    return "\n".join([*lines, "```"])


def test_the_picture_of_the_rooms_is_right_and_has_no_circle() -> None:
    drawn = diagram(imports())
    arrows = set(re.findall(r"^    (\w+ --> \w+)$", PAGE.read_text(), re.MULTILINE))
    wanted = set(re.findall(r"^    (\w+ --> \w+)$", drawn, re.MULTILINE))
    assert arrows == wanted, f"put this there:\n{drawn}"


def test_every_file_that_it_names_is_there() -> None:
    named = set(re.findall(r"`((?:[a-z0-9]+/)+(?:[a-z0-9_]+\.(?:py|toml))?)`", PAGE.read_text()))
    assert len(named) > 50
    missing = {one for one in named if not ((PACKAGE / one).exists() or (ROOT / one).exists())}
    assert not missing


def test_the_floors_are_those_of_the_contract() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    layers = [re.split(r"[ |]+", layer) for layer in contracts[0]["layers"]]
    rows = re.findall(r"^\| ([0-9]+) \| (`[^|]*) \|", PAGE.read_text(), re.MULTILINE)
    floors: dict[int, set[str]] = {}
    for number, names in rows:
        found = re.findall(r"`([a-z0-9]+)(?:/|\.py)`", names)
        floors.setdefault(int(number), set()).update(found)
    assert [floors[number] for number in sorted(floors, reverse=True)] == [
        set(layer) for layer in layers
    ]
