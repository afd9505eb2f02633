"""The gate: calls the methods of the rule that covers a path, and admits or refuses the request.

Knows rules and the configured methods. Knows nothing of how a method works, or of what happens to
an admitted request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from twisted.internet.defer import Deferred, succeed

from ipyproxy.access.facts import Admitted, Failed, Finding, Passed, RequestFacts
from ipyproxy.access.origins import is_by_page
from ipyproxy.access.rules import Rule, Rules, agree, refusal
from ipyproxy.access.tokens import split_token
from ipyproxy.http1.head import READING
from ipyproxy.http1.lines import lines_of
from ipyproxy.routes.notebooks import parse_port
from ipyproxy.server.request import ClientConnection, Request

_NAMELESS = Passed(None)


class Method(Protocol):
    """One way to find out who sent a request.

    This is the whole interface. :class:`~ipyproxy.auth.memory.InMemory` is a method for tests.
    """

    def examine(self, facts: RequestFacts) -> Finding | Deferred[Finding]:
        """Decide whether a request may pass, at once or later.

        The Deferred is cancelled if the client leaves. Raises :class:`~ipyproxy.errors.ProxyError`
        if the method cannot decide.
        """


class Gate:
    """Decides for HTTP and WebSocket alike.

    :param methods: the methods by their names in rules.
    :param prefix: the path above all notebooks, such as ``/ipython``.
    :param user_header: the field that tells the upstream the user's name.
    :param revoked: returns, for a notebook's name, the time (seconds since the epoch) up to which
        everything issued for it is void; 0 if there is none.
    :param subject: returns the subject of a connection's verified client certificate, if any.
    """

    def __init__(
        self,
        rules: Rules,
        methods: Mapping[str, Method],
        *,
        prefix: str,
        user_header: str = "X-Remote-User",
        revoked: Callable[[str], float] = lambda name: 0.0,
        subject: Callable[[ClientConnection], str | None] = lambda connection: None,
    ) -> None:
        self._rules = rules
        self._methods = methods
        self._below = prefix.encode("ascii") + b"/"
        self._user_line = user_header.encode("ascii") + b": "
        self._revoked = revoked
        self._subject = subject

    def rule(self, host: bytes, path: bytes) -> Rule | None:
        """The rule that covers ``path`` at ``host``; None if there is none."""
        return self._rules.covering(path, host)

    def decide(self, request: Request, host: bytes, path: bytes) -> Deferred[Admitted]:
        """Decide whether ``request`` may go on; ``request.target`` is in origin-form by now.

        Fails with :class:`~ipyproxy.errors.ProxyError`: ``UNAUTHENTICATED``, ``LOGIN_FAILED``,
        ``ACCESS_DENIED``, or what a method raises.
        """
        rule = self.rule(host, path)
        if rule is None:
            return succeed(Admitted(None, (), request.target))
        return Deferred.fromCoroutine(self._pass(rule, self._facts(rule, request, path)))

    def _facts(self, rule: Rule, request: Request, path: bytes) -> RequestFacts:
        fields = request.head.fields
        port = self._port(path)
        token, target = None, request.target
        if rule.asks("link"):
            # The token, valid or not, is not sent upstream: a notebook could learn another one's.
            token, target = split_token(target)
        return RequestFacts(
            method=request.method,
            target=target,
            path=path,
            public=request.public,
            client=request.client,
            route=None if port is None else b"%b%d" % (self._below, port),
            revoked=0.0 if port is None else self._revoked(str(port)),
            authorization=fields.values(b"authorization"),
            cookies=fields.values(b"cookie"),
            lines=lines_of(fields.plain + fields.special.verbatim),
            is_upgrade=b"upgrade" in fields.special,
            token=token,
            subject=self._subject(request.connection) if rule.asks("certificate") else None,
            by_page=is_by_page(fields.special),
        )

    def _port(self, path: bytes) -> int | None:
        if not path.startswith(self._below):
            return None
        return parse_port(path[len(self._below) :].partition(b"/")[0])

    async def _pass(self, rule: Rule, facts: RequestFacts) -> Admitted:
        findings: dict[str, Finding] = {}
        denied: list[tuple[str, Failed]] = []
        for alternative in rule.require:
            passed: list[Passed] = []
            for name in alternative:
                if name not in findings:
                    findings[name] = await self._ask(name, facts)
                finding = findings[name]
                if isinstance(finding, Failed):
                    denied.append((name, finding))
                    break
                passed.append(finding)
            else:
                agreed = agree(passed, rule.users) if passed else _NAMELESS
                if isinstance(agreed, Passed):
                    return self._admitted(facts, agreed)
                denied.append((" and ".join(alternative), agreed))
        raise refusal(denied)

    async def _ask(self, name: str, facts: RequestFacts) -> Finding:
        finding = self._methods[name].examine(facts)
        return await finding if isinstance(finding, Deferred) else finding

    def _admitted(self, facts: RequestFacts, passed: Passed) -> Admitted:
        lines = passed.lines
        if passed.user is not None:
            lines = (*lines, self._user_line + passed.user.encode())
        # A request that cannot be redirected only loses the token.
        navigates = facts.method in READING and not facts.is_upgrade
        redirect = facts.token is not None and navigates
        return Admitted(passed.user, lines, facts.target, redirect, passed.cookie, passed.holds)
