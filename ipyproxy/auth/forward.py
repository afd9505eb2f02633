"""A method that asks a login server: a subrequest to a URL, as nginx's auth_request makes it.

Knows what such servers are told and what their answers mean. Knows nothing of what they check, and
so an answer holds for nothing but the very same question.
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
"""Subrequests under way at once, half of them for one client."""
WAITING = 4096
"""Requests that may wait for theirs to begin; likewise."""

_LONGEST_BODY = 65536
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_IDLE = 15
_KEPT = 32
# Answers of the server that the browser gets to see.
_PASSED_ON = ("WWW-Authenticate", "Location")
# Of a client's fields, in whatever spelling: those that only we may say, and those that are not
# about who it is. All others are for the server to judge.
_OUR_FAMILIES = (b"x-original-", b"x-forwarded-", b"x-auth-request-", b"if-")
_OURS = frozenset((b"x-real-ip", b"accept-encoding", b"range", b"expect"))

_TOOL = "{tool}"
_TOOL_KEY = re.compile(rb"[a-z0-9]+(?=/|\Z)")

Ask = Callable[[str, Headers], Deferred[IResponse]]
"""Sends a GET, and gives the answer once its head has come."""


def agent(reactor: Clock, timeout: float) -> Ask:
    """The real way to ask: connections are kept; nothing is followed, and no proxy is used."""
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = _KEPT
    pool.cachedConnectionTimeout = _IDLE
    sender = Agent(reactor, connectTimeout=timeout, pool=pool)
    return lambda url, headers: sender.request(b"GET", url.encode("ascii"), headers)


class ForwardAuth:
    """A method: what a server behind a URL says of a request.

    2xx lets it pass. 401 and 403 go to the browser, with what they say on how to log in. Anything
    else, or nothing in time, is a failure of that server's (``AUTH_UNAVAILABLE``). Where so many
    others are under way that a subrequest cannot begin in time, it is not made (``OVERLOADED``).

    :param clock: the reactor, for its time.
    :param url: where to ask.
    :param user_header: the field of the answer that holds the user's name.
    :param headers: fields of the answer that go upstream, if they are there.
    :param withheld: names of further fields that a client may not say itself.
    :param timeout: seconds for the whole answer's head, and before that for the subrequest's turn.
    :param remembered: seconds for which a good answer counts for requests of which the server would
        be told exactly the same; 0: each request is asked for.
    :param login: where browsers are sent to log in, as
        :func:`~ipyproxy.access.navigation.login_address` takes it; empty: nowhere.
    :param tools: the path that interactive tools are below; for a URL with ``{tool}`` in it. Such a
        server is asked who may reach a tool, whatever is done there, so it is told the cookies and
        nothing else of the request.
    """

    def __init__(
        self,
        ask: Ask,
        clock: Clock,
        url: str,
        *,
        user_header: str,
        headers: Sequence[str] = (),
        withheld: Sequence[str] = (),
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
        self._withheld = ReservedFields((user_header, *headers, *withheld), basic=False)
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
            told = _told(facts, self._withheld)
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
        """All that the answer depends on, and nothing from which it can be learnt.

        No value holds a line feed. A port's change of hands voids what was remembered for it.
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
        # CR and LF are gone by now, but what is left is read differently by different servers.
        raise ProxyError(Problem.AUTH_UNAVAILABLE, f"{name} holds a control character")
    return values


def _told(facts: RequestFacts, withheld: ReservedFields) -> Headers:
    """What the server gets to know: the client's own fields, and what was asked.

    The names are those of nginx (X-Original-*), of Caddy and Traefik (X-Forwarded-*), and what
    oauth2-proxy goes by to lead back (X-Auth-Request-Redirect).
    """
    headers = Headers()
    for line in withheld.kept(facts.lines):
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
    """What a server gets to know that is asked who may reach a tool."""
    headers = Headers()
    headers.addRawHeader(b"X-Forwarded-For", facts.client.encode())
    headers.addRawHeader(b"X-Forwarded-Proto", b"https")
    for cookie in facts.cookies:
        headers.addRawHeader(b"Cookie", without_cookies(cookie, OWN_COOKIES))
    return headers


class _Discard(Protocol):
    """Reads a body to its end, so that its connection can be kept; gives up on a long one."""

    transport: ITransport

    def __init__(self, call_later: Callable[..., Call], timeout: float) -> None:
        self._received = 0
        self._deadline = call_later(timeout, self._give_up)

    def dataReceived(self, data: bytes) -> None:
        """Some more."""
        self._received += len(data)
        if self._received > _LONGEST_BODY:
            self._give_up()

    def _give_up(self) -> None:
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body has ended, or was given up."""
        if self._deadline.active():
            self._deadline.cancel()
