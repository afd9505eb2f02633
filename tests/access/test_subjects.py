"""Subjects of client certificates, and whom they stand for."""

from __future__ import annotations

import pytest

from ipyproxy.access.subjects import Subjects, is_template

PEOPLE = Subjects(["CN={user},OU=People,O=Example", "UID={user}+CN=Robot,O=Example"])


@pytest.mark.parametrize(
    ("subject", "user"),
    [
        ("CN=alice,OU=People,O=Example", "alice"),
        ("CN=a@b.example,OU=People,O=Example", "a@b.example"),
        ("UID=r2+CN=Robot,O=Example", "r2"),
    ],
)
def test_the_user_stands_in_its_place(subject: str, user: str) -> None:
    assert PEOPLE.user(subject) == user


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "CN=alice",
        "CN=,OU=People,O=Example",
        "CN=alice,OU=Guests,O=Example",
        "CN=alice,OU=People,O=Example,C=XX",
        "C=XX,CN=alice,OU=People,O=Example",
        "CN=alice,OU=People,OU=People,O=Example",
        # Its common name is "alice,OU=People,O=Example" or the like.
        "CN=alice\\,OU=People\\,O=Example",
        'CN="alice,OU=People",O=Example',
        "CN=al ice,OU=People,O=Example",
        "CN=alice\n,OU=People,O=Example",
        "cn=alice,OU=People,O=Example",
        "CN=alice+UID=root,OU=People,O=Example",
    ],
)
def test_anybody_else_is_nobody(subject: str) -> None:
    assert PEOPLE.user(subject) is None


def test_a_template_has_one_place_that_is_a_whole_value() -> None:
    assert all(map(is_template, ("CN={user}", "CN={user},O=X", "O=X,CN={user}", "UID={user}+CN=x")))
    assert not any(
        map(is_template, ("", "CN=alice", "{user}", "CN={user},UID={user}", "CN=x{user}",
                          "CN={user}x", "CN={name}"))
    )  # fmt: skip
    assert Subjects(["CN={user},O=A.*"]).user("CN=alice,O=ABC") is None
