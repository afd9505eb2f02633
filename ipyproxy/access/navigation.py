"""Which requests a browser may be sent on to log in with, and the address that it is sent to.

Knows what browsers tell of a request (Fetch Metadata, Accept). Knows nothing of who is logged in.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote_from_bytes

from ipyproxy.access.basic import CHALLENGE
from ipyproxy.access.sessions import LOGIN_PATH
from ipyproxy.http1.head import READING, RequestHead
from ipyproxy.http1.lines import Fields, lines_of

OWN_LOGIN = LOGIN_PATH.decode("ascii") + "?to={path}"
"""How the proxy's own login page is asked for."""

# A 401 has to name a scheme (RFC 9110 section 15.5.2), and there is no registered one for cookies.
_FOR_SCRIPTS = b'WWW-Authenticate: Cookie realm="notebooks"'
# A longer address may not fit into a request's first line any more.
_LONGEST = 2048


def is_navigation(head: RequestHead) -> bool:
    """Whether a person opens a page with this request, in a tab of its own.

    A frame is none: login pages are not shown in frames, since a hostile page could lie around
    them. Browsers that do not send Sec-Fetch-Mode (Safari before 16.4) are told by ``text/html`` in
    Accept, which scripts and programs do not ask for by themselves.
    """
    if head.method not in READING or b"upgrade" in head.fields.special:
        return False
    if b"text/html" not in (head.fields.first(b"accept") or b"").lower():
        return False
    mode = _said(head.fields, b"sec-fetch-mode")
    destination = _said(head.fields, b"sec-fetch-dest")
    return mode in (None, b"navigate") and destination in (None, b"document")


def answer_lines(head: RequestHead, lines: Iterable[bytes]) -> list[bytes]:
    """``lines`` of a refusal, as the sender of the request with this ``head`` can use them.

    Where a page's script is asked for a Basic password, the browser interrupts the person with a
    window of its own, once for each request of an open JupyterLab whose session has ended. And what
    is typed there does not come: these requests have an Authorization of their own.
    """
    if _said(head.fields, b"sec-fetch-mode") in (None, b"navigate"):
        return list(lines)
    return [_FOR_SCRIPTS if line == CHALLENGE else line for line in lines]


def _said(fields: Fields, name: bytes) -> bytes | None:
    for line in lines_of(fields.plain):
        said, _, value = line.partition(b":")
        if said.lower() == name:
            return value.strip(b" \t")
    return None


def login_address(template: str, public: bytes, target: bytes) -> bytes:
    """Where to send a browser that has asked for ``target`` at the origin ``public``.

    :param template: an address; in the place of ``{path}`` or ``{url}`` in it comes what the
        browser has asked for, percent-encoded. If that is very long, it is the front page instead.
    """
    if len(target) > _LONGEST:
        target = b"/"
    path = quote_from_bytes(target, safe="/")
    url = quote_from_bytes(public + target, safe="")
    return template.replace("{path}", path).replace("{url}", url).encode("ascii")
