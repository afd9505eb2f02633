"""Jupyter's kernel messages over a WebSocket; knows both framings, not how the socket came to be.

The framings are Jupyter Server's: without a subprotocol, JSON in text messages and a table of
big-endian 32-bit offsets in binary ones; with ``v1.kernel.websocket.jupyter.org``, always binary
messages with a table of little-endian 64-bit offsets.
"""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from websockets.sync.client import ClientConnection

from .client import TIMEOUT, Client

#: The subprotocol of the newer framing.
V1 = "v1.kernel.websocket.jupyter.org"

#: The four parts of a message that are JSON, in their order on the wire.
PARTS = ("header", "parent_header", "metadata", "content")

Message = dict[str, Any]


@dataclass
class Outcome:
    """What came of a cell."""

    stdout: str = ""
    displayed: list[dict[str, Any]] = field(default_factory=list)
    status: str = ""
    error: str = ""


@contextmanager
def kernel_socket(
    client: Client,
    kernel_id: str,
    *,
    origin: str | None = None,
    subprotocols: tuple[str, ...] = (),
    deflate: bool = False,
) -> Iterator[KernelSocket]:
    """Open a channel of *client*'s to a kernel, offering *subprotocols* and maybe deflate."""
    with client.websocket(
        channels(kernel_id), origin=origin, subprotocols=subprotocols, deflate=deflate
    ) as connection:
        yield KernelSocket(connection)


def channels(kernel_id: str) -> str:
    """The path of a new channel; two that share a session id would share one queue in Jupyter."""
    return f"api/kernels/{kernel_id}/channels?session_id={uuid.uuid4().hex}"


class KernelSocket:
    """One kernel channel."""

    def __init__(self, connection: ClientConnection) -> None:
        """Speak over *connection*, in the framing that its handshake has settled on."""
        self.connection = connection
        self._session = uuid.uuid4().hex
        self._v1 = connection.subprotocol == V1

    def run(self, code: str) -> Outcome:
        """Run a cell and wait for its end."""
        return self.finish(self.start(code))

    def start(self, code: str) -> str:
        """Send a cell off; returns the id of the request."""
        request = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        return self.send("execute_request", request)

    def wait_for_stdout(self, request_id: str) -> str:
        """The first text that the cell of *request_id* writes."""
        while True:
            message = self.receive(request_id)
            if message["header"]["msg_type"] == "stream":
                return str(message["content"]["text"])

    def finish(self, request_id: str) -> Outcome:
        """All that comes of the cell of *request_id*, up to its reply and the idle status.

        The two come over different sockets inside Jupyter, in either order.
        """
        outcome = Outcome()
        idle = False
        while not (idle and outcome.status):
            message = self.receive(request_id)
            content = message["content"]
            match message["header"]["msg_type"]:
                case "stream":
                    outcome.stdout += content["text"]
                case "display_data" | "execute_result":
                    outcome.displayed.append(content["data"])
                case "execute_reply":
                    outcome.status = content["status"]
                    outcome.error = content.get("ename", "")
                case "status":
                    idle = content["execution_state"] == "idle"
        return outcome

    def info(self) -> Message:
        """Ask the kernel what it is."""
        request_id = self.send("kernel_info_request", {})
        while (message := self.receive(request_id))["header"]["msg_type"] != "kernel_info_reply":
            pass
        return message

    def send(self, msg_type: str, content: Message) -> str:
        """Send one message to the shell channel; returns its id."""
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": msg_type,
            "session": self._session,
            "username": "tester",
            "date": datetime.now(UTC).isoformat(),
            "version": "5.3",
        }
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        if self._v1:
            self.connection.send(encode_v1("shell", message))
        else:
            self.connection.send(json.dumps({**message, "channel": "shell", "buffers": []}))
        return header["msg_id"]

    def receive(self, request_id: str) -> Message:
        """The next message that answers *request_id*."""
        while True:
            data = self.connection.recv(TIMEOUT)
            if self._v1:
                assert isinstance(data, bytes), "a text message under the v1 subprotocol"
                message = decode_v1(data)
            else:
                message = json.loads(data) if isinstance(data, str) else decode_default(data)
            if message["parent_header"].get("msg_id") == request_id:
                return message


def encode_v1(channel: str, message: Message) -> bytes:
    """*message* in the newer framing."""
    parts = [channel.encode(), *(json.dumps(message[part]).encode() for part in PARTS)]
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(parts)


def decode_v1(data: bytes) -> Message:
    """The message in *data*, which is in the newer framing."""
    (count,) = struct.unpack_from("<Q", data)
    offsets = struct.unpack_from(f"<{count}Q", data, 8)
    assert offsets[-1] == len(data), f"{len(data)} bytes came of a message of {offsets[-1]}"
    parts = [data[begin:end] for begin, end in pairwise(offsets)]
    return {
        "channel": parts[0].decode(),
        **{name: json.loads(part) for name, part in zip(PARTS, parts[1:5], strict=True)},
        "buffers": parts[5:],
    }


def decode_default(data: bytes) -> Message:
    """The message with buffers in *data*, which is in the older framing."""
    (count,) = struct.unpack_from("!I", data)
    offsets = struct.unpack_from(f"!{count}I", data, 4)
    bounds = zip(offsets, (*offsets[1:], len(data)), strict=True)
    parts = [data[begin:end] for begin, end in bounds]
    message: Message = json.loads(parts[0])
    return {**message, "buffers": parts[1:]}
