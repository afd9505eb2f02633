"""The HTML of the login and log-out pages.

Knows their text and the operator of the site. Knows nothing of requests: no byte of one appears on
a page, and a form is sent to the page's own address.
"""

from __future__ import annotations

import html

from ipyproxy.access.sessions import LOGIN_PATH
from ipyproxy.errors import Problem
from ipyproxy.web.frame import Field, html_body, page_fields
from ipyproxy.web.pages import Page

NAME, PASSWORD = "name", "password"
"""The fields of the form."""

_STYLE = """\
label{display:block;margin:0 0 .25rem;font-weight:600}
input{display:block;width:100%;margin:0 0 1rem;padding:.625rem .75rem;border:1px solid var(--soft);\
border-radius:.375rem;background:var(--ground);color:var(--ink);font:inherit}
button{display:block;width:100%;margin:1.25rem 0 0;padding:.625rem 1.125rem;border:0;\
border-radius:.375rem;background:var(--accent);color:var(--on-accent);font:inherit;\
font-weight:600;cursor:pointer}
button:hover{text-decoration:underline}
button:focus-visible,input:focus-visible{outline:3px solid var(--ink);outline-offset:2px}
p.wrong{padding:.625rem .875rem;border-left:4px solid var(--wrong);background:var(--ground)}
:root{--wrong:#b3261e}
@media(prefers-color-scheme:dark){:root{--wrong:#ff8a80}}
main{max-width:24rem}
"""

_FORM = f"""\
<form method="post">
<label for="name">Name</label>
<input id="name" name="{NAME}" required maxlength="256" autocomplete="username"\
 autocapitalize="none" autocorrect="off" spellcheck="false"{{focus_name}}>
<label for="password">Password</label>
<input id="password" name="{PASSWORD}" type="password" required maxlength="512"\
 autocomplete="current-password"{{focus_password}}>
<button>Log in</button>
</form>"""

_FOCUS = " autofocus"


def login_page(operator: str, problem: Problem | None = None, wait: int | None = None) -> Page:
    """The form for a name and a password.

    :param operator: the operator of the site.
    :param problem: why the form is shown again.
    :param wait: seconds until another try makes sense.
    """
    said = ""
    if problem is not None:
        advice = problem.advice
        if wait is not None:
            advice = f"There were too many wrong passwords from your address. Wait {_spell(wait)}."
        said = f'<p class="wrong" role="alert">{html.escape(advice)}</p>\n'
    is_known = problem is Problem.LOGIN_FAILED
    form = _FORM.format(
        focus_name="" if is_known else _FOCUS, focus_password=_FOCUS if is_known else ""
    )
    fields: tuple[Field, ...] = ()
    status = 200
    if problem is not None:
        # Not 401, which would have to name a scheme of Authorization (RFC 9110 section 15.5.2).
        status = 403 if problem.status == 401 else problem.status
        fields = () if wait is None else ((b"Retry-After", b"%d" % wait),)
    return _page("Log in", said + form, operator, status, fields)


def logout_page(operator: str) -> Page:
    """The page with the log-out button; a mere link could be followed by accident."""
    content = (
        "<p>After that, this browser opens no notebook here any more, until you log in or open a "
        "link again. What runs in your notebooks goes on.</p>\n"
        '<form method="post">\n<button>Log out</button>\n</form>'
    )
    return _page("Log out", content, operator)


def goodbye_page(operator: str, *, login: bool) -> Page:
    """The page after a log-out.

    :param login: whether there is a login page.
    """
    content = (
        "<p>If others use this computer, close the notebooks that are still open in other tabs.</p>"
    )
    if login:
        content += f'\n<a href="{LOGIN_PATH.decode("ascii")}">Log in</a>'
    return _page("You are logged out", content, operator)


def _page(
    title: str, content: str, operator: str, status: int = 200, more: tuple[Field, ...] = ()
) -> Page:
    body = html_body(title, content, html.escape(operator), style=_STYLE)
    # A notebook's page, which shares the origin, gets no access to the window of a login page that
    # it opens; and no page at all can show it in a frame.
    opener = (b"Cross-Origin-Opener-Policy", b"same-origin")
    fields = page_fields(frame_ancestors="'none'", style=_STYLE, form=True)
    return Page(status, b"text/html; charset=utf-8", body, (*fields, opener, *more))


def _spell(seconds: int) -> str:
    if seconds == 1:
        return "a second"
    return f"{seconds} seconds" if seconds < 120 else f"{-(-seconds // 60)} minutes"
