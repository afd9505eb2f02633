"""The Basic scheme: what is a name and a password, and what is none of ours."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyproxy.access.basic import is_basic, parse_basic


def basic(text: bytes, scheme: bytes = b"Basic") -> bytes:
    return scheme + b" " + b64encode(text)


TYPED = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60)


@given(TYPED.filter(lambda name: ":" not in name), TYPED)
def test_what_is_typed_is_what_is_read(name: str, password: str) -> None:
    assert parse_basic([basic(f"{name}:{password}".encode())]) == (name, password)


def test_the_scheme_in_any_case_and_a_password_with_colons() -> None:
    for scheme in (b"basic", b"BASIC", b"Basic "):
        assert parse_basic([basic(b"a:b:c", scheme)]) == ("a", "b:c")


@pytest.mark.parametrize(
    "values",
    [
        [],
        [b""],
        [b"Basic"],
        [b"Basic "],
        [b"token c2VjcmV0OnNlY3JldA=="],
        [b"Bearer YTpi"],
        [b"Basic YTpi, Basic YTpi"],
        [b"Basic YTpi YTpi"],
        [b"Basic !!!!"],
        [b"Basic YTp"],
        [basic(b"nocolon")],
        [basic(b"a:\0")],
        [basic(b"a\n:b")],
        [basic(b"a:\x7f")],
        [basic(b"a:\xff")],
        [basic(b"a:" + b"x" * 5000)],
        [basic(b"a:b"), basic(b"a:b")],
    ],
)
def test_anything_else_is_no_password(values: list[bytes]) -> None:
    assert parse_basic(values) is None


def test_whose_credentials_these_are() -> None:
    assert is_basic(b"Basic YTpi")
    assert is_basic(b"bAsIc !!")
    assert is_basic(b"Basic")
    assert not is_basic(b"token abc")
    assert not is_basic(b"Basically YTpi")
