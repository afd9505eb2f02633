"""A small body, read whole: a form, or whatever else the caller makes of it.

Knows how browsers spell a form (``application/x-www-form-urlencoded``), and how much of one is
taken. Knows nothing of what stands in it.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.server.request import Request

FORM_BYTES = 4096
"""The most that is held of a form; a longer one is refused."""

Form = dict[str, bytes]
"""The values by their names; of several values of one name, the last."""


def read_form(request: Request, then: Callable[[Form], object]) -> None:
    """Call ``then`` with the form that ``request`` brings, once all of it has come.

    :param then: may raise :class:`ProxyError`, with which the request is refused.
    """
    read_body(request, FORM_BYTES, lambda body: then(parse_form(body)))


def read_body(request: Request, most: int, then: Callable[[bytes], object]) -> None:
    """Call ``then`` with the body of ``request``, once all of it has come.

    :param most: bytes of a body that is taken; a longer one is refused.
    :param then: may raise :class:`ProxyError`, with which the request is refused.
    """
    reader = _Reader(request, most, then)
    if request.body is None:
        reader.body_ended()
    else:
        request.consumer = reader


def parse_form(body: bytes) -> Form:
    """The fields of a form. What is no ``name=value`` has an empty value."""
    form: Form = {}
    for pair in body.split(b"&"):
        name, _, value = pair.replace(b"+", b" ").partition(b"=")
        form[unquote_to_bytes(name).decode("latin-1")] = unquote_to_bytes(value)
    return form


class _Reader:
    """Takes the body. See :class:`ipyproxy.server.request.BodyConsumer`."""

    def __init__(self, request: Request, most: int, then: Callable[[bytes], object]) -> None:
        self._request = request
        self._most = most
        self._then = then
        self._body = b""
        self._is_over = False

    def body_received(self, data: bytes) -> None:
        """Some more."""
        if self._is_over:
            return
        self._body += data
        if len(self._body) > self._most:
            self._refuse(ProxyError(Problem.BODY_TOO_LARGE, f"more than {self._most} bytes"))

    def body_ended(self) -> None:
        """The form is whole."""
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
        """Nobody waits any more."""
        self._is_over = True
        self._request.consumer = None
