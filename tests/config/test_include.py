"""``include``: several files are one configuration, and an error names the file that it is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipyproxy.config import Config, ConfigError
from ipyproxy.config.file import read_config


@pytest.fixture
def main(tmp_path: Path) -> Path:
    (tmp_path / "conf.d").mkdir()
    file = tmp_path / "ipyproxy.toml"
    file.write_text('include = ["conf.d/*.toml"]\n[listen]\nhttps = 443\n')
    return file


def add(main: Path, name: str, text: str) -> Path:
    file = main.parent / "conf.d" / name
    file.write_text(text)
    return file


def read(main: Path, **overrides: object) -> Config:
    return read_config(main, overrides, "i.toml")


def problems(main: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read(main)
    return caught.value.problems


def test_all_files_are_one(main: Path) -> None:
    add(main, "a.toml", "[listen]\nhttp = 80\n")
    add(main, "b.toml", '[tls]\ncertificate = "c.pem"\nkey = "k.pem"\n')
    add(main, "ignored.txt", "no TOML")
    config = read(main)
    assert (config.listen.https, config.listen.http) == (443, 80)
    # As all relative paths do, it starts from the first file's directory.
    assert config.tls.key == main.parent / "k.pem"


def test_no_file_is_fine_where_a_pattern_says_so(main: Path) -> None:
    assert read(main).listen.https == 443


def test_a_file_by_its_name_has_to_be_there(main: Path) -> None:
    main.write_text('include = ["more.toml"]')
    assert problems(main) == ("i.toml: include: there is no file more.toml",)


def test_an_absolute_pattern(main: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.toml").write_text("[listen]\nhttp = 80\n")
    main.write_text(f'include = ["{tmp_path}/other/*.toml"]')
    assert read(main).listen.http == 80


def test_an_error_names_the_file_that_it_is_in(main: Path) -> None:
    a = add(main, "a.toml", "\n[timeouts]\nhead = 'soon'\n")
    b = add(main, "b.toml", "[limits]\nhead_byte = 1\n")
    assert problems(main) == (
        f'{a}:3: timeouts.head: "soon" is not a number of seconds from 0.1 to 600',
        f'{b}:2: limits.head_byte: unknown key; did you mean "head_bytes"?',
    )


def test_what_is_no_toml_is_told_of_each(main: Path) -> None:
    a = add(main, "a.toml", "[limits")
    b = add(main, "b.toml", "x")
    first, second = problems(main)
    assert first.startswith(f"{a}:1: ")
    assert second.startswith(f"{b}:1: ")


def test_no_key_is_set_twice(main: Path) -> None:
    a = add(main, "a.toml", "[listen]\nhttps = 8443\n")
    b = add(main, "b.toml", "[listen]\nhttps = 9443\n")
    assert problems(main) == (
        f"{a}:2: listen.https: is set in i.toml:3 already",
        f"{b}:2: listen.https: is set in i.toml:3 already",
    )


def test_files_that_are_included_include_nothing(main: Path) -> None:
    a = add(main, "a.toml", 'include = ["b.toml"]\n')
    assert problems(main) == (f"{a}:1: include: only the first file includes others",)


@pytest.mark.parametrize("value", ['"conf.d"', "[3]", "{}"])
def test_what_is_no_list_of_patterns(main: Path, value: str) -> None:
    main.write_text(f"include = {value}")
    assert problems(main) == ('i.toml: include: is not a list such as ["conf.d/*.toml"]',)


def test_the_command_line_wins_over_all(main: Path) -> None:
    add(main, "a.toml", "[listen]\nhttp = 80\n")
    assert read_config(main, {"listen.http": "81"}, "i.toml").listen.http == 81
