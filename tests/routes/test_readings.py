"""How else an application may read a path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyproxy.routes.readings import other_reading


@pytest.mark.parametrize(
    ("path", "other"),
    [
        (b"/", b"/"),
        (b"/a/b/", b"/a/b/"),
        (b"/%61dmin", b"/admin"),
        (b"/admin%2Fx", b"/admin/x"),
        (b"/admin;v=1/x;y", b"/admin/x"),
        (b"/admin%3Bv=1", b"/admin"),
        (b"/;v/admin", b"/admin"),
        (b"/a//b///", b"/a/b/"),
        (b"/%2Fa", b"/a"),
        (b"/%2561", b"/%61"),
        (b"/\xc3\xa9%C3%A9", b"/\xc3\xa9\xc3\xa9"),
    ],
)
def test_decoded_without_parameters_and_empty_segments(path: bytes, other: bytes) -> None:
    assert other_reading(path) == other


@given(st.text("ab/.~-", max_size=20))
def test_what_can_be_read_in_one_way_only_is_left_alone(rest: str) -> None:
    path = f"/{rest}".encode()
    if b"//" not in path:
        assert other_reading(path) is path
