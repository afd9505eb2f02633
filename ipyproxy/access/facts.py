"""The values of authentication: the facts of a request, and the findings of methods.

Knows no method by name, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple


class RequestFacts(NamedTuple):
    """The facts of a request that may show who sent it.

    ``target`` is in origin-form, without the proxy's token; ``public`` is the origin that was
    addressed; ``client`` is the client's address; ``is_upgrade`` tells whether it asks for another
    protocol; ``token`` is the proxy's token from the query (see :mod:`.tokens`); ``subject`` is
    that of a verified client certificate.

    ``route`` is the notebook's path without a slash at its end, such as ``/ipython/10000``; None
    for any other path. Everything issued for it up to ``revoked`` (seconds since the epoch) is
    void.

    ``authorization`` and ``cookies`` have the values of these fields, ``lines`` the field lines
    that a gateway passes on unchanged. ``by_page`` tells whether a page may have made its visitor's
    browser send the request.
    """

    method: bytes
    target: bytes
    path: bytes
    public: bytes
    client: str
    route: bytes | None = None
    revoked: float = 0.0
    authorization: Sequence[bytes] = ()
    cookies: Sequence[bytes] = ()
    lines: Sequence[bytes] = ()
    is_upgrade: bool = False
    token: bytes | None = None
    subject: str | None = None
    by_page: bool = False


Holds = Callable[[], bool]
"""Tells whether the reason to admit a request is still valid."""


class Lack(Enum):
    """Why a method does not let a request pass; the values are for the log."""

    NOTHING = "nothing to show"
    WRONG = "wrong credentials"
    """Perhaps somebody guesses."""
    EXPIRED = "expired or revoked"
    FOREIGN = "not for this user or route"


class Passed(NamedTuple):
    """A method lets the request pass.

    :param user: the name, if the method knows one.
    :param lines: additional field lines for the upstream.
    :param cookie: whole Set-Cookie lines for the browser.
    :param holds: called from time to time while a WebSocket is open; if it returns False, the
        WebSocket ends. None: there is nothing to check.
    """

    user: str | None
    lines: tuple[bytes, ...] = ()
    cookie: bytes | None = None
    holds: Holds | None = None


class Failed(NamedTuple):
    """A method does not let the request pass.

    :param status: 401 if other credentials would help, else 403.
    :param lines: field lines of the answer, such as WWW-Authenticate.
    :param login: the address to which a browser can be sent to log in, as
        :func:`~ipyproxy.access.navigation.login_address` takes it; empty: none.
    """

    lack: Lack
    status: int = 403
    lines: tuple[bytes, ...] = ()
    login: str = ""


Finding = Passed | Failed


class Admitted(NamedTuple):
    """An admitted request.

    :param user: the user's name, if known.
    :param lines: field lines that tell the upstream.
    :param target: the target to send upstream.
    :param redirect: whether to redirect the browser to that target first, with ``cookie`` if any.
    :param holds: as in :class:`Passed`.
    """

    user: str | None
    lines: tuple[bytes, ...]
    target: bytes
    redirect: bool = False
    cookie: bytes | None = None
    holds: Holds | None = None
