"""The subject of a client certificate, and the name of the user that it stands for.

Knows subjects as text (RFC 4514). That the certificate is genuine has been found out before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

PLACE = "{user}"
# No character that RFC 4514 escapes or that parts one attribute from the next, so that what is
# found in a template's place is the whole value of one attribute.
_VALUE = r"([^\x00-\x20\x7f,+\"\\<>;=#]+)"


def is_template(text: str) -> bool:
    """Whether ``text`` is a subject with one place for the user, such as ``CN={user},O=Example``.

    The place is a whole value of an attribute: a part of one would let others choose the rest.
    """
    return text.count(PLACE) == 1 and re.search(rf"=\{PLACE}(,|\+|$)", text) is not None


class Subjects:
    """The subjects that stand for users."""

    def __init__(self, templates: Iterable[str]) -> None:
        self._patterns = [
            re.compile(_VALUE.join(map(re.escape, template.split(PLACE)))) for template in templates
        ]

    def user(self, subject: str) -> str | None:
        """The user that ``subject`` stands for; None if it stands for nobody."""
        for pattern in self._patterns:
            if match := pattern.fullmatch(subject):
                return match[1]
        return None
