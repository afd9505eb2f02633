"""Rules: which methods a path requires, and the decision that follows from their findings.

Knows rules and findings. Knows nothing of how a method works.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ipyproxy.access.facts import Failed, Lack, Passed
from ipyproxy.errors import Problem, ProxyError

METHODS = ("htpasswd", "forward", "link", "certificate")
"""The names of the methods."""
NONE = "none"

Requirement = tuple[tuple[str, ...], ...]
"""Alternatives, each a set of methods that must all let the request pass."""

_USER = re.compile(r"[^\x00-\x20\x7f]+")


def is_user(name: str) -> bool:
    """Whether ``name`` can be sent upstream: not empty, without blanks and control characters."""
    return _USER.fullmatch(name) is not None


def parse_requirement(text: str) -> Requirement:
    """Parse ``link or certificate and htpasswd``; ``and`` binds tighter; ``none`` stands alone.

    :raises ValueError: with what is wrong.
    """
    words = text.split()
    if words == [NONE]:
        return ((),)
    alternatives: list[list[str]] = [[]]
    for place, word in enumerate(words):
        if place % 2 == 0:
            if word not in METHODS:
                raise ValueError(f"holds {word!r}, which is none of {', '.join(METHODS)}")
            alternatives[-1].append(word)
        elif word == "or":
            alternatives.append([])
        elif word != "and":
            raise ValueError(f"holds {word!r} where 'and' or 'or' should stand")
    if len(words) % 2 == 0:
        raise ValueError("does not end with the name of a method")
    return tuple(tuple(dict.fromkeys(methods)) for methods in alternatives)


class Rule(NamedTuple):
    """The requirement for requests at ``path`` and everything below it.

    :param users: the only names that may pass; empty for any.
    :param host: the host of the rule; ``*.`` stands for one label; empty: any.
    """

    path: bytes
    require: Requirement
    users: frozenset[str] = frozenset()
    host: bytes = b""

    def asks(self, method: str) -> bool:
        """Whether the rule may use ``method``."""
        return any(method in methods for methods in self.require)


class Rules:
    """All rules; of those that cover a path, the longest one of the best matching host counts.

    Hosts have the same order as for routes: exact, then with a star, then none. Paths are compared
    byte for byte, as in the tree of resources, so no other spelling leads to the same place.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._by_host: dict[bytes, list[Rule]] = {b"": []}
        for rule in sorted(rules, key=lambda rule: len(rule.path), reverse=True):
            self._by_host.setdefault(rule.host, []).append(rule)

    @property
    def hosts(self) -> Iterable[bytes]:
        """The hosts of all rules, and the empty one."""
        return self._by_host

    def covering(self, path: bytes, host: bytes = b"") -> Rule | None:
        """The rule for ``path`` at ``host`` (lower-case); None if there is none."""
        if len(self._by_host) > 1:
            for better in (host, b"*" + host[host.find(b".") :] if b"." in host else b""):
                found = _covering(self._by_host.get(better, ()) if better else (), path)
                if found is not None:
                    return found
        return _covering(self._by_host[b""], path)


def _covering(rules: Iterable[Rule], path: bytes) -> Rule | None:
    """The first rule that covers ``path``."""
    for rule in rules:
        stem = rule.path.rstrip(b"/")
        if path.startswith(stem) and path[len(stem) : len(stem) + 1] in (b"/", b""):
            return rule
    return None


def agree(passed: Sequence[Passed], users: frozenset[str]) -> Passed | Failed:
    """Combine the findings of methods that all let a request pass.

    Those that know a user must name the same one, and ``users`` must contain it.
    """
    names = {finding.user for finding in passed if finding.user is not None}
    if len(names) > 1 or (users and not names <= users) or (users and not names):
        return Failed(Lack.FOREIGN)
    user = names.pop() if names else None
    if user is not None and not is_user(user):
        return Failed(Lack.WRONG)
    lines = tuple(line for finding in passed for line in finding.lines)
    cookies = [finding.cookie for finding in passed if finding.cookie is not None]
    holds = [finding.holds for finding in passed if finding.holds is not None]
    return Passed(
        user,
        lines,
        cookies[0] if cookies else None,
        (lambda: all(each() for each in holds)) if holds else None,
    )


def refusal(failures: Iterable[tuple[str, Failed]]) -> ProxyError:
    """The refusal of a request for which all these methods have failed.

    If one method says that other credentials would help (401), the answer is 401, with all field
    lines of the methods. If several have a login address, the one that the rule names first is
    used.
    """
    failures = list(failures)
    asking = [failed.lack for _, failed in failures if failed.status == 401]
    if Lack.WRONG in asking:
        problem = Problem.LOGIN_FAILED
    else:
        problem = Problem.UNAUTHENTICATED if asking else Problem.ACCESS_DENIED
    lines = dict.fromkeys(line for _, failed in failures for line in failed.lines)
    why = ", ".join(f"{name}: {failed.lack.value}" for name, failed in failures)
    logins = [failed.login for _, failed in failures if failed.login and failed.status == 401]
    methods = tuple(dict.fromkeys(word for name, _ in failures for word in name.split(" and ")))
    login = logins[0] if logins else ""
    return ProxyError(problem, why, tuple(lines), login=login, methods=methods)
