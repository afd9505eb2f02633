"""The table ``auth``: who may reach which paths, and by which methods.

Knows what can be configured. Knows nothing of TOML, of files or of how a method works.
"""

# No "from __future__ import annotations" here: cattrs reads the annotations at run time.

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import attrs

from ipyproxy.access.rules import Requirement, Rule, Rules, is_user, parse_requirement
from ipyproxy.access.subjects import is_template
from ipyproxy.config.values import (
    RefusedError,
    matching,
    read_optional_host,
    read_optional_path,
    refused,
    seconds,
)

# Fields that frame a message, concern the connection or are rewritten; the configuration must not
# set them.
_OURS = frozenset(
    {"connection", "content-length", "cookie", "date", "expect", "forwarded", "host"}
    | {"http2-settings", "keep-alive", "origin", "proxy-authenticate", "proxy-authorization"}
    | {"proxy-connection", "referer", "te", "trailer", "transfer-encoding", "upgrade", "via"}
)
_OUR_FAMILIES = ("sec-", "x-forwarded-")


TOOL = "{tool}"
"""Placeholder in ``forward_url`` for the key of the requested interactive tool."""


def _read_requirement(value: object) -> Requirement:
    try:
        return parse_requirement(value if isinstance(value, str) else "")
    except ValueError as error:
        raise refused(value, str(error)) from None


def _read_user(value: object) -> str:
    if isinstance(value, str) and is_user(value):
        return value
    raise refused(value, "is not a user's name: some characters without blanks")


def read_field(value: object) -> str:
    """Read the name of a header field for upstreams."""
    name = value if isinstance(value, str) else ""
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", name):
        raise refused(value, "is not the name of a header such as X-Remote-User")
    if name.lower() in _OURS or name.lower().startswith(_OUR_FAMILIES):
        raise refused(value, "is a header that the proxy itself makes")
    return name


def _read_template(value: object) -> str:
    if isinstance(value, str) and is_template(value):
        return value
    raise refused(value, "is not a subject with one {user} in it, such as CN={user},O=Example")


def _read_url(value: object) -> str:
    text = value if isinstance(value, str) and re.fullmatch(r"[!-~]*", value) else "?"
    before, _, behind = text.partition(TOOL)
    # It must be in the path, so that a tool's key can't change the server that is asked.
    in_path = before.endswith("/") and "?" not in before and urlsplit(before).path
    is_whole = TOOL not in text or (in_path and TOOL not in behind and behind[:1] in ("/", ""))
    if text and not (is_whole and _is_url(before + behind)):
        raise refused(value, "is not a URL such as http://127.0.0.1:4180/oauth2/auth")
    return text


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        has_host = bool(url.hostname) and url.port != 0 and "@" not in url.netloc
    except ValueError:
        return False
    return has_host and url.scheme in ("http", "https") and "#" not in text


def _read_login(value: object) -> str:
    text = value if isinstance(value, str) and re.fullmatch(r"[!-~]*", value) else "?"
    before, _, behind = text.partition("{url}")
    has_place = "?" in before and before + "{url}" + behind == text and "{" not in before + behind
    is_address = _is_url(before + behind) or re.match(r"/(?![/\\])", before) is not None
    if text and not (has_place and is_address):
        raise refused(
            value, "is not a URL or path with {url} in its query, such as /oauth2/start?rd={url}"
        )
    return text


Field = Annotated[str, read_field]
User = Annotated[str, _read_user]
Template = Annotated[str, _read_template]


@attrs.frozen
class AuthRule:
    """The requirement for requests at ``path`` and below; the rule with the longest path counts.

    Rules for the ``host`` of a request come before those for any host. ``require`` has
    alternatives, each a set of methods. With ``users``, only these may pass.
    """

    path: Annotated[
        str,
        matching(
            r"/|(/(?!\.\.?(/|$))[A-Za-z0-9._~-]+)+",
            "a path such as /ipython or /ipython/10000: a slash first, none last",
        ),
    ] = "/"
    require: Annotated[Requirement, _read_requirement] = ()
    users: tuple[User, ...] = ()
    host: Annotated[str, read_optional_host] = ""

    def __attrs_post_init__(self) -> None:
        """Refuse a rule without a requirement, or with ``users`` but no method."""
        if not self.require:
            raise RefusedError('is missing, such as "htpasswd" or "none"', key="require")
        if self.users and () in self.require:
            raise RefusedError("cannot be told apart by none", key="users")


@attrs.frozen
class Auth:
    """Authentication: the rules, and the settings of each method."""

    rules: tuple[AuthRule, ...] = ()
    user_header: Field = "X-Remote-User"
    htpasswd: Annotated[Path | None, read_optional_path] = None
    session_lifetime: Annotated[float, seconds(60, 86400 * 90)] = 43200.0
    basic_upstream: bool = False
    forward_url: Annotated[str, _read_url] = ""
    forward_login: Annotated[str, _read_login] = ""
    forward_user: Field = "X-Auth-Request-User"
    forward_headers: tuple[Field, ...] = ()
    forward_timeout: Annotated[float, seconds(0.1, 60)] = 5.0
    forward_cache: Annotated[float, seconds(0, 3600)] = 0.0
    link_keys: Annotated[Path | None, read_optional_path] = None
    certificates: tuple[Template, ...] = ()

    def __attrs_post_init__(self) -> None:
        """Refuse a rule with a method that is not configured, and two rules for one path."""
        needs = {
            "htpasswd": ("htpasswd", self.htpasswd),
            "forward": ("forward_url", self.forward_url),
            "link": ("link_keys", self.link_keys),
            "certificate": ("certificates", self.certificates),
        }
        for method in sorted(self.methods):
            key, value = needs[method]
            if not value:
                raise RefusedError(f'"{method}" needs auth.{key} beside it', key="rules")
        places = [rule.host + rule.path for rule in self.rules]
        for place in places:
            if places.count(place) > 1:
                raise RefusedError(f"{place} has two rules", key="rules")

    @property
    def methods(self) -> frozenset[str]:
        """The methods that rules require."""
        return frozenset(
            method for rule in self.rules for alternative in rule.require for method in alternative
        )

    def guards(self, path: str) -> bool:
        """Whether ``path`` requires a login at every host."""
        rules = Rules(
            Rule(rule.path.encode("ascii"), rule.require, host=rule.host.encode("ascii"))
            for rule in self.rules
        )
        found = [rules.covering(path.encode("ascii"), host) for host in rules.hosts]
        return all(rule is not None and () not in rule.require for rule in found)

    def check_depth(self, prefix: str) -> None:
        """Refuse a rule for a part of a notebook, which may accept other spellings of that path.

        :param prefix: the path above all notebooks.
        """
        for rule in self.rules:
            if re.fullmatch(rf"{re.escape(prefix)}/[^/]*/.*", rule.path):
                raise RefusedError(
                    f"{rule.path} is within a notebook, which may read a path in more than one "
                    "way; name the notebook as a whole",
                    key="auth.rules",
                )
