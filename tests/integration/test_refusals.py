"""The matrix of refusals at the live proxy, with sentinels that count who connects."""

from __future__ import annotations

import socket

import pytest

from tests.refusals import ALL, spelled

from .live import ask
from .processes import free_port
from .proxy import Proxy
from .sentinel import Sentinel

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("websocket", [False, True])
def test_what_is_refused_dials_nothing(proxy: Proxy, websocket: bool) -> None:
    with Sentinel() as notebook, Sentinel(free_port()) as outside:
        names = {
            "port": notebook.port,
            "unserved": outside.port,
            "own": proxy.port,
            "host": f"localhost:{proxy.port}",
            "name": "localhost",
        }
        wrong = []
        for case in ALL:
            with (
                socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as tcp,
                proxy.client_tls().wrap_socket(tcp, server_hostname="localhost") as tls,
            ):
                tls.sendall(spelled(case, websocket=websocket, **names))
                answer = tls.recv(4096)
            if not answer.startswith(b"HTTP/1.1 %d " % case.status):
                wrong.append((case.what, answer[:40]))
        assert wrong == []
        assert (notebook.accepts, outside.accepts) == (0, 0)
        # The sentinel could have been reached.
        good = ask(proxy, f"/ipython/{notebook.port}/api", websocket=websocket)
        assert good == (101 if websocket else 200)
        assert notebook.heads
        assert outside.accepts == 0
