"""What an authority says, and what is made of it if that is nonsense."""

from __future__ import annotations

import contextlib
import json
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyproxy.acme.documents import (
    AcmeError,
    Step,
    read_authorization,
    read_directory,
    read_json,
    read_order,
    read_problem,
    read_retry_after,
    read_window,
)
from ipyproxy.acme.renewal import Window

KEYS = (
    *("newNonce", "newAccount", "newOrder", "meta", "status", "authorizations", "finalize"),
    *("certificate", "challenges", "token", "type", "url", "error", "suggestedWindow", "start"),
    *(
        "end",
        "detail",
        "subproblems",
        "profiles",
        "renewalInfo",
        "issuer-domain-names",
        "accounturi",
    ),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["valid"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(values)
def test_nonsense_is_told_of_and_nothing_else(value: Any) -> None:
    body = json.dumps(value).encode()
    assert isinstance(str(read_problem(500, body)), str)
    try:
        document = read_json(body)
    except AcmeError:
        return
    for read in (read_directory, read_order, read_authorization, read_window):
        with contextlib.suppress(AcmeError):
            read(document)


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"<html>", b'"', b"{" * 3])
def test_what_is_no_object(body: bytes) -> None:
    with pytest.raises(AcmeError, match="no JSON object"):
        read_json(body)


def test_an_order_that_has_failed_says_for_which_names() -> None:
    order = read_order(
        {
            "status": "invalid",
            "authorizations": [],
            "finalize": "https://acme.example/f",
            "error": {
                "type": "urn:ietf:params:acme:error:compound",
                "detail": "two names",
                "subproblems": [
                    {"type": "urn:ietf:params:acme:error:caa", "detail": "a\n\x1b[31m" + 999 * "x"}
                ],
            },
        }
    )
    assert order.step is Step.GIVE_UP
    assert order.why.startswith("compound: two names; caa: a  [31mx")
    assert len(order.why) < 510


@pytest.mark.parametrize(
    ("more", "kinds"),
    [
        ({"token": "x"}, ["dns-x"]),
        ({"issuer-domain-names": ["ca.example", "ca.example.net"]}, ["dns-x"]),
        ({"issuer-domain-names": ["ca.example"], "accounturi": "https://ca.example/1"}, ["dns-x"]),
        ({}, []),
        ({"issuer-domain-names": []}, []),
        ({"issuer-domain-names": ["ca.example"] * 11}, []),
        ({"issuer-domain-names": ['ca.example"; x']}, []),
        ({"issuer-domain-names": ["CA.example"]}, []),
        ({"issuer-domain-names": [7]}, []),
        ({"issuer-domain-names": ["ca.example"], "accounturi": "a; policy=wildcard"}, []),
        ({"issuer-domain-names": ["ca.example"], "accounturi": 'a" b'}, []),
    ],
)
def test_a_challenge_counts_if_it_can_be_met(more: dict[str, Any], kinds: list[str]) -> None:
    """With a token, or with names of issuers that can stand in a record as they are."""
    told = {"type": "dns-x", "url": "https://acme.example/c", **more}
    authorization = read_authorization({"status": "pending", "challenges": [told]})
    assert [challenge.kind for challenge in authorization.challenges] == kinds


def test_a_problem_has_its_word() -> None:
    error = read_problem(
        429, b'{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many"}'
    )
    assert (error.kind, str(error)) == ("rateLimited", "rateLimited: too many")
    assert str(read_problem(502, b"<html>")) == "the authority answered 502"


def test_a_window_as_rfc_9773_has_it() -> None:
    told = {"start": "2025-01-02T04:00:00Z", "end": "2025-01-03T04:00:00Z"}
    assert read_window({"suggestedWindow": told}) == Window(1735790400, 1735876800)
    with pytest.raises(AcmeError):
        read_window({"suggestedWindow": {"start": told["end"], "end": told["start"]}})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0),
        ("120", 120),
        ("9" * 40, 999999999),
        (formatdate(1e9 + 60, usegmt=True), 60),
        (formatdate(1e9 - 60, usegmt=True), 0),
        ("soon", 0),
        ("-5", 0),
        ("٣", 0),
    ],
)
def test_retry_after(value: str | None, seconds: float) -> None:
    assert read_retry_after(value, 1e9) == seconds
