"""The table of routes: the longest path of the best host, beside a model that looks at all."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyproxy.routes.table import RouteTable

HOSTS = ("", "a.org", "b.org", "x.a.org", "*.a.org", "*.org", "*.b.org")
ASKED = ("a.org", "b.org", "x.a.org", "y.a.org", "x.y.a.org", "org", "localhost", "[::1]")
SEGMENTS = st.sampled_from(["", "a", "b", "ab", "c%2Fd", "."])
PATHS = st.lists(SEGMENTS, max_size=4).map(lambda parts: "/" + "/".join(parts))
PREFIXES = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=3).map(lambda p: "/" + "/".join(p))
ROUTES = st.lists(st.tuples(st.sampled_from(HOSTS), PREFIXES), max_size=12, unique=True)
Routes = list[tuple[str, str]]


def table_of(routes: Routes) -> RouteTable[tuple[str, str]]:
    table: RouteTable[tuple[str, str]] = RouteTable()
    for host, path in routes:
        table.put(host.encode(), path.encode(), (host, path))
    return table


def naive(routes: Routes, host: str, path: str) -> tuple[str, str] | None:
    """Looks at every route."""

    def rank(pattern: str) -> int:
        if pattern == host:
            return 2
        starred = pattern.startswith("*.") and host.partition(".")[2] == pattern[2:]
        return 1 if starred else 0 if not pattern else -1

    def covers(prefix: str) -> bool:
        return prefix == "/" or path == prefix or path.startswith(prefix + "/")

    fitting = [one for one in routes if rank(one[0]) >= 0 and covers(one[1])]
    return max(fitting, key=lambda one: (rank(one[0]), len(one[1])), default=None)


@given(ROUTES, st.sampled_from(ASKED), PATHS)
def test_it_finds_what_a_look_at_all_routes_finds(routes: Routes, host: str, path: str) -> None:
    assert table_of(routes).match(host.encode(), path.encode()) == naive(routes, host, path)


@given(ROUTES, st.data())
def test_what_is_removed_is_as_if_it_had_never_been(routes: Routes, data: st.DataObject) -> None:
    gone = data.draw(st.lists(st.sampled_from(routes), unique=True) if routes else st.just([]))
    table = table_of(routes)
    for host, path in gone:
        table.remove(host.encode(), path.encode())
    rest = [one for one in routes if one not in gone]
    host, path = data.draw(st.sampled_from(ASKED)), data.draw(PATHS)
    assert table.match(host.encode(), path.encode()) == naive(rest, host, path)
    for host, path in rest:
        table.remove(host.encode(), path.encode())
    assert (table._hosts, table._anywhere.children) == ({}, None)


@pytest.mark.parametrize(("host", "path"), [(b"", b"/a"), (b"a.org", b"/"), (b"", b"/")])
def test_what_is_not_there_cannot_be_removed(host: bytes, path: bytes) -> None:
    table: RouteTable[int] = RouteTable()
    table.put(b"", b"/a/b", 1)
    with pytest.raises(KeyError):
        table.remove(host, path)


@pytest.mark.plain
def test_a_look_up_takes_as_many_steps_among_many_routes_as_among_few() -> None:
    def steps(routes: int) -> int:
        table: RouteTable[int] = RouteTable()
        for number in range(routes):
            table.put(b"h%d.org" % (number % 100), b"/user/u%d" % number, number)
        count = 0

        def trace(*_: Any) -> Any:
            nonlocal count
            count += 1
            return trace

        sys.settrace(trace)
        found = table.match(b"h7.org", b"/user/u7/lab/tree")
        sys.settrace(None)
        assert found == 7
        return count

    assert steps(100_000) == steps(100)
