"""Lets pages of trusted origins read answers (CORS) and show notebooks in a frame.

Knows their origins and field lines. Does not decide who may send a request: ``origins.py`` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ipyproxy.http1.head import RequestHead
from ipyproxy.http1.lines import TOKEN, SpecialFields, lines_of

_TOKENS = re.compile(rb"%b(?:[ \t]*,[ \t]*%b)*" % (TOKEN, TOKEN))
_METHOD = b"access-control-request-method"
_FIELDS = b"access-control-request-headers"
_LABELS = (
    (_METHOD, b"Access-Control-Allow-Methods"),
    (_FIELDS, b"Access-Control-Allow-Headers"),
)
# The proxy sets these, since the notebook never sees the real Origin.
_OURS = frozenset((b"access-control-allow-origin", b"access-control-allow-credentials"))
_POLICY = b"content-security-policy"
_FRAMES = b"x-frame-options"
_ANCESTORS = b"frame-ancestors"
# A quick check, since nearly all lines are others.
_BEGINNING = 7
_BEGINNINGS = frozenset(name[:_BEGINNING] for name in (*_OURS, _POLICY, _FRAMES))
_ASKED_FOR = 600
"""Seconds for which browsers may remember the answer to a preflight."""


class TrustedPages:
    """Pages of other sites that notebooks are used from, such as Galaxy's.

    :param origins: the trusted ones (``scheme://host[:port]``).
    """

    def __init__(self, origins: Iterable[str]) -> None:
        ordered = [origin.encode("ascii") for origin in origins]
        self._origins = frozenset(ordered)
        self._ancestors = b" ".join(ordered)
        self._own = b"Content-Security-Policy: frame-ancestors 'self' " + self._ancestors

    def extra_lines(self, special: SpecialFields) -> tuple[bytes, ...]:
        """Additional field lines for the answer to a request with these fields.

        Never a wildcard, and never an origin that is not trusted: with credentials, that would open
        the notebooks to every page.
        """
        origins = special.values_of(b"origin")
        if len(origins) != 1 or origins[0] not in self._origins:
            return (b"Vary: Origin",)
        return (
            b"Access-Control-Allow-Origin: " + origins[0],
            b"Access-Control-Allow-Credentials: true",
            b"Vary: Origin",
        )

    def preflight(self, head: RequestHead) -> list[bytes] | None:
        """The field lines of the answer to a trusted page's preflight; None if it is no preflight.

        A preflight has no credentials (Fetch, section 4.8), so a notebook could not tell whose it
        is.
        """
        origins = head.fields.values(b"origin")
        if head.method != b"OPTIONS" or len(origins) != 1 or origins[0] not in self._origins:
            return None
        asked = {}
        for line in lines_of(head.fields.plain):
            name, _, value = line.partition(b":")
            asked[name.lower()] = value.strip(b" \t")
        if _METHOD not in asked:
            return None
        lines = [b"Access-Control-Max-Age: %d" % _ASKED_FOR, b"Vary: " + _METHOD + b", " + _FIELDS]
        for name, label in _LABELS:
            if _TOKENS.fullmatch(asked.get(name, b"")):
                lines.append(label + b": " + asked[name])
        return lines

    def opened(self, lines: list[bytes]) -> list[bytes]:
        """The field lines of a notebook's answer, changed so that trusted pages may frame it.

        An answer that no page or any page may frame stays unchanged. The lines are read as browsers
        do: all policies apply, X-Frame-Options is used only if no policy has frame-ancestors, and
        different values of it forbid framing (HTML, section 7.6).
        """
        policies = [value for line in lines if (value := _value_of(line, _POLICY)) is not None]
        has_ancestors = any(map(_names_ancestors, policies))
        opened: list[bytes] = []
        framing: list[bytes] = []
        for line in lines:
            if line[:_BEGINNING].lower() not in _BEGINNINGS:
                opened.append(line)
                continue
            name, _, value = line.partition(b":")
            name = name.lower()
            if name == _POLICY:
                parts = [self._open_policy(policy) for policy in value.split(b",")]
                opened.append(b"Content-Security-Policy:" + b",".join(parts))
            elif name == _FRAMES:
                framing.append(line)
            elif name not in _OURS:
                opened.append(line)
        if not _is_same_origin(framing):
            return opened + framing
        return opened if has_ancestors else [*opened, self._own]

    def _open_policy(self, policy: bytes) -> bytes:
        """One policy (CSP level 3, section 2.2), with the trusted origins in frame-ancestors."""
        directives = policy.split(b";")
        for at, directive in enumerate(directives):
            name, *sources = directive.lower().split() or (b"",)
            if name == _ANCESTORS and sources and sources != [b"'none'"]:
                directives[at] = directive.rstrip() + b" " + self._ancestors
        return b";".join(directives)


def _value_of(line: bytes, name: bytes) -> bytes | None:
    said, _, value = line.partition(b":")
    return value if said.lower() == name else None


def _names_ancestors(value: bytes) -> bool:
    """Whether one of the policies in a field has frame-ancestors."""
    directives = value.lower().replace(b",", b";").split(b";")
    return any(directive.split()[:1] == [_ANCESTORS] for directive in directives)


def _is_same_origin(framing: list[bytes]) -> bool:
    """Whether lines of X-Frame-Options allow framing by the page's own origin only."""
    values = b",".join(line.partition(b":")[2] for line in framing).lower().split(b",")
    return {value.strip(b" \t") for value in values} == {b"sameorigin"}
