"""A page of many small requests: ``python -m benchmarks.lab.many <port>``.

Knows how to be a notebook that has one page, with 300 scripts of 1 KiB, none of which another one
asks for. Knows nothing of proxies.
"""

from __future__ import annotations

import asyncio
import sys

REQUESTS = 300
READY = "jp-LauncherCard"
"""The class of what appears when all is there, as in JupyterLab."""

_SCRIPT = b"'%b';" % (b"x" * 1020)


def _page() -> bytes:
    scripts = "".join(f'<script async src="static/{n}.js"></script>' for n in range(REQUESTS))
    shown = f"document.body.insertAdjacentHTML('beforeend', '<p class={READY}>open</p>')"
    return (
        f"<!DOCTYPE html><html><head><title>many</title>{scripts}</head><body>"
        f'<script>addEventListener("load", () => {{ {shown} }})</script></body></html>'
    ).encode("ascii")


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    page = _page()
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            target = head.split(b" ", 2)[1]
            is_script = b"/static/" in target
            body = _SCRIPT if is_script else page
            kind = b"text/javascript" if is_script else b"text/html"
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
                % (kind, len(body), body)
            )
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _main(port: int) -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
