"""Parses a raw request target: its form, and the notebook's port in it.

Knows targets as bytes. A target is never decoded or repaired: it is passed on byte for byte, or
refused, so that the upstream and the proxy cannot read it differently.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Final

from ipyproxy.errors import Problem, ProxyError

STATE_PATH: Final = "/_ipyproxy/state"
"""The path below which scripts find the state of a port."""

_PORT: Final = re.compile(rb"[1-9][0-9]{0,4}")
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?]*)(.*)", re.DOTALL)
# "bytes in bytes" raises and catches an exception internally; "int in bytes" does not.
_PERCENT_SIGN, _BACKSLASH = b"%\\"
_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_STEP: Final = re.compile(rb"(?:/|%2F|%5C)(?:\.|%2E){1,2}(?=/|;|%2F|%3B|%5C|\Z)", re.IGNORECASE)


class Target:
    """A request target (RFC 9112 section 3.2) that can be routed.

    ``origin_form`` is sent upstream, ``path`` is its part before the query, and ``authority`` is
    that of an absolute-form target (None for the usual origin-form).
    """

    __slots__ = ("authority", "origin_form", "path")

    def __init__(self, origin_form: bytes, path: bytes, authority: bytes | None) -> None:
        self.origin_form = origin_form
        self.path = path
        self.authority = authority


def parse_target(method: bytes, raw: bytes) -> Target:
    """Parse a request target.

    Raises :class:`ProxyError` (``BAD_TARGET``) for the authority-form, and for paths that contain
    ``..`` in any encoding, a backslash or a broken percent-encoding, or begin with ``//``: their
    meaning depends on the program that reads them (CVE-2021-41773 and similar). The asterisk-form
    is about the server as a whole and gets ``NOT_FOUND``.
    """
    if raw[:1] == b"/":
        authority, origin_form = None, raw
    elif raw == b"*" and method == b"OPTIONS":
        raise ProxyError(Problem.NOT_FOUND, "the target *")
    elif absolute := _ABSOLUTE.fullmatch(raw):
        authority, origin_form = absolute.groups()
        if origin_form[:1] != b"/":
            origin_form = b"/" + origin_form
    else:
        raise ProxyError(Problem.BAD_TARGET, "neither a path nor an http URL")
    path = origin_form.partition(b"?")[0]
    if _PERCENT_SIGN in path or _BACKSLASH in path or path.find(b"/.") >= 0 or path[:2] == b"//":
        _check_path(path)
    return Target(origin_form, path, authority)


def _check_path(path: bytes) -> None:
    if path[:2] == b"//":
        raise ProxyError(Problem.BAD_TARGET, "two slashes, behind which a host could be read")
    if b"\\" in path:
        raise ProxyError(Problem.BAD_TARGET, "a backslash in the path")
    if _PERCENT.search(path):
        raise ProxyError(Problem.BAD_TARGET, "a broken percent-encoding in the path")
    if b"%00" in path:
        raise ProxyError(Problem.BAD_TARGET, "an encoded NUL in the path")
    if _STEP.search(path):
        raise ProxyError(Problem.BAD_TARGET, "a dot segment in the path")


def parse_port(segment: bytes) -> int | None:
    """The port in a path segment; None unless it has the canonical spelling.

    ``int()`` would also accept ``0080``, ``+80``, `` 80``, ``8_0`` and Unicode digits.
    """
    if not _PORT.fullmatch(segment):
        return None
    port = int(segment)
    return port if port <= 65535 else None


class ServedPorts:
    """The ports that may be reached: the configured ones, except those that the proxy listens on.

    :param own: the proxy's own ports: a request sent there would loop.
    """

    def __init__(self, configured: Container[int], own: Container[int] = ()) -> None:
        self._configured = configured
        self._own = own

    def __contains__(self, port: object) -> bool:
        return port in self._configured and port not in self._own


class StatePaths:
    """Access to the state of a notebook: only clients that may reach the notebook may read it.

    :param prefix: the path above all notebooks.
    """

    def __init__(self, prefix: str) -> None:
        self._states = STATE_PATH.encode("ascii") + b"/"
        self._notebooks = prefix.encode("ascii") + b"/"

    def decisive(self, path: bytes) -> bytes:
        """The path whose rules decide about access to ``path``: for a state, the notebook's."""
        if not path.startswith(self._states):
            return path
        return b"%b%b/" % (self._notebooks, path[len(self._states) :])


class NotebookHosts:
    """A host for each notebook, ``<port>.<domain>``, so that each one has its own origin.

    Paths do not separate scripts: a page below ``/ipython/10000/`` may do everything that its user
    may do on any path of the same origin. So each port has its own host below the domain, and is
    served at no other.

    :param prefix: the path above all notebooks.
    """

    def __init__(self, domain: str, prefix: str) -> None:
        self._suffix = b"." + domain.encode("ascii")
        self._prefix = prefix.encode("ascii") + b"/"

    def moved(self, public: bytes, path: bytes, target: bytes) -> bytes | None:
        """The address to redirect a request to; None if it is at the right host.

        :param public: the origin that the request was addressed to.
        :param target: the request's path with the query.
        :raises ProxyError: ``MISDIRECTED`` at the host of another notebook, or of none;
            ``NOT_FOUND`` for paths that belong to no notebook.
        """
        scheme, _, authority = public.partition(b"://")
        host, colon, public_port = authority.rpartition(b":")
        if not public_port.isdigit():
            host, colon, public_port = authority, b"", b""
        if not host.endswith(self._suffix):
            port = self._port_of(path)
            if port is None:
                return None
            return b"%b://%d%b%b%b%b" % (
                scheme, port, self._suffix, colon, public_port, target,
            )  # fmt: skip
        port = parse_port(host.removesuffix(self._suffix))
        if port is None:
            raise ProxyError(Problem.MISDIRECTED, "a host that is no notebook's")
        if path == b"/":
            return b"%b%d/" % (self._prefix, port)
        if self._port_of(path) != port:
            other = path.startswith(self._prefix)
            problem = Problem.MISDIRECTED if other else Problem.NOT_FOUND
            raise ProxyError(problem, f"not at the host of notebook {port}")
        return None

    def _port_of(self, path: bytes) -> int | None:
        if not path.startswith(self._prefix):
            return None
        return parse_port(path[len(self._prefix) :].partition(b"/")[0])
