"""The problems that can occur: one table with the HTTP status and the text of each.

Knows status codes and sentences. Knows nothing of requests: no sentence here echoes one
(CVE-2024-35225).
"""

from __future__ import annotations

from enum import Enum


class Problem(Enum):
    """One kind of failure: HTTP status, title, and what a person can do."""

    BAD_REQUEST = (
        400,
        "Bad request",
        "The request is not valid HTTP/1.1, so it was not passed on.",
    )
    BAD_TARGET = (
        400,
        "Bad address",
        "The address holds characters or path steps that are not allowed. Open the notebook's "
        "own address again.",
    )
    ORIGIN_DENIED = (
        403,
        "Request from another site",
        "A page of another site sent this request. To allow that site, the administrator lists it "
        "under trusted_origins.",
    )
    UNAUTHENTICATED = (
        401,
        "Please log in",
        "This address is for known users only.",
    )
    LOGIN_FAILED = (
        401,
        "Login failed",
        "The name or the password is wrong.",
    )
    ACCESS_DENIED = (
        403,
        "No access",
        "You may not open this address, or not any more.",
    )
    FOREIGN_PORT = (
        403,
        "Not a notebook of this host",
        "The program at that port belongs to a user whose notebooks this proxy does not serve. The "
        "administrator lists the users under owners.",
    )
    NOT_FOUND = (
        404,
        "Not found",
        "There is nothing at this address. A notebook's address has the number of its port in it.",
    )
    NO_SUCH_PORT = (
        404,
        "No such notebook",
        "This proxy does not serve that port. The administrator lists the ports under ports.",
    )
    NO_SUCH_TOOL = (
        404,
        "No such interactive tool",
        "The tool has ended, or the address is not whole. Galaxy lists the tools that run under "
        "Interactive Tools.",
    )
    METHOD_NOT_ALLOWED = (
        405,
        "Method not allowed",
        "This address does not take that method.",
    )
    REQUEST_TIMEOUT = (
        408,
        "Request timed out",
        "The request did not arrive in time. Send it again.",
    )
    PRECONDITION_FAILED = (
        412,
        "The file has changed",
        "The request was meant for another version of the file.",
    )
    BODY_TOO_LARGE = (
        413,
        "Upload too large",
        "The upload is larger than this proxy takes. The administrator sets the limit with the "
        "key limits.body_bytes.",
    )
    TARGET_TOO_LONG = (
        414,
        "Address too long",
        "The address is longer than this proxy takes.",
    )
    RANGE_NOT_SATISFIABLE = (
        416,
        "Nothing there",
        "The request asked for a part that begins after the end of the file.",
    )
    EXPECTATION_FAILED = (
        417,
        "Expectation failed",
        "Only 100-continue can be expected of this proxy.",
    )
    MISDIRECTED = (
        421,
        "Not this host",
        "This proxy does not serve the host name that was asked for. The administrator lists "
        "its names under hosts, or installs a certificate that contains them.",
    )
    WRONG_CONNECTION = (
        421,
        "Another host's connection",
        "The request came on a connection that was made for another host name.",
    )
    UPGRADE_REQUIRED = (
        426,
        "WebSocket version 13 required",
        "This proxy speaks version 13 of the WebSocket protocol only.",
    )
    TOO_MANY_REQUESTS = (
        429,
        "Too many requests",
        "Your address sends more than this proxy takes. Wait a little, or close some tabs.",
    )
    TOO_MANY_CONNECTIONS = (
        429,
        "Too many connections",
        "Your address has too many connections open. Close some tabs, or wait a little.",
    )
    TOO_MANY_LOGINS = (
        429,
        "Too many failed logins",
        "Your address has failed to log in too often. Wait a little before you try again.",
    )
    HEAD_TOO_LARGE = (
        431,
        "Request header too large",
        "The header fields of the request are too many or too long. Clearing this site's "
        "cookies often helps.",
    )
    INTERNAL = (
        500,
        "Internal error",
        "Something went wrong inside the proxy. The administrator finds it in the log.",
    )
    NOT_IMPLEMENTED = (
        501,
        "Not implemented",
        "The request uses a transfer coding other than chunked.",
    )
    AUTH_UNAVAILABLE = (
        502,
        "The login service does not answer",
        "The proxy could not find out who you are, so it did not pass the request on.",
    )
    UPSTREAM_BROKEN = (
        502,
        "The notebook's answer was broken",
        "The notebook server answered with something that is not valid HTTP, or hung up before "
        "its answer was whole.",
    )
    UPSTREAM_DEAD = (
        503,
        "The notebook is not running",
        "No program answers at the notebook's port. It has stopped, or was never started.",
    )
    UPSTREAM_STARTING = (
        503,
        "No notebook answers here yet",
        "No program answers at the notebook's port: it is starting, or nobody has started it.",
    )
    OWNER_UNKNOWN = (
        503,
        "The owner of this notebook is not known yet",
        "This host's directory of users does not answer, and the proxy needs it to pass the "
        "request on. Try again in a little while.",
    )
    CHANGED_HANDS = (
        503,
        "The notebook has changed",
        "Another program has taken the notebook's port, so the request was not passed on.",
    )
    CONNECT_TIMEOUT = (
        503,
        "The notebook does not answer",
        "The notebook's port takes no connections. It may be overloaded or hanging.",
    )
    OVERLOADED = (
        503,
        "The proxy is busy",
        "All connections of the proxy, or of this notebook, are in use. Try again in a moment.",
    )
    DRAINING = (
        503,
        "The proxy is restarting",
        "The proxy is being restarted. Try again in a moment.",
    )
    UPSTREAM_TIMEOUT = (
        504,
        "The notebook took too long",
        "The notebook server took the request but did not answer in time.",
    )
    VERSION_NOT_SUPPORTED = (
        505,
        "HTTP version not supported",
        "This proxy speaks HTTP/1.1 and HTTP/1.0.",
    )

    def __init__(self, status: int, title: str, advice: str) -> None:
        self.status = status
        self.title = title
        self.advice = advice


class ProxyError(Exception):
    """A :class:`Problem` that has occurred, with a detail for the log (never for a client).

    :param lines: additional field lines of the answer.
    :param retry_after: seconds until another try makes sense; None: unknown.
    :param busy_for: seconds for which the notebook has been busy; None: it is not busy.
    :param by_page: whether a page of another site may have made its visitor's browser send the
        request, if the problem alone does not say so.
    :param login: the address to which a browser can be sent to log in, as
        :func:`~ipyproxy.access.navigation.login_address` takes it; empty: none.
    :param methods: the authentication methods that would have let the request pass.
    """

    def __init__(
        self,
        problem: Problem,
        detail: str = "",
        lines: tuple[bytes, ...] = (),
        *,
        retry_after: float | None = None,
        busy_for: float | None = None,
        by_page: bool = False,
        login: str = "",
        methods: tuple[str, ...] = (),
    ) -> None:
        super().__init__(f"{problem.title}: {detail}" if detail else problem.title)
        self.problem = problem
        self.detail = detail
        self.lines = lines
        self.retry_after = retry_after
        self.busy_for = busy_for
        self.by_page = by_page
        self.login = login
        self.methods = methods
        self.rule = ""
        """The rule of HTTP that a message has broken: one of our own sentences, safe for a page."""


class BrokenAnswerError(ProxyError):
    """``UPSTREAM_BROKEN``: a notebook's answer breaks a rule, which the log and the page name.

    The page shows ``rule`` to everybody, because the author of the server needs it to find the bug.
    It contains no byte of an answer or a request.
    """

    def __init__(self, rule: str) -> None:
        super().__init__(Problem.UPSTREAM_BROKEN, rule)
        self.rule = rule


class HungUpError(ProxyError):
    """A new connection to a notebook was closed before any byte of an answer."""

    def __init__(self, detail: str) -> None:
        super().__init__(Problem.UPSTREAM_BROKEN, detail)
