"""Logging in and out: serves the two pages and accepts their forms.

Knows the pages' addresses, their forms, and which requests can come from these forms. Knows nothing
of how a password is checked.

A page of another site can neither log its visitors in under a name that it chooses, nor log them
out: browsers send Origin with each form, and it has to equal the public origin; trusted origins
don't count. So the form needs no token that could expire while the page is open. In addition, the
session's cookie is SameSite=Lax, so browsers don't send it with such a form.
"""

from __future__ import annotations

import math
import re
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred, succeed

from ipyproxy.access.basic import named_password
from ipyproxy.access.facts import Failed, Finding
from ipyproxy.access.origins import is_by_page
from ipyproxy.access.sessions import BROWSER_COOKIE, LOGIN_PATH, LOGOUT_PATH, set_cookie
from ipyproxy.auth.login import PasswordLogin
from ipyproxy.auth.sessions import Sessions
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.head import READING
from ipyproxy.routes.notebooks import parse_target
from ipyproxy.server.request import Request
from ipyproxy.web.admission import Admission
from ipyproxy.web.forms import Form, read_form
from ipyproxy.web.loginpages import NAME, PASSWORD, goodbye_page, login_page, logout_page
from ipyproxy.web.resources import send_page, send_redirect

_VISIBLE = re.compile(rb"/[!-~\x80-\xff]*")
# Problems for which the form is shown again.
_SHOWN_AGAIN = (Problem.LOGIN_FAILED, Problem.TOO_MANY_LOGINS)


class LoginPages:
    """The pages at :data:`LOGIN_PATH` and :data:`LOGOUT_PATH`.

    :param login: checks passwords; None: there are no passwords, and only the log-out page exists.
    :param sessions: the sessions, and the browsers that have opened links.
    :param operator: the operator of the site.
    """

    def __init__(self, login: PasswordLogin | None, sessions: Sessions, operator: str) -> None:
        self._login = login
        self._sessions = sessions
        self._operator = operator

    def serves(self, path: bytes) -> bool:
        """Whether ``path`` is one of them."""
        return path == LOGOUT_PATH or (path == LOGIN_PATH and self._login is not None)

    def answer(self, request: Request, path: bytes) -> None:
        """Show a page, or accept its form.

        Raises :class:`ProxyError`: ``METHOD_NOT_ALLOWED``, ``ORIGIN_DENIED``.
        """
        if request.method in READING:
            page = login_page if path == LOGIN_PATH else logout_page
            send_page(request, page(self._operator))
            return
        if request.method != b"POST" or b"upgrade" in request.head.fields.special:
            raise ProxyError(Problem.METHOD_NOT_ALLOWED)
        origins = request.head.fields.values(b"origin")
        if origins and origins != [request.public]:
            raise ProxyError(Problem.ORIGIN_DENIED, "a form of another origin")
        login = self._login
        if path == LOGIN_PATH and login is not None:
            read_form(request, lambda form: self._log_in(request, form, login))
        else:
            read_form(request, lambda form: self._log_out(request))

    def _log_in(self, request: Request, form: Form, login: PasswordLogin) -> None:
        name, password = form.get(NAME, b""), form.get(PASSWORD, b"")
        shown = named_password(name, password)
        if shown is None:
            raise ProxyError(Problem.LOGIN_FAILED, "login page: no such name or password can be")
        by_page = is_by_page(request.head.fields.special)

        def found(finding: Finding) -> None:
            if isinstance(finding, Failed):
                raise ProxyError(Problem.LOGIN_FAILED, f"login page: {finding.lack.value}")
            request.user = finding.user
            # A login under another name ends the former session.
            left = login.log_out(request.head.fields.values(b"cookie"))
            left.addErrback(lambda _: None)
            query = request.target.partition(b"?")[2]
            send_redirect(request, return_path(query), finding.cookie)

        checked = login.log_in(shown, request.client, by_page=by_page)
        Admission(request, found).wait(checked)

    def _log_out(self, request: Request) -> None:
        cookies = request.head.fields.values(b"cookie")
        login, browser = self._login, self._sessions.browser(cookies)
        if browser is not None:
            self._sessions.leave(browser)

        def left(user: str | None) -> None:
            request.user = user
            page = goodbye_page(self._operator, login=login is not None)
            send_page(request, page, [set_cookie(b"", 0), set_cookie(b"", 0, BROWSER_COOKIE)])

        nobody: Deferred[str | None] = succeed(None)
        Admission(request, left).wait(nobody if login is None else login.log_out(cookies))

    def explain(self, request: Request, error: ProxyError) -> bool:
        """Show the form again after a failed login. Returns whether ``error`` was one."""
        path = request.target.partition(b"?")[0]
        if path != LOGIN_PATH or error.problem not in _SHOWN_AGAIN:
            return False
        request.refused = True
        wait = None if error.retry_after is None else math.ceil(error.retry_after)
        send_page(request, login_page(self._operator, error.problem, wait))
        return True


def return_path(query: bytes) -> bytes:
    """The path to redirect to after the login: ``to`` in the query.

    Always a path on this host, whatever the query contains, and never one of these pages.
    """
    for parameter in query.split(b"&"):
        name, _, value = parameter.partition(b"=")
        if name == b"to":
            return _own_path(unquote_to_bytes(value))
    return b"/"


def _own_path(address: bytes) -> bytes:
    if not _VISIBLE.fullmatch(address):
        return b"/"
    try:
        # It refuses "//" and backslashes, which browsers read as the beginning of another host.
        path = parse_target(b"GET", address).path
    except ProxyError:
        return b"/"
    if path in (LOGIN_PATH, LOGOUT_PATH):
        return b"/"
    return re.sub(rb"[\x80-\xff]", lambda byte: b"%%%02X" % ord(byte[0]), address)
