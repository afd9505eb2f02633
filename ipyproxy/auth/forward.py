"""A method that asks a login server by a subrequest, like nginx's auth_request.

Knows what such servers are sent and what their answers mean. It does not know what they check, so
an answer is valid for exactly the same question only.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Hashable, Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from ipyproxy.access.facts import Failed, Finding, Lack, Passed, RequestFacts
from ipyproxy.access.reserved import ReservedFields, alike
from ipyproxy.access.sessions import OWN_COOKIES
from ipyproxy.auth.answers import SingleFlight
from ipyproxy.auth.turns import Turns
from ipyproxy.clock import Call, Clock, twisted_clock
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http.rewriting import without_cookies

AT_ONCE = 128
"""Most subrequests at a time; one client may have half of them."""
WAITING = 4096
"""Most requests that wait for their subrequest to begin; likewise."""

_LONGEST_BODY = 65536
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_IDLE = 15
_KEPT = 32
# The fields of the login server's answer that are passed on to the browser.
_PASSED_ON = ("WWW-Authenticate", "Location")
# The client's fields, in any spelling, that the login server does not get: those that only the
# proxy may set, and those that say nothing about the user. It gets all others.
_OUR_FAMILIES = (b"x-original-", b"x-forwarded-", b"x-auth-request-", b"if-")
_OURS = frozenset((b"x-real-ip", b"accept-encoding", b"range", b"expect"))

_TOOL = "{tool}"
_TOOL_KEY = re.compile(rb"[a-z0-9]+(?=/|\Z)")

Ask = Callable[[str, Headers], Deferred[IResponse]]
"""Sends a GET, and returns the answer once its head has come."""


def agent(reactor: Clock, timeout: float) -> Ask:
    """The HTTP client for subrequests: keeps connections, follows no redirect, uses no proxy."""
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = _KEPT
    pool.cachedConnectionTimeout = _IDLE
    sender = Agent(reactor, connectTimeout=timeout, pool=pool)
    return lambda url, headers: sender.request(b"GET", url.encode("ascii"), headers)


class ForwardAuth:
    """A method: a server at a URL decides about a request.

    2xx lets the request pass. 401 and 403 are passed on to the browser, with the fields that say
    how to log in. Any other answer, or none in time, is ``AUTH_UNAVAILABLE``. If a subrequest
    cannot begin in time because too many others are open, it is not made (``OVERLOADED``).

    :param clock: the reactor, for its time.
    :param url: the URL of the login server.
    :param user_header: the field of the answer that contains the user's name.
    :param headers: fields of the answer that are sent upstream, if present.
    :param reserved: names of further fields that a client may not send.
    :param timeout: seconds to wait for the turn of the subrequest, and again for the head of the
        answer.
    :param remembered: seconds for which a positive answer is cached for equal subrequests; 0: not
        cached.
    :param login: the address to which browsers are sent to log in, as
        :func:`~ipyproxy.access.navigation.login_address` takes it; empty: none.
    :param tools: the path above the interactive tools, for a URL that contains ``{tool}``. Such a
        server only decides who may reach a tool, so it gets the cookies and nothing else of the
        request.
    """

    def __init__(
        self,
        ask: Ask,
        clock: Clock,
        url: str,
        *,
        user_header: str,
        headers: Sequence[str] = (),
        reserved: Sequence[str] = (),
        timeout: float = 5.0,
        remembered: float = 0.0,
        login: str = "",
        tools: str = "",
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._url = url
        self._tools = tools.encode("ascii") + b"/" if _TOOL in url else None
        self._user_header = user_header
        self._headers = tuple(headers)
        self._timeout = timeout
        self._reserved = ReservedFields((user_header, *headers, *reserved), basic=False)
        self._remembered = remembered
        self._login = login
        self._secret = secrets.token_bytes(32)
        self._answers: SingleFlight[Finding] = SingleFlight(
            clock, self._lasting, Turns(AT_ONCE, WAITING), timeout
        )

    def examine(self, facts: RequestFacts) -> Deferred[Finding]:
        """See :class:`~ipyproxy.auth.gate.Method`."""
        url = self._url
        if self._tools is None:
            told = _told(facts, self._reserved)
        else:
            tool = _TOOL_KEY.match(facts.path.removeprefix(self._tools))
            if tool is None or not facts.path.startswith(self._tools):
                return succeed(Failed(Lack.FOREIGN))
            url = url.replace(_TOOL, tool[0].decode("ascii"))
            told = _shown(facts)
        key: Hashable = self._key(url, told, facts) if self._remembered else object()
        return self._answers.ask(facts.client, key, lambda: self._send(url, told, facts))

    def _lasting(self, finding: Finding) -> float:
        return self._remembered if isinstance(finding, Passed) else 0.0

    def _key(self, url: str, told: Headers, facts: RequestFacts) -> bytes:
        """A hash of everything that the answer depends on, which reveals none of it.

        No value contains a line feed. When a port gets a new tenant, its cached answers are void.
        """
        lines = [
            b"%b: %b" % (name, value)
            for name, values in told.getAllRawHeaders()
            for value in values
        ]
        content = b"\n".join([url.encode("ascii"), b"%f" % facts.revoked, *sorted(lines)])
        return hmac.new(self._secret, content, hashlib.sha256).digest()

    def _send(self, url: str, told: Headers, facts: RequestFacts) -> Deferred[Finding]:
        answer = self._ask(url, told)
        answer.addTimeout(self._timeout, twisted_clock(self._clock))
        found: Deferred[Finding] = answer.addCallbacks(
            self._understand, self._explain, callbackArgs=(facts,)
        )
        return found

    def _understand(self, response: IResponse, facts: RequestFacts) -> Finding:
        response.deliverBody(_Discard(self._clock.callLater, self._timeout))
        if 200 <= response.code < 300:
            return Passed(self._user(response), self._lines(response))
        if response.code in (401, 403):
            lines = [line for name in _PASSED_ON for line in _spelled(response, name)]
            shown = facts.authorization or facts.cookies
            lack = Lack.FOREIGN if shown else Lack.NOTHING
            return Failed(lack, response.code, tuple(lines), self._login)
        raise ProxyError(Problem.AUTH_UNAVAILABLE, f"the login service answered {response.code}")

    def _explain(self, failure: Failure) -> Finding:
        kind = failure.value.__class__.__name__
        raise ProxyError(Problem.AUTH_UNAVAILABLE, f"the login service did not answer: {kind}")

    def _user(self, response: IResponse) -> str | None:
        values = _values(response, self._user_header)
        try:
            return values[0].decode() if values else None
        except UnicodeDecodeError as error:
            raise ProxyError(Problem.AUTH_UNAVAILABLE, "a user's name is not UTF-8") from error

    def _lines(self, response: IResponse) -> tuple[bytes, ...]:
        return tuple(line for name in self._headers for line in _spelled(response, name))


def _spelled(response: IResponse, name: str) -> list[bytes]:
    return [b"%b: %b" % (name.encode("ascii"), value) for value in _values(response, name)]


def _values(response: IResponse, name: str) -> list[bytes]:
    values: list[bytes] = response.headers.getRawHeaders(name.encode("ascii"), [])
    if any(_CONTROL.search(value) for value in values):
        # CR and LF are gone by now, but servers treat other control characters differently.
        raise ProxyError(Problem.AUTH_UNAVAILABLE, f"{name} holds a control character")
    return values


def _told(facts: RequestFacts, reserved: ReservedFields) -> Headers:
    """The fields for the login server: the client's own, and those that describe the request.

    The names are those of nginx (X-Original-*), of Caddy and Traefik (X-Forwarded-*), and the one
    that oauth2-proxy uses to redirect back (X-Auth-Request-Redirect).
    """
    headers = Headers()
    for line in reserved.kept(facts.lines):
        name, _, value = line.partition(b":")
        plain = alike(name)
        if plain not in _OURS and not plain.startswith(_OUR_FAMILIES):
            headers.addRawHeader(name, value.strip(b" \t"))
    for cookie in facts.cookies:
        headers.addRawHeader(b"Cookie", without_cookies(cookie, OWN_COOKIES))
    host = facts.public.partition(b"://")[2]
    client = facts.client.encode()
    for name, value in (
        (b"X-Forwarded-For", client),
        (b"X-Forwarded-Host", host),
        (b"X-Forwarded-Method", facts.method),
        (b"X-Forwarded-Proto", b"https"),
        (b"X-Forwarded-Uri", facts.target),
        (b"X-Original-Method", facts.method),
        (b"X-Original-URI", facts.target),
        (b"X-Original-URL", facts.public + facts.target),
        (b"X-Auth-Request-Redirect", facts.public + facts.target),
        (b"X-Real-IP", client),
    ):
        headers.setRawHeaders(name, [value])
    return headers


def _shown(facts: RequestFacts) -> Headers:
    """The fields for a login server that decides who may reach a tool."""
    headers = Headers()
    headers.addRawHeader(b"X-Forwarded-For", facts.client.encode())
    headers.addRawHeader(b"X-Forwarded-Proto", b"https")
    for cookie in facts.cookies:
        headers.addRawHeader(b"Cookie", without_cookies(cookie, OWN_COOKIES))
    return headers


class _Discard(Protocol):
    """Reads a body to its end, so that the connection can be reused; gives up on a long one."""

    transport: ITransport

    def __init__(self, call_later: Callable[..., Call], timeout: float) -> None:
        self._received = 0
        self._deadline = call_later(timeout, self._give_up)

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the body."""
        self._received += len(data)
        if self._received > _LONGEST_BODY:
            self._give_up()

    def _give_up(self) -> None:
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body has ended, or was given up."""
        if self._deadline.active():
            self._deadline.cancel()
