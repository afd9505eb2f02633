"""Kernels on a way that is interrupted: by a flood, a new proxy, a Jupyter that is killed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from .client import Client, read_to_end
from .jupyter import Lab, notebook_port
from .kernels import V1, KernelSocket, kernel_socket
from .processes import poll
from .proxy import Proxy

pytestmark = pytest.mark.integration

SIZE = 1_000_000
#: Shows large things without end; Jupyter bounds the rate of what is merely printed.
FLOOD = f"while True: display({{'text/plain': 'x' * {SIZE}}}, raw=True)"


def take_some(channel: KernelSocket, cell: str, count: int) -> None:
    """Take *count* of the things that the cell shows; each is whole."""
    while count:
        message = channel.receive(cell)
        if message["header"]["msg_type"] == "display_data":
            assert len(message["content"]["data"]["text/plain"]) == SIZE
            count -= 1


@contextmanager
def user_of(lab: Lab, proxy: Proxy) -> Iterator[Client]:
    client = Client(proxy.origin, lab.base_url, tls=proxy.client_tls(), token=lab.token)
    yield client
    client.close()


@pytest.mark.parametrize("subprotocols", [(), (V1,)], ids=["default", "v1"])
def test_a_flood_is_interrupted(client: Client, kernel: str, subprotocols: tuple[str, ...]) -> None:
    with kernel_socket(client, kernel, subprotocols=subprotocols) as channel:
        cell = channel.start(FLOOD)
        take_some(channel, cell, 5)
        client.interrupt(kernel)
        outcome = channel.finish(cell)
        assert (outcome.status, outcome.error) == ("error", "KeyboardInterrupt")
        assert channel.run("print('and on')").stdout == "and on\n"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_kernel_remembers_what_was_before_another_proxy(
    lab: Lab, tmp_path: Path, how: signal.Signals
) -> None:
    first = Proxy(tmp_path, "timeouts.drain_websocket = 1\n")
    with user_of(lab, first) as client:
        kernel_id = client.start_kernel()
        with kernel_socket(client, kernel_id) as channel:
            assert channel.run("before = 41").status == "ok"
            os.kill(first.child.pid, how)
            ended = threading.Thread(target=first.child.stop)
            ended.start()
            _, code = read_to_end(channel.connection)
            ended.join()
    assert code == CloseCode.ABNORMAL_CLOSURE, "JupyterLab would not connect again"
    second = Proxy(tmp_path, port=first.port)
    try:
        with user_of(lab, second) as client:
            with kernel_socket(client, kernel_id) as channel:
                assert channel.run("print(before + 1)").stdout == "42\n"
            client.request("DELETE", f"api/kernels/{kernel_id}", expect=204)
    finally:
        second.child.stop()


def test_a_jupyter_that_is_killed_within_a_message_is_missed_and_found_again(
    proxy: Proxy, tmp_path: Path
) -> None:
    lab = Lab(tmp_path, notebook_port())
    try:
        with user_of(lab, proxy) as client, kernel_socket(client, client.start_kernel()) as channel:
            cell = channel.start(FLOOD)
            take_some(channel, cell, 5)
            os.kill(lab.child.pid, signal.SIGKILL)
            with pytest.raises(ConnectionClosed) as closed:
                take_some(channel, cell, 1_000_000)
            assert closed.value.rcvd is None, "a close frame that the notebook never sent"
            assert client.http.get(client.path("api/status")).status_code in (502, 503)
    finally:
        lab.child.stop()
    (tmp_path / "again").mkdir()
    again = Lab(tmp_path / "again", lab.port)
    try:
        with user_of(again, proxy) as client:
            poll(lambda: is_there(client) or None, seconds=10, waiting_for="Jupyter")
            with kernel_socket(client, client.start_kernel()) as channel:
                assert channel.run("print('back')").stdout == "back\n"
    finally:
        again.child.stop()


def is_there(client: Client) -> bool:
    try:
        return client.http.get(client.path("api/status")).status_code == 200
    except httpx.TransportError:
        return False
