"""What a client says of itself under names that are ours to use."""

from __future__ import annotations

import pytest

from ipyproxy.access.reserved import ReservedFields

SPELLINGS = [
    b"X-WebAuth-User: root",
    b"x-webauth-user: root",
    b"X_WebAuth_User: root",
    b"X-WebAuth_User: root",
    b"X.WebAuth.User: root",
    b"X~WebAuth|User: root",
]


@pytest.mark.parametrize("line", SPELLINGS)
def test_a_name_of_ours_in_any_spelling_is_kept_back(line: bytes) -> None:
    reserved = ReservedFields(["X-WebAuth-User"], basic=False)
    assert reserved.kept([b"Accept: */*", line, b"X-Other: 1"]) == [b"Accept: */*", b"X-Other: 1"]


def test_other_names_pass() -> None:
    lines = [b"X-WebAuth-Users: 1", b"WebAuth-User: 1", b"XWebAuthUser: X-WebAuth-User: 1"]
    assert ReservedFields(["X-WebAuth-User"], basic=False).kept(lines) == lines


def test_passwords_are_kept_back_and_a_notebooks_token_is_not() -> None:
    token = b"Authorization: token 0123456789abcdef"
    bearer = b"authorization: Bearer x"
    ours = [b"Authorization: Basic YTpi", b"authorization: basic   YTpi", b"AUTHORIZATION: Basic"]
    assert ReservedFields([], basic=True).kept([token, *ours, bearer]) == [token, bearer]
    assert ReservedFields([], basic=False).kept([token, *ours]) == [token, *ours]
