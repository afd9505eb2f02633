"""Whether a client is told in HTML or in JSON (RFC 9110 section 12.5.1).

Knows the grammar of Accept. Knows nothing of what is told.
"""

from __future__ import annotations

import re

_QVALUE = re.compile(rb"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
# No client says more ranges than this; a longer field is read so far, so that its cost is bounded.
_MOST_RANGES = 32


def wants_json(accept: bytes | None) -> bool:
    """Tell whether a client with this Accept field is better told in JSON than in HTML.

    The weights of RFC 9110 section 12.5.1 decide. Where they are equal, HTML wins if the client
    names it, as every browser does when it opens a page or a frame. JSON wins if only a wildcard
    takes HTML in: ``*/*`` is what ``fetch()`` says, and JupyterLab shows ``message`` of a JSON
    answer, but the whole text of any other. Without the field it is HTML.
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
    """Media ranges of an Accept field in lower case, with their weights; what is wrong is left out.

    Parameters other than the weight are not looked at: neither JSON nor HTML has one that matters.
    """
    weights = {}
    for element in accept.lower().split(b",", _MOST_RANGES):
        media_range, *parameters = (part.strip() for part in element.split(b";"))
        qvalue = next((p[2:] for p in parameters if p.startswith(b"q=")), b"1")
        if _QVALUE.fullmatch(qvalue):
            weights[media_range] = float(qvalue)
    return weights


def _weight(weights: dict[bytes, float], media_type: bytes, family: bytes) -> float:
    """The weight that the most specific of the ranges gives ``media_type``; 0 if none takes it."""
    for media_range in (media_type, family, b"*/*"):
        if media_range in weights:
            return weights[media_range]
    return 0.0
