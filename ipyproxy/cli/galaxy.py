"""``ipyproxy galaxy check``: reads Galaxy's configuration, and prints what to set there and here.

Knows galaxy.yml as far as it concerns interactive tools, and the part of it that gravity reads.
Changes no file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from os.path import normpath
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ipyproxy.config import ConfigError
from ipyproxy.database.place import PostgreSQL
from ipyproxy.galaxy.spelling import read_place

_PREFIX = "interactivetool"


def add(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the parser."""
    parser = words.add_parser(
        "galaxy",
        help="see what Galaxy's interactive tools need, in Galaxy and here",
        description="What goes with Galaxy's interactive tools; see docs/interactive-tools.md.",
    )
    inner = parser.add_subparsers(required=True, metavar="WORD")
    check = inner.add_parser(
        "check",
        help="read galaxy.yml, and say what to set there and here",
        description="Writes to standard output what to put into the configuration of ipyproxy, and "
        "to standard error what to change in Galaxy's, a line each. The status is 1 if there is "
        "something to change in Galaxy's.",
    )
    check.add_argument("file", type=Path, metavar="FILE", help="Galaxy's galaxy.yml")
    check.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> int:
    file: Path = given.file
    galaxy = read(_text(file), file.absolute())
    sys.stdout.write(toml(galaxy))
    changes = sorted(to_change(galaxy))
    sys.stderr.writelines(f"{file}:{line}: {what}\n" for line, what in changes)
    return int(bool(changes))


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError([f"{file}: {why}"]) from None


class GalaxyYml(NamedTuple):
    """The content of a galaxy.yml.

    :ivar file: its path.
    :ivar root: the directory that Galaxy is started in, as far as known.
    :ivar galaxy: the keys of the section for Galaxy.
    :ivar gravity: the keys of the section for gravity, which starts Galaxy's processes.
    :ivar lines: the line of each section, and of each key by section and key.
    """

    file: Path
    root: Path
    galaxy: Mapping[str, Any]
    gravity: Mapping[str, Any]
    lines: Mapping[tuple[str, ...], int]

    def line(self, *path: str) -> int:
        """The line of a key, or the one where it would be added."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def wrong(self, key: str, why: str) -> ConfigError:
        """An error about a key in Galaxy's section."""
        return ConfigError([f"{self.file}:{self.line('galaxy', key)}: {key}: {why}"])


def read(text: str, file: Path) -> GalaxyYml:
    """Parse the text of a galaxy.yml.

    :raises ConfigError: if it is no YAML, or no configuration of Galaxy.
    """
    try:
        import yaml
    except ImportError:
        why = "this command needs PyYAML: pip install 'ipyproxy[galaxy]', or Debian's python3-yaml"
        raise ConfigError([why]) from None
    lines: dict[tuple[str, ...], int] = {}
    try:
        lines.update(_lines(yaml.compose(text, yaml.SafeLoader), ()))
        document = yaml.load(text, _loader(yaml))  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError([f"{file}:{_placed(error, lines)}"]) from None
    except RecursionError:
        raise ConfigError([f"{file}: it is nested too deeply"]) from None
    sections = document if isinstance(document, dict) else {}
    galaxy = sections.get("galaxy") or {}
    gravity = sections.get("gravity") or {}
    if not isinstance(galaxy, dict) or not isinstance(gravity, dict) or "galaxy" not in sections:
        raise ConfigError([f"{file}: there is no section galaxy: in it"])
    return GalaxyYml(file, _root(gravity, file), galaxy, gravity, lines)


def _placed(error: Any, lines: Mapping[tuple[str, ...], int]) -> str:
    """The line of a YAML error, the key there if known, and what is wrong."""
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark else 1
    above = [(at, f"{path[-1]}: ") for path, at in lines.items() if at <= line]
    return f"{line}: {max(above)[1] if above else ''}{getattr(error, 'problem', error)}"


def _loader(yaml: Any) -> Any:
    """A YAML loader that reports the line of an invalid date or number."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        def construct_object(self, node: Any, deep: bool = False) -> Any:
            try:
                return super().construct_object(node, deep)
            except (AttributeError, KeyError, OverflowError, ValueError):
                kind = node.tag.rpartition(":")[2]
                why = f"{node.value[:80]} is no {kind}; if it is text, put it in quotes"
                raise yaml.constructor.ConstructorError(None, None, why, node.start_mark) from None

    return Loader


def _lines(node: Any, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if node is None or node.id != "mapping":
        return
    for key, value in node.value:
        path = (*above, str(key.value))
        yield path, key.start_mark.line + 1
        if len(path) < 3:
            yield from _lines(value, path)


def _root(gravity: Mapping[str, Any], file: Path) -> Path:
    """Galaxy's root: from gravity's section, or the parent of the file's directory ``config``."""
    said = gravity.get("galaxy_root")
    root = file.parent / said if isinstance(said, str) else file.parent.parent
    return Path(normpath(root))


def _map(galaxy: GalaxyYml) -> tuple[str, str]:
    """The key that sets the place of the map, and its value; empty: Galaxy's default."""
    for key in ("interactivetoolsproxy_map", "interactivetools_map"):
        if said := galaxy.galaxy.get(key):
            return key, str(said)
    return "interactivetools_map", ""


def _data(galaxy: GalaxyYml) -> Path:
    return galaxy.root / str(galaxy.galaxy.get("data_dir") or "database")


def _place(galaxy: GalaxyYml) -> str:
    """The place of the map for ipyproxy's configuration."""
    key, said = _map(galaxy)
    if not said:
        return str(_data(galaxy) / "interactivetools_map.sqlite")
    try:
        place = read_place(said)
    except ValueError as error:
        # The value is not repeated, since it may contain a password.
        raise galaxy.wrong(key, f"what it says {error}") from None
    if isinstance(place, PostgreSQL):
        return place.conninfo
    return normpath(galaxy.root / place.path)


def _host(galaxy: GalaxyYml) -> str:
    """The host name of the site; empty if the configuration does not contain it."""
    key = "galaxy_infrastructure_url"
    url = str(galaxy.galaxy.get(key) or "")
    try:
        host = urlsplit(url).hostname or ""
    except ValueError as error:
        raise galaxy.wrong(key, f"{url} is no URL ({error})") from None
    return "" if host in ("localhost", "127.0.0.1") or "$" in host else host


def toml(galaxy: GalaxyYml) -> str:
    """The configuration for ipyproxy."""
    base = str(galaxy.galaxy.get("interactivetools_base_path") or "/")
    prefix = str(galaxy.galaxy.get("interactivetools_prefix") or _PREFIX)
    lines = ["[galaxy]", f"map = {_quoted(_place(galaxy))}"]
    if base.strip("/"):
        lines.append(f"base = {_quoted('/' + base.strip('/'))}")
    if prefix != _PREFIX:
        lines.append(f"prefix = {_quoted(prefix)}")
    host = _host(galaxy)
    named = f"host = {_quoted(host or 'galaxy.example.org')}"
    lines += [
        f"# {named}  # only if some tools need a host of their own (requires_domain)",
        '# networks = ["127.0.0.0/8", "::1/128"]  # and those of the nodes that tools run on',
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def to_change(galaxy: GalaxyYml) -> Iterator[tuple[int, str]]:
    """The changes to make in galaxy.yml: the line, and the change."""
    said = galaxy.galaxy
    if not said.get("interactivetools_enable"):
        line = galaxy.line("galaxy", "interactivetools_enable")
        yield line, "set interactivetools_enable: true, or Galaxy runs no interactive tools"
    yield from _about_the_map(galaxy)
    if said.get("interactivetools_upstream_proxy") is False:
        yield (
            galaxy.line("galaxy", "interactivetools_upstream_proxy"),
            "take out interactivetools_upstream_proxy: false, which leads people past ipyproxy",
        )
    elif said.get("interactivetools_proxy_host"):
        yield (
            galaxy.line("galaxy", "interactivetools_proxy_host"),
            "take out interactivetools_proxy_host: tools are at Galaxy's own host now",
        )
    if not _host(galaxy):
        yield (
            galaxy.line("galaxy", "galaxy_infrastructure_url"),
            "set galaxy_infrastructure_url: to the public address, such as "
            "https://galaxy.example.org: tools fetch and send their data there",
        )
    proxy = galaxy.gravity.get("gx_it_proxy") or {}
    if isinstance(proxy, dict) and proxy.get("enable"):
        yield (
            galaxy.line("gravity", "gx_it_proxy", "enable"),
            "set enable: false below gx_it_proxy:, since ipyproxy takes its place",
        )


def _about_the_map(galaxy: GalaxyYml) -> Iterator[tuple[int, str]]:
    key, said = _map(galaxy)
    line, place = galaxy.line("galaxy", key), _place(galaxy)
    if key == "interactivetools_map" and "://" in said:
        yield line, "move the URL to interactivetoolsproxy_map: this one is for a path"
    elif not said:
        yield line, f"set interactivetools_map: {place}, so that it is the same for everybody"
    elif not place.startswith("postgresql:") and not _is_absolute(said):
        url = "://" in said
        yield (
            line,
            f"set {key}: {'sqlite:///' if url else ''}{place}: a path that is not absolute starts "
            "at another directory for each program",
        )


def _is_absolute(said: str) -> bool:
    place = read_place(said)
    return isinstance(place, PostgreSQL) or place.path.is_absolute()
