"""A request at the gate: waits for the decision, and pauses the body meanwhile.

Knows what to do with a request while a method decides about it. Knows nothing of methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.server.request import Request


class Admission:
    """Waits for one decision.

    :param go_on: called with an admitted request and the decision; may raise :class:`ProxyError`.
    """

    log = Logger(namespace="ipyproxy.web.admission")

    def __init__(self, request: Request, go_on: Callable[[Any], object]) -> None:
        self._request = request
        self._go_on = go_on
        self._decision: Deferred[None] | None = None
        self._is_over = False

    def wait(self, decision: Deferred[Any]) -> None:
        """Admit or refuse the request once ``decision`` has fired."""
        self._request.consumer = self
        self._decision = decision.addCallback(self._passed).addErrback(self._refused)

    def _passed(self, decided: Any) -> None:
        self._request.consumer = None
        self._go_on(decided)

    def _refused(self, failure: Failure) -> None:
        if self._is_over:
            return
        request = self._request
        consumer, request.consumer = request.consumer, None
        if consumer is not None and consumer is not self:
            consumer.client_lost()
        error = failure.value
        if not isinstance(error, ProxyError):
            self.log.failure("a request failed inside the proxy; please report this", failure)
            error = ProxyError(Problem.INTERNAL)
        request.refuse(error)

    # Called by the server.

    def body_received(self, data: bytes) -> None:
        """See :class:`ipyproxy.server.request.BodyConsumer`: the body waits for the exchange."""
        self._request.pending_body += data
        self._request.transport.pauseProducing()

    def body_ended(self) -> None:
        """See :class:`ipyproxy.server.request.BodyConsumer`."""

    def client_lost(self) -> None:
        """See :class:`ipyproxy.server.request.BodyConsumer`: the decision is cancelled."""
        self._is_over = True
        if self._decision is not None:
            self._decision.cancel()
