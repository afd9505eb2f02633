"""Advice for a user who was refused: what to do for each authentication method.

Knows the methods by name. Knows nothing of how they work, or of the user.
"""

from __future__ import annotations

from ipyproxy.errors import Problem

_BY_LINK = (
    "Open it by the link you were given. If that is what you did, the link is not good any more: "
    "ask for a new one."
)
_BY_CERTIFICATE = (
    "Show the certificate that was made for you: install it, and start the browser anew so that it "
    "asks which one to show."
)
_OTHER_NAME = (
    "You are logged in, but not with a name that may open it. If you have another one, log in with "
    "that."
)
# What a person can do, by the methods of the rule: for a user who is not logged in, and for one who
# is, but is not allowed.
_WAYS_IN = {
    "htpasswd": "Log in with your name and password.",
    "forward": "Log in where you log in to the other services of this site, then open this address "
    "again.",
    "link": _BY_LINK,
    "certificate": _BY_CERTIFICATE,
}
_OTHER_WAYS_IN = {
    "htpasswd": _OTHER_NAME,
    "forward": _OTHER_NAME,
    "link": _BY_LINK,
    "certificate": _BY_CERTIFICATE,
}


def ways_in(problem: Problem, methods: tuple[str, ...]) -> list[str]:
    """The advice, one sentence for each way; empty if there is no other way.

    :param methods: those of :class:`~ipyproxy.errors.ProxyError`.
    """
    if problem not in (Problem.UNAUTHENTICATED, Problem.ACCESS_DENIED):
        return []
    ways = _OTHER_WAYS_IN if problem is Problem.ACCESS_DENIED else _WAYS_IN
    return list(dict.fromkeys(ways[method] for method in methods))
