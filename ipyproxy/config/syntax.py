"""Explains syntax errors in TOML.

Knows the messages of tomllib. Knows nothing of keys.
"""

from __future__ import annotations

import re

_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)
_TWICE = re.compile(r"Cannot (?:declare|redefine namespace|mutate immutable namespace) \((.*)\).*")
_WORDS = (
    ("Cannot overwrite a value", "this key has a value already, further up; keep one of the two"),
    ("Duplicate inline table key", "a key stands twice between the braces; keep one of the two"),
    ("Expected ']' at the end", "the name of a table stands between [ and ], alone on its line"),
    ("Expected ']]' at the end", "the name of such a table stands between [[ and ]]"),
    ("Expected '=' after a key", "a key is followed by = and its value"),
    ("Expected newline or end", "something stands behind the value; each key has its own line"),
    ("Invalid value", "what stands behind the = is no value; text stands between quotes"),
    ("Invalid initial character", "a key has letters, digits, _ and - only, or stands in quotes"),
    ("Invalid statement", "this is neither a [table] nor a key with = and its value"),
    ("Illegal character", "a text between quotes has an odd character, or does not end"),
    ("Unterminated string", "a text between quotes does not end"),
    ('Expected "\'"', "a text between quotes does not end"),
    ("Unclosed array", "a list begins with [ and does not end with ]"),
    ("Unclosed inline table", "a table begins with { and does not end with }"),
    ("Unescaped '\\'", "a text with a backslash stands between single quotes"),
    ("Invalid hex value", "a text with a backslash stands between single quotes"),
)


def syntax_problem(message: str, text: str) -> tuple[int, str]:
    """The line of the error, and what is wrong.

    :param message: tomllib's message about ``text``, such as "... (at line 3, column 7)".
    """
    match = _PLACE.fullmatch(message)
    if match is None:
        return 0, message
    line = int(match[2]) if match[2] else text.rstrip().count("\n") + 1
    return line, _words(match[1])


def _words(said: str) -> str:
    if twice := _TWICE.fullmatch(said):
        name = ".".join(re.findall(r"'([^']*)'", twice[1]))
        return f"the table {name} is there already, further up; put its keys together"
    for beginning, words in _WORDS:
        if said.startswith(beginning):
            return words
    return said
