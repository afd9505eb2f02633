"""The frame of the proxy's own pages: the document around them, one look, and what they may do.

Knows HTML, its style, and Content-Security-Policy. Knows nothing of a page's content.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache

Field = tuple[bytes, bytes]
"""A field's name and value."""

_STYLE = """\
:root{color-scheme:light dark;--ground:#f3f5f8;--sheet:#fff;--edge:#dde2e9;--ink:#1b2330;\
--soft:#586273;--accent:#0a6390;--on-accent:#fff}
@media(prefers-color-scheme:dark){:root{--ground:#12161c;--sheet:#1b212a;--edge:#2d3542;\
--ink:#e8ebf0;--soft:#a0abba;--accent:#7cc4ee;--on-accent:#0d1b26}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;min-height:100vh;min-height:100svh;display:grid;place-items:center;padding:1.25rem;\
background:var(--ground);color:var(--ink);\
font:1.0625rem/1.6 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main{width:100%;max-width:34rem;padding:2rem;background:var(--sheet);\
border:1px solid var(--edge);border-top:4px solid var(--accent);border-radius:.5rem}
h1{margin:0 0 .75rem;font-size:1.5rem;line-height:1.25;font-weight:650;text-wrap:balance}
p{margin:0 0 1rem;overflow-wrap:break-word}
code{display:block;margin:0 0 1rem;padding:.75rem 1rem;overflow-wrap:anywhere;\
background:var(--ground);border-radius:.375rem;\
font:.9375rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
a{display:inline-block;margin-top:.25rem;padding:.5rem 1.125rem;border-radius:.375rem;\
background:var(--accent);color:var(--on-accent);font-weight:600;text-decoration:none}
a:hover{text-decoration:underline}
a:focus-visible{outline:3px solid var(--ink);outline-offset:3px}
footer{margin-top:1.5rem;padding-top:.875rem;border-top:1px solid var(--edge);\
color:var(--soft);font-size:.875rem}
@media(max-width:30rem){body{place-items:start center;padding:.75rem}main{padding:1.5rem 1.25rem}}
"""

# Polls the state of the notebook, at first often, and gives up after five minutes: a forgotten tab
# must not poll for ever. It reloads only once the notebook answers, so that it can't reload in a
# loop.
WAITING_SCRIPT = """\
(() => {
  const show = (id) => {
    for (const element of document.querySelectorAll("p[id]")) element.hidden = element.id !== id;
  };
  const end = Date.now() + 300000;
  let wait = 500;
  const later = () => {
    if (Date.now() > end) return show("late");
    wait = Math.min(wait * 1.3, 2000);
    setTimeout(look, wait);
  };
  const look = () => fetch(document.querySelector("main").dataset.state, {cache: "no-store"})
    .then((answer) => answer.json())
    .then((found) => { if (found.state === "up") location.reload(); else later(); })
    .catch(later);
  show("soon");
  setTimeout(look, wait);
})();
"""


_HTML = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
{more}<style>{style}</style>
</head>
{body}
</html>
"""

_BODY = """\
<body>
<main{state}>
<h1>{title}</h1>
{content}
<footer>{footer}</footer>
</main>
{script}</body>"""


def html_document(title: str, body: str, style: str, *, more: str = "") -> bytes:
    """A whole document. All but ``style`` is HTML.

    :param body: the element of that name.
    :param more: what else stands in the head.
    """
    return _HTML.format(title=title, body=body, style=style, more=more).encode()


def html_body(
    title: str, content: str, footer: str, *, state: str = "", script: str = "", style: str = ""
) -> bytes:
    """A whole page in the frame. All but ``script`` and ``style`` (more of either) is HTML.

    :param state: attributes of the part that is read.
    """
    body = _BODY.format(title=title, content=content, footer=footer, state=state, script=script)
    return html_document(title, body, _STYLE + style)


@cache
def _source_hash(text: str) -> str:
    """How a Content-Security-Policy names an inline style or script, of which there are a few."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def document_fields(
    style: str, script: str = "", *, frame_ancestors: str = "'none'", form: bool = False
) -> tuple[Field, ...]:
    """The fields of a document: it may do nothing but what it is seen to do.

    :param style: all of its style.
    :param script: its script, which may ask this host.
    :param frame_ancestors: the pages that may show it in a frame.
    :param form: whether it has a form, which goes to this host.
    """
    action = "'self'" if form else "'none'"
    allowed = f"script-src {_source_hash(script)}; connect-src 'self'; " if script else ""
    policy = (
        f"default-src 'none'; style-src {_source_hash(style)}; {allowed}base-uri 'none'; "
        f"form-action {action}; frame-ancestors {frame_ancestors}"
    )
    return (
        (b"Content-Security-Policy", policy.encode()),
        (b"X-Content-Type-Options", b"nosniff"),
        # With no-referrer, browsers send a form with "Origin: null".
        (b"Referrer-Policy", b"same-origin" if form else b"no-referrer"),
        (b"Cache-Control", b"no-store"),
    )


def page_fields(
    *, frame_ancestors: str, script: str = "", style: str = "", form: bool = False
) -> tuple[Field, ...]:
    """The fields of a page in the frame; see :func:`document_fields`.

    :param style: the same as for :func:`html_body`.
    """
    return document_fields(_STYLE + style, script, frame_ancestors=frame_ancestors, form=form)
