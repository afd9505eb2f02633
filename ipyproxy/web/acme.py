"""What an ACME server asks for to see whose host this is (RFC 8555 section 8.3).

Knows the directories in which ACME clients put their answers: certbot's webroot, and our own. Knows
nothing of certificates, nor of who asks.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.server.request import Request
from ipyproxy.web.pages import Page
from ipyproxy.web.resources import send_page

PREFIX = b"/.well-known/acme-challenge/"
_TOKEN = re.compile(rb"[A-Za-z0-9_-]{1,255}")
# A token, a dot and a hash: 87 bytes with today's servers.
_MOST_BYTES = 4096


class Challenges:
    """The answers in ``directories``, each that of a whole site: they lie below it by path."""

    def __init__(self, *directories: Path) -> None:
        path = PREFIX.decode("ascii").strip("/")
        self._directories = tuple(directory / path for directory in directories)

    def answer(self, request: Request, token: bytes) -> None:
        """Answer with what stands in the file named ``token``.

        :raises ProxyError: ``NOT_FOUND`` where there is no such token, or no plain file of its
            name; ``METHOD_NOT_ALLOWED``.
        """
        if request.method not in (b"GET", b"HEAD"):
            raise ProxyError(Problem.METHOD_NOT_ALLOWED)
        if not _TOKEN.fullmatch(token):
            raise ProxyError(Problem.NOT_FOUND, "no ACME token")
        said = "no directory"
        for directory in self._directories:
            try:
                content = _read(directory / token.decode("ascii"))
            except OSError as error:
                said = error.strerror or "not a plain file"
            else:
                send_page(request, Page(200, b"application/octet-stream", content, ()))
                return
        raise ProxyError(Problem.NOT_FOUND, f"ACME challenge: {said}")


def _read(path: Path) -> bytes:
    """The beginning of a plain file; a link may lead anywhere, and a pipe may block for ever."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError
        return os.read(handle, _MOST_BYTES)
    finally:
        os.close(handle)
