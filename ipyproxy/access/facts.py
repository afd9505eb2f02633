"""What authentication speaks of: the facts of a request, and what a method finds in them.

Knows no method by name, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple


class RequestFacts(NamedTuple):
    """The facts of one request, as far as they can tell who sent it.

    ``target`` is in origin-form and without a token of ours, ``public`` the origin that was
    addressed, ``client`` the address of the client, ``is_upgrade`` whether for another protocol,
    ``token`` what the query had of ours (see :mod:`.links`), and ``subject`` the one of a client
    certificate that was verified.

    ``route`` is the notebook's path without a slash at its end, such as ``/ipython/10000``; None
    for any other path. What was issued for it up to ``revoked`` (seconds since the epoch) is void.

    ``authorization`` and ``cookies`` hold the values of these fields, ``lines`` the field lines
    that a gateway passes on as they are. ``by_page`` is whether a page may have had its
    visitor's browser send the request.
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
"""Says whether what let a request pass would still do so."""


class Lack(Enum):
    """Why a method does not let a request pass; the values are for the log."""

    NOTHING = "nothing to show"
    WRONG = "wrong credentials"
    """Somebody may be guessing."""
    EXPIRED = "expired or revoked"
    FOREIGN = "not for this user or route"


class Passed(NamedTuple):
    """A method lets the request pass.

    :param user: the name, if the method knows one.
    :param lines: field lines that go upstream besides.
    :param cookie: what the browser is given to show from now on, whole Set-Cookie lines.
    :param holds: asked from time to time while a WebSocket is open, which ends when the answer is
        no; None: nobody has to ask.
    """

    user: str | None
    lines: tuple[bytes, ...] = ()
    cookie: bytes | None = None
    holds: Holds | None = None


class Failed(NamedTuple):
    """A method does not let the request pass.

    :param status: 401 where other credentials would help, else 403.
    :param lines: field lines of the answer, such as WWW-Authenticate.
    :param login: where a browser can be sent to log in, as
        :func:`~ipyproxy.access.navigation.login_address` takes it; empty: nowhere.
    """

    lack: Lack
    status: int = 403
    lines: tuple[bytes, ...] = ()
    login: str = ""


Finding = Passed | Failed


class Admitted(NamedTuple):
    """The request may go on.

    :param user: who sent it, if that is known.
    :param lines: field lines that tell upstream so.
    :param target: the target that goes upstream.
    :param redirect: whether the browser is sent to that target first, with ``cookie`` if any.
    :param holds: as in :class:`Passed`.
    """

    user: str | None
    lines: tuple[bytes, ...]
    target: bytes
    redirect: bool = False
    cookie: bytes | None = None
    holds: Holds | None = None
