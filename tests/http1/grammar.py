"""The grammar of HTTP/1.1 a second time, production by production, as an oracle.

Written from the ABNF of RFC 9110, 9112 and 3986 without a look at the parsers under test. Where
these take more than the RFC, on purpose and as their docstrings say, the production says so.
"""

from __future__ import annotations

import re

# RFC 5234 B.1, RFC 9110 5.6
OWS = BWS = rb"[ \t]*"
TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
TOKEN = TCHAR + rb"+"
OBS_TEXT = rb"[\x80-\xff]"
QDTEXT = rb"[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]"
QUOTED_PAIR = rb"\\[\t \x21-\x7e\x80-\xff]"
QUOTED_STRING = rb'"(?:' + QDTEXT + rb"|" + QUOTED_PAIR + rb')*"'

# RFC 9110 5.5
FIELD_VCHAR = rb"[\x21-\x7e\x80-\xff]"
FIELD_CONTENT = FIELD_VCHAR + rb"(?:(?:[ \t]|" + FIELD_VCHAR + rb")*" + FIELD_VCHAR + rb")?"
FIELD_VALUE = rb"(?:" + FIELD_CONTENT + rb")?"
FIELD_LINE = TOKEN + rb":" + OWS + FIELD_VALUE + OWS

# RFC 3986: a target's characters are those of any URI but for the fragment's #.
UNRESERVED = rb"[A-Za-z0-9\-._~]"
PCT_ENCODED = rb"%[0-9A-Fa-f]{2}"
SUB_DELIMS = rb"[!$&'()*+,;=]"
GEN_DELIMS_BUT_HASH = rb"[:/?\[\]@]"
# Beyond the RFC: what browsers send raw.
RAW = rb"[\\^`{|}%]"
REQUEST_TARGET = (
    rb"(?:"
    + rb"|".join([UNRESERVED, PCT_ENCODED, SUB_DELIMS, GEN_DELIMS_BUT_HASH, RAW, OBS_TEXT])
    + rb")+"
)

# RFC 9112 2.3, 3, 4. Of the versions only two are taken.
VERSION = rb"HTTP/1\.[01]"
REQUEST_LINE = TOKEN + rb" " + REQUEST_TARGET + rb" " + VERSION
REASON = rb"[\t \x21-\x7e\x80-\xff]*"
# Beyond the RFC: no space where there is no reason.
STATUS_LINE = VERSION + rb" [1-9][0-9]{2}(?: " + REASON + rb")?"

FIELD_SECTION = rb"(?:\r\n" + FIELD_LINE + rb")*"
REQUEST_HEAD = re.compile(REQUEST_LINE + FIELD_SECTION)
RESPONSE_HEAD = re.compile(STATUS_LINE + FIELD_SECTION)

# RFC 9112 7.1
CHUNK_EXT = (
    rb"(?:"
    + (BWS + rb";" + BWS + TOKEN)
    + (rb"(?:" + BWS + rb"=" + BWS + rb"(?:" + TOKEN + rb"|" + QUOTED_STRING + rb"))?")
    + rb")*"
)
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)" + CHUNK_EXT + rb"\r\n")
TRAILER_SECTION = re.compile(rb"(?:" + FIELD_LINE + rb"\r\n)*\r\n")


def chunked_body(stream: bytes) -> tuple[bytes, bytes] | None:
    """The body that a chunked ``stream`` holds, and what follows it; None if it is not whole."""
    body = b""
    while line := CHUNK_LINE.match(stream):
        size = int(line[1], 16)
        stream = stream[line.end() :]
        if size == 0:
            trailers = TRAILER_SECTION.match(stream)
            return None if trailers is None else (body, stream[trailers.end() :])
        if stream[size : size + 2] != b"\r\n":
            return None
        body += stream[:size]
        stream = stream[size + 2 :]
    return None


# RFC 3986 3.2, as RFC 9110 4.2 narrows it: no userinfo, and a host that is not empty. A port may
# be empty there; here it may not, and is a number that a port can have.
REG_NAME = rb"(?:" + UNRESERVED + rb"|" + PCT_ENCODED + rb"|" + SUB_DELIMS + rb")+"
IP_LITERAL = rb"\[[0-9A-Fa-f:.]+\]"
AUTHORITY = re.compile(rb"(?:" + IP_LITERAL + rb"|" + REG_NAME + rb")(?::[1-9][0-9]*)?")

# RFC 9112 3.2.1 and RFC 3986 3.3, with the raw characters of above in both parts.
PCHAR = (
    rb"(?:" + rb"|".join([UNRESERVED, PCT_ENCODED, SUB_DELIMS, rb"[:@\[\]^`{|}]", OBS_TEXT]) + rb")"
)
ABSOLUTE_PATH = rb"(?:/" + PCHAR + rb"*)+"
QUERY = rb"(?:" + PCHAR + rb"|[/?\\%])*"
ORIGIN_FORM = re.compile(ABSOLUTE_PATH + rb"(?:\?" + QUERY + rb")?")
