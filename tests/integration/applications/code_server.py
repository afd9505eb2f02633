"""Stands in for code-server: its check of Origin, and nothing else of it.

Version 4.100.3 has it in src/node/http.ts (authenticateOrigin, getHost): Origin's host has to be
the ``host`` of Forwarded, read with its quotes if it has some, or else the first X-Forwarded-Host,
or else Host.
"""

from __future__ import annotations

import asyncio
import sys
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest
from tornado.web import Application, HTTPError, RequestHandler
from tornado.websocket import WebSocketHandler


def asked_host(request: HTTPServerRequest) -> str:
    """The host that code-server takes for its own."""
    for part in request.headers.get("Forwarded", "").replace(",", ";").split(";"):
        key, _, value = part.partition("=")
        if key.strip().lower() == "host" and value:
            return value.strip().lower()
    first = request.headers.get("X-Forwarded-Host", "").split(",")[0]
    return (first.strip() or request.headers["Host"]).lower()


def fits(request: HTTPServerRequest, origin: str) -> bool:
    """Whether code-server takes a page of that origin for one of its own."""
    return urlsplit(origin).netloc.lower() == asked_host(request)


class Channel(WebSocketHandler):
    """Where the workbench and the server speak: it echoes."""

    def check_origin(self, origin: str) -> bool:
        """Tornado asks."""
        return fits(self.request, origin)

    async def on_message(self, message: str | bytes) -> None:
        """Something was said."""
        await self.write_message(message)


class Form(RequestHandler):
    """What a page may send."""

    def post(self) -> None:
        """Take it, or 403."""
        if not fits(self.request, self.request.headers.get("Origin", "")):
            raise HTTPError(403)
        self.write("taken")


async def main() -> None:
    """Serve."""
    Application([(r".*/channel", Channel), (r".*/form", Form)]).listen(
        int(sys.argv[1]), "127.0.0.1"
    )
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
