"""How the answers of two servers to the same requests differ, and which of it may be.

A difference that is allowed has a reason; one that does not show any more fails as well, so that
the list stays true.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from .asking import BY_APPLICATION, Answer


class Allowed(NamedTuple):
    """What may differ in the answers to requests whose names fit one of ``names`` (patterns).

    ``what`` is status, body, names of fields, or ``told`` and what the application says that it was
    told; it may be a pattern. ``theirs`` and ``ours`` are how they differ.
    """

    names: tuple[str, ...]
    what: tuple[str, ...]
    reason: str
    theirs: str | None = None
    ours: str | None = None


def differences(theirs: Answer, ours: Answer) -> dict[str, tuple[str, str]]:
    """What differs, by its name: theirs and ours."""
    if theirs.status != ours.status:
        # What else differs follows from it.
        return {"status": (str(theirs.status), str(ours.status))}
    found: dict[str, tuple[str, str]] = {}
    if _is_own_page(theirs) and _is_own_page(ours):
        # Each writes pages of its own for what goes wrong; programs read the status, and these.
        names = {"allow", "content-range", "location", "set-cookie", "www-authenticate"}
    else:
        names = {*theirs.fields, *ours.fields}
        told = _told(theirs, ours)
        if told or theirs.body != ours.body:
            found |= told or {"body": (_short(theirs.body), _short(ours.body))}
            names.discard("content-length")
    for name in sorted(names):
        pair = theirs.fields.get(name, "-"), ours.fields.get(name, "-")
        if pair[0] != pair[1]:
            found[name] = pair
    return found


def _told(theirs: Answer, ours: Answer) -> dict[str, tuple[str, str]]:
    """What the application was told, where both answers say so and say it differently."""
    are_told = all(
        BY_APPLICATION in each.fields
        and each.fields.get("content-type") == "application/json"
        and each.body
        for each in (theirs, ours)
    )
    if not are_told:
        return {}
    one, other = json.loads(theirs.body), json.loads(ours.body)
    return {
        f"told {name}": (str(one.get(name, "-")), str(other.get(name, "-")))
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    }


def _is_own_page(answer: Answer) -> bool:
    return answer.status >= 300 and answer.status != 304 and BY_APPLICATION not in answer.fields


def _short(body: bytes) -> str:
    return repr(body if len(body) < 200 else body[:100] + b"..." + body[-60:])


def unexplained(
    pairs: Mapping[str, tuple[Answer, Answer]], allowed: Iterable[Allowed]
) -> list[str]:
    """Differences that nothing allows, and what is allowed and does not show; a line each.

    :param pairs: theirs and ours, by the names of requests.
    """
    told = []
    rules = [(rule, what, names) for rule in allowed for what in rule.what for names in rule.names]
    seen = set()
    for name, (theirs, ours) in pairs.items():
        for what, (one, other) in differences(theirs, ours).items():
            fitting = {each for each in rules if _fits(*each, name, what, one, other)}
            seen |= fitting
            if not fitting:
                told.append(f"{name}: {what}: theirs {one}, ours {other}")
    told += [
        f"no difference any more: {names}: {what} ({rule.reason})"
        for rule, what, names in rules
        if (rule, what, names) not in seen
    ]
    return told


def _fits(
    rule: Allowed, whats: str, names: str, name: str, what: str, theirs: str, ours: str
) -> bool:
    return (
        fnmatchcase(name, names)
        and fnmatchcase(what, whats)
        and rule.theirs in (None, theirs)
        and rule.ours in (None, ours)
    )
