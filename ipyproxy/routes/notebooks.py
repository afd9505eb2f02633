"""From a raw request target to what it asks for: the form of the target, and the port it names.

Knows targets as bytes. Never decodes what goes upstream and never repairs: a target is either
passed on byte for byte or refused, so that upstream and we cannot read it differently.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Final

from ipyproxy.errors import Problem, ProxyError

STATE_PATH: Final = "/_ipyproxy/state"
"""The path below which a script finds the state of a port."""

_PORT: Final = re.compile(rb"[1-9][0-9]{0,4}")
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?]*)(.*)", re.DOTALL)
# To look for bytes in bytes by "in" raises an exception within, which for numbers it does not.
_PERCENT_SIGN, _BACKSLASH = b"%\\"
_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_STEP: Final = re.compile(rb"(?:/|%2F|%5C)(?:\.|%2E){1,2}(?=/|;|%2F|%3B|%5C|\Z)", re.IGNORECASE)


class Target:
    """A request target (RFC 9112 section 3.2) that can be routed.

    ``origin_form`` is what goes upstream, ``path`` its part before the query, and ``authority``
    what an absolute-form target named (None for the usual origin-form).
    """

    __slots__ = ("authority", "origin_form", "path")

    def __init__(self, origin_form: bytes, path: bytes, authority: bytes | None) -> None:
        self.origin_form = origin_form
        self.path = path
        self.authority = authority


def parse_target(method: bytes, raw: bytes) -> Target:
    """Tell the form of a request target.

    Raises :class:`ProxyError` (``BAD_TARGET``) for the authority-form and for paths that climb
    (``..``, however encoded), begin with ``//`` or hold a backslash or a broken
    percent-encoding: what they mean depends on who reads them (CVE-2021-41773 and its kin). The
    asterisk-form asks about a server as a whole, of which there is none (``NOT_FOUND``).
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
    """The port that a path segment spells; None unless it is the one canonical spelling.

    ``int()`` would take ``0080``, ``+80``, `` 80``, ``8_0`` and Unicode digits too.
    """
    if not _PORT.fullmatch(segment):
        return None
    port = int(segment)
    return port if port <= 65535 else None


class ServedPorts:
    """The ports that may be reached: those configured, but never one that we listen on.

    :param own: the proxy's own ports: leading a request there would be a loop.
    """

    def __init__(self, configured: Container[int], own: Container[int] = ()) -> None:
        self._configured = configured
        self._own = own

    def __contains__(self, port: object) -> bool:
        return port in self._configured and port not in self._own


class StatePaths:
    """Who may ask for the state of a notebook: everybody who may reach it, and nobody else.

    :param prefix: the path that all notebooks are below.
    """

    def __init__(self, prefix: str) -> None:
        self._states = STATE_PATH.encode("ascii") + b"/"
        self._notebooks = prefix.encode("ascii") + b"/"

    def decisive(self, path: bytes) -> bytes:
        """The path that access to ``path`` is decided by: a notebook's own for its state."""
        if not path.startswith(self._states):
            return path
        return b"%b%b/" % (self._notebooks, path[len(self._states) :])


class NotebookHosts:
    """A host of its own for each notebook, ``<port>.<domain>``, and with it an origin of its own.

    Paths are no boundary between scripts: a page below ``/ipython/10000/`` may do whatever its
    user may on any path of its origin. So below the domain each port has its host and is served
    nowhere else.

    :param prefix: the path that all notebooks are below.
    """

    def __init__(self, domain: str, prefix: str) -> None:
        self._suffix = b"." + domain.encode("ascii")
        self._prefix = prefix.encode("ascii") + b"/"

    def moved(self, public: bytes, path: bytes, target: bytes) -> bytes | None:
        """Where a request is to be sent instead; None if it is at the right host.

        :param public: the origin that the request was addressed to.
        :param target: its path with the query.
        :raises ProxyError: ``MISDIRECTED`` for another notebook's host, or for one of none;
            ``NOT_FOUND`` for whatever is no notebook's.
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
