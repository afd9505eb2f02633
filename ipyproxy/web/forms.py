"""Reads a small request body into memory: a form, or anything else.

Knows how browsers encode a form (``application/x-www-form-urlencoded``), and limits its size. Knows
nothing of its content.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.server.request import Request

FORM_BYTES = 4096
"""Largest form in bytes; a longer one is refused."""

Form = dict[str, bytes]
"""The values by name; the last one, if a name has several."""


def read_form(request: Request, then: Callable[[Form], object]) -> None:
    """Call ``then`` with the form in ``request``, once it is complete.

    :param then: may raise :class:`ProxyError`, with which the request is refused.
    """
    read_body(request, FORM_BYTES, lambda body: then(parse_form(body)))


def read_body(request: Request, most: int, then: Callable[[bytes], object]) -> None:
    """Call ``then`` with the body of ``request``, once it is complete.

    :param most: largest body in bytes; a longer one is refused.
    :param then: may raise :class:`ProxyError`, with which the request is refused.
    """
    reader = _Reader(request, most, then)
    if request.body is None:
        reader.body_ended()
    else:
        request.consumer = reader


def parse_form(body: bytes) -> Form:
    """The fields of a form. A part without ``=`` has an empty value."""
    form: Form = {}
    for pair in body.split(b"&"):
        name, _, value = pair.replace(b"+", b" ").partition(b"=")
        form[unquote_to_bytes(name).decode("latin-1")] = unquote_to_bytes(value)
    return form


class _Reader:
    """Collects the body. See :class:`ipyproxy.server.request.BodyConsumer`."""

    def __init__(self, request: Request, most: int, then: Callable[[bytes], object]) -> None:
        self._request = request
        self._most = most
        self._then = then
        self._body = b""
        self._is_over = False

    def body_received(self, data: bytes) -> None:
        """Bytes of the body."""
        if self._is_over:
            return
        self._body += data
        if len(self._body) > self._most:
            self._refuse(ProxyError(Problem.BODY_TOO_LARGE, f"more than {self._most} bytes"))

    def body_ended(self) -> None:
        """The body is complete."""
        if self._is_over:
            return
        self._is_over = True
        self._request.consumer = None
        try:
            self._then(self._body)
        except ProxyError as error:
            self._request.refuse(error)

    def _refuse(self, error: ProxyError) -> None:
        self.client_lost()
        self._request.refuse(error)

    def client_lost(self) -> None:
        """The client is gone."""
        self._is_over = True
        self._request.consumer = None
