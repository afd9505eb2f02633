"""Decides which requests may be redirected to a login page, and to which address.

Knows how browsers describe a request (Fetch Metadata, Accept). Knows nothing of who is logged in.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote_from_bytes

from ipyproxy.access.basic import CHALLENGE
from ipyproxy.access.sessions import LOGIN_PATH
from ipyproxy.http1.head import READING, RequestHead
from ipyproxy.http1.lines import Fields, lines_of

OWN_LOGIN = LOGIN_PATH.decode("ascii") + "?to={path}"
"""The address of the proxy's own login page."""

# A 401 has to name a scheme (RFC 9110 section 15.5.2), and there is no registered one for cookies.
_FOR_SCRIPTS = b'WWW-Authenticate: Cookie realm="notebooks"'
# A longer address may not fit into a request line.
_LONGEST = 2048


def is_navigation(head: RequestHead) -> bool:
    """Whether this request navigates a tab to a page.

    Frames don't count: login pages are not shown in frames, since the page around them could be
    hostile. Browsers without Sec-Fetch-Mode (Safari before 16.4) are recognized by ``text/html`` in
    Accept, which scripts and programs do not send by default.
    """
    if head.method not in READING or b"upgrade" in head.fields.special:
        return False
    if b"text/html" not in (head.fields.first(b"accept") or b"").lower():
        return False
    mode = _said(head.fields, b"sec-fetch-mode")
    destination = _said(head.fields, b"sec-fetch-dest")
    return mode in (None, b"navigate") and destination in (None, b"document")


def answer_lines(head: RequestHead, lines: Iterable[bytes]) -> list[bytes]:
    """``lines`` of a refusal, adapted to the sender of the request with this ``head``.

    If a page's script gets a Basic challenge, the browser shows its own password window: once for
    each request of an open JupyterLab whose session has ended. And the typed password is never
    sent, because these requests have an Authorization of their own.
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
    """The login address for a browser that has requested ``target`` at the origin ``public``.

    :param template: an address, in which ``{path}`` or ``{url}`` stands for the requested path or
        URL, percent-encoded. If that is very long, the front page replaces it.
    """
    if len(target) > _LONGEST:
        target = b"/"
    path = quote_from_bytes(target, safe="/")
    url = quote_from_bytes(public + target, safe="")
    return template.replace("{path}", path).replace("{url}", url).encode("ascii")
