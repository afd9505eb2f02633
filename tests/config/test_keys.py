"""Keys of the configuration: ranges, options of the command line, and that etc/ tells of them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import attrs
import pytest

from ipyproxy.config import FLAGS, Config, Ports, RouteEntry
from tests.config.reading import parsed, refusal

EXAMPLE = Path(__file__).parents[2] / "etc" / "ipyproxy.toml"

TABLES = {
    field.name: type(getattr(Config(), field.name))
    for field in attrs.fields(Config)
    if field.name != "routes"
}
NUMBERS = [
    (table, field.name)
    for table, kind in TABLES.items()
    for field in attrs.fields(kind)
    if type(field.default) in (int, float) and field.name != "https"
]


@pytest.mark.parametrize(("table", "key"), NUMBERS)
def test_every_number_has_a_range_that_its_refusal_names(table: str, key: str) -> None:
    for toml in ("-1", "1e99", "99999999999999999999", "true"):
        why = refusal(table, key, toml)
        assert re.search(r" is not a (whole )?number.* from [0-9.]+ to [0-9]+", why)


def test_the_command_line_wins_over_the_file() -> None:
    config = parsed("[notebooks]\nports = 'bad'\nprefix = '/x'", notebooks__ports="8888")
    assert config.notebooks.ports == Ports.read("8888")
    assert config.notebooks.prefix == "/x"


def test_every_option_of_the_command_line_sets_a_key_that_exists() -> None:
    for dotted in FLAGS:
        table, key = dotted.split(".")
        assert hasattr(getattr(Config(), table), key)


def test_the_example_file_changes_nothing() -> None:
    assert parsed(EXAMPLE.read_text()) == Config()


def test_the_example_file_has_every_key_with_its_default() -> None:
    lines = EXAMPLE.read_text().splitlines()
    text = "\n".join(line[1:] if re.match(r"#(\w+ =|\[\[)", line) else line for line in lines)
    assert parsed(text.partition("\n[[routes]]")[0]) == Config()
    document = tomllib.loads(text)
    assert document.pop("include") == []
    [route] = document.pop("routes")
    keys = {table: list(content) for table, content in document.items()}
    assert keys == {
        table: [field.name for field in attrs.fields(kind)] for table, kind in TABLES.items()
    }
    assert list(route) == [field.name for field in attrs.fields(RouteEntry)]
    led = text.replace('\nto = ""', '\nto = "unix:/a"')
    assert parsed(led).routes == parsed('[[routes]]\nto = "unix:/a"').routes


def test_the_example_file_says_a_word_on_every_key() -> None:
    text = EXAMPLE.read_text()
    assert not re.search(r"^(#\w+ = .*|\[.*|)\n\n#\w+ =", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 100
