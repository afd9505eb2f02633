"""Decides between HTML and JSON for a client (RFC 9110 section 12.5.1).

Knows the grammar of Accept. Knows nothing of the content.
"""

from __future__ import annotations

import re

_QVALUE = re.compile(rb"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
# No client sends more ranges; only so many are read, so that the cost is bounded.
_MOST_RANGES = 32


def wants_json(accept: bytes | None) -> bool:
    """Whether a client with this Accept field prefers JSON to HTML.

    The weights of RFC 9110 section 12.5.1 decide. If they are equal, HTML wins if the client names
    it, as every browser does when it opens a page or a frame. JSON wins if HTML matches only a
    wildcard: ``fetch()`` sends ``*/*``, and JupyterLab shows the ``message`` of a JSON answer, but
    the whole text of any other. Without the field it is HTML.
    """
    if accept is None:
        return False
    weights = _weights(accept)
    as_json = max(
        _weight(weights, b"application/json", b"application/*"),
        _weight(weights, b"application/problem+json", b"application/*"),
    )
    as_html = _weight(weights, b"text/html", b"text/*")
    if as_json != as_html:
        return as_json > as_html
    return as_json > 0 and b"text/html" not in weights and b"text/*" not in weights


def _weights(accept: bytes) -> dict[bytes, float]:
    """The media ranges in Accept, in lower case, with their weights; invalid ones are ignored.

    Parameters other than the weight are ignored: neither JSON nor HTML has a relevant one.
    """
    weights = {}
    for element in accept.lower().split(b",", _MOST_RANGES):
        media_range, *parameters = (part.strip() for part in element.split(b";"))
        qvalue = next((p[2:] for p in parameters if p.startswith(b"q=")), b"1")
        if _QVALUE.fullmatch(qvalue):
            weights[media_range] = float(qvalue)
    return weights


def _weight(weights: dict[bytes, float], media_type: bytes, family: bytes) -> float:
    """The weight of ``media_type`` by the most specific matching range; 0 if none matches."""
    for media_range in (media_type, family, b"*/*"):
        if media_range in weights:
            return weights[media_range]
    return 0.0
