"""An application as uvicorn runs it: it says where a WebSocket comes from, then echoes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


async def application(
    scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]
) -> None:
    """ASGI 3."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        told = {"origin": headers.get("origin"), "host": headers["host"], "path": scope["path"]}
        await send({"type": "websocket.send", "text": json.dumps(told)})
        while (event := await receive())["type"] == "websocket.receive":
            await send({**event, "type": "websocket.send"})
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["scheme"].encode()})
