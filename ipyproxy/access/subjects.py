"""Finds the user's name in the subject of a client certificate.

Knows subjects as text (RFC 4514). The certificate has been verified before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

PLACE = "{user}"
# No character that RFC 4514 escapes or that separates attributes, so that the match is the whole
# value of one attribute.
_VALUE = r"([^\x00-\x20\x7f,+\"\\<>;=#]+)"


def is_template(text: str) -> bool:
    """Whether ``text`` is a subject with one place for the user, such as ``CN={user},O=Example``.

    ``{user}`` must be the whole value of an attribute: otherwise others could choose the rest of
    it.
    """
    return text.count(PLACE) == 1 and re.search(rf"=\{PLACE}(,|\+|$)", text) is not None


class Subjects:
    """The templates of subjects that name users."""

    def __init__(self, templates: Iterable[str]) -> None:
        self._patterns = [
            re.compile(_VALUE.join(map(re.escape, template.split(PLACE)))) for template in templates
        ]

    def user(self, subject: str) -> str | None:
        """The user that ``subject`` names; None if no template matches."""
        for pattern in self._patterns:
            if match := pattern.fullmatch(subject):
                return match[1]
        return None
