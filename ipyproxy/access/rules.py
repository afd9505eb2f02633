"""Which methods a path asks for, and what comes of what they found.

Knows rules and findings. Knows nothing of how a method finds out.
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
    """Whether ``name`` can be told upstream: some characters, no blank or control among them."""
    return _USER.fullmatch(name) is not None


def parse_requirement(text: str) -> Requirement:
    """Read ``link or certificate and htpasswd``: ``and`` binds, ``or`` parts; ``none`` is alone.

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
    """What is asked of requests at ``path`` and everything below it.

    :param users: the only names that may pass; empty for any.
    :param host: the host that it is for; ``*.`` stands for one label; empty: any.
    """

    path: bytes
    require: Requirement
    users: frozenset[str] = frozenset()
    host: bytes = b""

    def asks(self, method: str) -> bool:
        """Whether ``method`` is one of those that may be asked."""
        return any(method in methods for methods in self.require)


class Rules:
    """All rules; of those that cover a path, the longest of the best host counts.

    Hosts come in the order that routes have: the very one, then one with a star, then none. Paths
    are compared byte for byte, as the tree of resources does, so no other spelling leads
    to the same place.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._by_host: dict[bytes, list[Rule]] = {b"": []}
        for rule in sorted(rules, key=lambda rule: len(rule.path), reverse=True):
            self._by_host.setdefault(rule.host, []).append(rule)

    @property
    def hosts(self) -> Iterable[bytes]:
        """The hosts that rules are for, and the empty one."""
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
    """The first that covers ``path``."""
    for rule in rules:
        stem = rule.path.rstrip(b"/")
        if path.startswith(stem) and path[len(stem) : len(stem) + 1] in (b"/", b""):
            return rule
    return None


def agree(passed: Sequence[Passed], users: frozenset[str]) -> Passed | Failed:
    """What follows from methods that all let a request pass.

    They have to mean the same user, if they know one, and ``users`` has to have that name.
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
    """How a request is refused that each of these methods has failed for.

    Where one says that other credentials would help (401), the answer does, with everything that
    any method has to say on how. Of several places to log in at, it is the one that the rule names
    first.
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
