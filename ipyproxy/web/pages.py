"""The proxy's own pages: one for each problem, and the front page.

Knows how to present a :class:`~ipyproxy.errors.Problem` to a person (HTML) and to a program (JSON).
Knows nothing of requests: no byte of one can appear on a page (CVE-2024-35225).
"""

from __future__ import annotations

import html
import json
from datetime import datetime
from functools import cache
from typing import NamedTuple

from ipyproxy.access.sessions import LOGIN_PATH, LOGOUT_PATH
from ipyproxy.errors import Problem
from ipyproxy.routes.notebooks import STATE_PATH
from ipyproxy.upstream.states import State
from ipyproxy.web.frame import WAITING_SCRIPT, Field, html_body, page_fields
from ipyproxy.web.waysin import ways_in
from ipyproxy.web.wording import OF_APPLICATIONS, Words

RETRY_AFTER = 5
"""The default of Retry-After, in seconds."""
STARTING_RETRY_AFTER = 1
"""The same while a notebook starts, because another try is cheap."""


class Page(NamedTuple):
    """A whole answer except framing: the server adds Content-Length."""

    status: int
    content_type: bytes
    body: bytes
    fields: tuple[Field, ...]


# What a person can do, if the problem's own advice does not say so.
_NEXT_STEP = {
    Problem.BAD_REQUEST: "Reload the page. If this happens again, tell the administrator which "
    "program you use.",
    Problem.ORIGIN_DENIED: "Open the notebook in a tab of its own and go on there.",
    Problem.UNAUTHENTICATED: "Open the address again, and log in.",
    Problem.LOGIN_FAILED: "Open the address again, and try once more. Only the administrator can "
    "give you another password.",
    Problem.ACCESS_DENIED: "Ask the administrator who may open it.",
    Problem.FOREIGN_PORT: "Start your notebook again from the page you first started it on; it "
    "gets another port.",
    Problem.NOT_FOUND: "Check the address, or open the notebook from the page you started it on.",
    Problem.NO_SUCH_PORT: "Check the number in the address, or open the notebook from the page "
    "you started it on.",
    Problem.METHOD_NOT_ALLOWED: "Go back and open the notebook's own address.",
    Problem.BODY_TOO_LARGE: "Split the file into smaller ones, or fetch it from inside the "
    "notebook.",
    Problem.TARGET_TOO_LONG: "Shorter names of folders and files make it shorter.",
    Problem.EXPECTATION_FAILED: "Send the request again without an Expect field.",
    Problem.MISDIRECTED: "Use the address that the administrator gave you.",
    Problem.WRONG_CONNECTION: "Open the address again.",
    Problem.UPGRADE_REQUIRED: "Update the browser or program that you use.",
    Problem.INTERNAL: "Try again. If this happens again, tell the administrator at what time.",
    Problem.NOT_IMPLEMENTED: "Send the request again chunked, or with a Content-Length.",
    Problem.AUTH_UNAVAILABLE: "Try again. If this happens again, tell the administrator.",
    Problem.UPSTREAM_BROKEN: "Try again. If this happens again, restart the notebook.",
    Problem.UPSTREAM_DEAD: "Start it again from the page you first started it on. If you have just "
    "started it, wait a few seconds and try again.",
    Problem.UPSTREAM_STARTING: "If it has just been started, wait a few seconds and try again. "
    "Otherwise check the number in the address, or start it from the page you first started it on.",
    Problem.CHANGED_HANDS: "Open the notebook again from the page you started it on.",
    Problem.CONNECT_TIMEOUT: "Wait a minute and try again. If it still does not answer, restart "
    "the notebook.",
    Problem.DRAINING: "The notebook itself is still running.",
    Problem.UPSTREAM_TIMEOUT: "A long computation can keep it busy. Wait a little and try again.",
    Problem.VERSION_NOT_SUPPORTED: "Update the browser or program that you use.",
}

# The state of the notebook for scripts, in addition to the problem.
_STATES = {Problem.UPSTREAM_DEAD: State.DEAD, Problem.UPSTREAM_STARTING: State.STARTING}

_BUSY = "The notebook is busy"

# Statuses of temporary problems: their pages have a link to try again.
_PASSING = frozenset({408, 429, 500, 502, 503, 504})

# In a new tab, because this page may be in a frame, and login pages are not shown in frames.
_TO_LOGIN = f'\n<a href="{LOGIN_PATH.decode()}" target="_blank" rel="noopener">Log in</a>'
_TO_LOGOUT = f'\n<a href="{LOGOUT_PATH.decode()}">Log out</a>'

# A link, and no automatic reload: a forgotten tab would send requests for ever, one day to the
# notebook of the port's next owner. Only the pages that wait for a notebook poll it, for five
# minutes. An empty href is the page's own address, so nothing of the address is written here.
_TRY_AGAIN = '\n<a href="">Try again</a>'


def problem_page(
    problem: Problem,
    *,
    wants_json: bool,
    retry_after: int | None = None,
    rule: str = "",
    methods: tuple[str, ...] = (),
    of_application: bool = False,
) -> Page:
    """The page for ``problem``, as ``application/problem+json`` or as HTML.

    ``retry_after`` is the number of seconds until another try makes sense; it is sent with 429 and
    503 only (RFC 9110 section 10.2.3, RFC 6585 section 4), by default :data:`RETRY_AFTER`. ``rule``
    and ``methods`` are those of :class:`~ipyproxy.errors.ProxyError`. With ``of_application`` the
    text speaks of an application instead of a notebook.
    """
    page = _problem_page(problem, wants_json, rule, methods, of_application)
    if problem.status in (429, 503):
        if retry_after is None:
            is_starting = problem is Problem.UPSTREAM_STARTING
            retry_after = STARTING_RETRY_AFTER if is_starting else RETRY_AFTER
        return page._replace(fields=(*page.fields, (b"Retry-After", b"%d" % retry_after)))
    return page


def own_page(page: Page, body: bytes) -> Page:
    """The site's own page in place of ``page``; it may load anything."""
    fields = tuple(field for field in page.fields if field[0] != b"Content-Security-Policy")
    return Page(page.status, b"text/html; charset=utf-8", body, fields)


WAITING = {
    Problem.UPSTREAM_STARTING: "If you have not started one, check the number in the address.",
    Problem.UPSTREAM_DEAD: "Start it again from the page you first started it on.",
}
"""The problems whose pages poll the notebook and open it as soon as it answers, and what a person
can do meanwhile."""


def waiting_page(problem: Problem, port: int) -> Page:
    """The page that waits while nothing answers on ``port``; it opens the notebook once it answers.

    Without scripts it is the ordinary page of ``problem``, one of :data:`WAITING`, with its link.
    """
    content = (
        f"<p>{_escape(problem.advice)}</p>\n"
        f'<p id="plain">{_NEXT_STEP[problem]}</p>\n'
        f'<p id="soon" role="status" hidden>{WAITING[problem]} This page looks for it, and opens '
        "it as soon as it answers.</p>\n"
        '<p id="late" role="status" hidden>It has not answered for five minutes, so this page has '
        f"stopped looking. {_NEXT_STEP[Problem.UPSTREAM_DEAD]}</p>" + _TRY_AGAIN
    )
    body = html_body(
        problem.title,
        content,
        f"ipyproxy · {problem.status}",
        state=f' data-state="{STATE_PATH}/{port}"',
        script=f"<script>{WAITING_SCRIPT}</script>\n",
    )
    seconds = STARTING_RETRY_AFTER if problem is Problem.UPSTREAM_STARTING else RETRY_AFTER
    retry_after = (b"Retry-After", b"%d" % seconds)
    fields = (*page_fields(frame_ancestors="*", script=WAITING_SCRIPT), retry_after)
    return Page(problem.status, b"text/html; charset=utf-8", body, fields)


def busy_page(problem: Problem, since: datetime, seconds: float, *, wants_json: bool) -> Page:
    """The page for a client whose request has waited in vain for a busy notebook.

    :param problem: the outcome of the request.
    :param since: when the notebook fell silent, and how many ``seconds`` ago that is.
    """
    silence = (
        f"It has answered nothing since {since:%H:%M:%S} UTC ({_lasting(seconds)}), but it is "
        "there, and keeps its connections."
    )
    if problem is Problem.CONNECT_TIMEOUT:
        silence += " So many others wait already that it takes no more."
    advice = (
        "What it is doing goes on, and so do its kernels: a large file, a slow disk or a long "
        "callback can keep it from answering. Wait a little and try again. If it stays so, restart "
        "it from the page you first started it on."
    )
    if wants_json:
        document = _document(problem, _BUSY, f"{silence} {advice}")
        document |= {
            "state": State.BUSY.value,
            "busy_since": since.isoformat(timespec="seconds"),
            "busy_seconds": round(seconds, 1),
        }
        content_type, body = b"application/problem+json", json.dumps(document).encode() + b"\n"
    else:
        content_type = b"text/html; charset=utf-8"
        content = f"<p>{silence}</p>\n<p>{advice}</p>{_TRY_AGAIN}"
        body = html_body(_BUSY, content, f"ipyproxy · {problem.status}")
    fields = page_fields(frame_ancestors="*")
    if problem.status == 503:
        fields += ((b"Retry-After", b"%d" % RETRY_AFTER),)
    return Page(problem.status, content_type, body, fields)


def _lasting(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds // 60:.0f} minutes"


def state_page(state: State) -> Page:
    """The state of a notebook, for a script that waits for it."""
    body = json.dumps({"state": state.value}).encode() + b"\n"
    return Page(200, b"application/json", body, page_fields(frame_ancestors="'none'"))


@cache
def front_page(prefix: str, *, login: bool = False) -> Page:
    """The front page: explains the site and the form of an address. It lists nothing.

    :param prefix: the path above all notebooks.
    :param login: whether to link to the log-out page.
    """
    content = (
        "<p>This server carries your browser to the notebooks that run on it. "
        "The address of a notebook has this form:</p>\n"
        f"<code>https://&lt;server&gt;{_escape(prefix)}/&lt;port&gt;/</code>\n"
        "<p>Open yours from the page you started it on. Notebooks are not listed here.</p>"
    ) + (_TO_LOGOUT if login else "")
    body = html_body("Notebooks", content, "ipyproxy")
    # No page needs to embed this page, so none may.
    return Page(200, b"text/html; charset=utf-8", body, page_fields(frame_ancestors="'none'"))


@cache
def _problem_page(
    problem: Problem, as_json: bool, rule: str, methods: tuple[str, ...], of_application: bool
) -> Page:
    words = _words(problem, of_application)
    paragraphs = [words.advice]
    if rule:
        # The rules are a fixed set of sentences, so all of them may be cached.
        paragraphs.append(f"What is wrong with it: {rule}.")
    ways = ways_in(problem, methods)
    if ways:
        paragraphs += ways
    elif words.next_step:
        paragraphs.append(words.next_step)
    if as_json:
        content_type = b"application/problem+json"
        body = _json(problem, words.title, " ".join(paragraphs))
    else:
        content_type = b"text/html; charset=utf-8"
        content = "\n".join(f"<p>{_escape(text)}</p>" for text in paragraphs)
        if problem.status in _PASSING:
            content += _TRY_AGAIN
        if ways and "htpasswd" in methods:
            content += _TO_LOGIN
        body = html_body(_escape(words.title), content, f"ipyproxy · {problem.status}")
    # Galaxy shows a notebook in a frame, perhaps from another host. If the problem's page could not
    # be shown there, the user would see the browser's "refused to connect". Framing it is safe: the
    # page has no state, no secret and no action except a link to itself, so a hostile page has
    # nothing to make a user click on.
    fields = page_fields(frame_ancestors="*")
    if problem is Problem.UPGRADE_REQUIRED:
        # RFC 9110 section 15.5.22 and RFC 6455 section 4.2.2: the protocol to upgrade to.
        fields += ((b"Upgrade", b"websocket"), (b"Sec-WebSocket-Version", b"13"))
    return Page(problem.status, content_type, body, fields)


def _words(problem: Problem, of_application: bool) -> Words:
    usual = Words(problem.title, problem.advice, _NEXT_STEP.get(problem, ""))
    return OF_APPLICATIONS.get(problem, usual) if of_application else usual


def _escape(text: str) -> str:
    return html.escape(text, quote=False)


def _document(problem: Problem, title: str, detail: str) -> dict[str, str | float]:
    """RFC 9457 problem details, and ``message``, which is what JupyterLab shows."""
    return {
        "title": title,
        "status": problem.status,
        "detail": detail,
        "message": f"{title}. {detail}",
    }


def _json(problem: Problem, title: str, detail: str) -> bytes:
    document = _document(problem, title, detail)
    if problem in _STATES:
        document["state"] = _STATES[problem].value
    return json.dumps(document).encode() + b"\n"
