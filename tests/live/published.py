"""A stand-in for Docker's userland proxy, which listens on a published port of a container.

Does what ``cmd/docker-proxy/tcp_proxy_linux.go`` of moby does: it accepts, dials the container, and
closes the connection where that fails, without having read of it. Else it copies both ways; where
one side has ended, its reading end is closed and the other's writing end. It hangs up on the client
once both have.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

from tests.integration.jupyter import notebook_port


class DockerProxy:
    """Listens on ``port``, and dials ``container``, a port where a server may listen or not."""

    def __init__(self, container: int) -> None:
        self.port = notebook_port()
        self._container = container
        self._listening = socket.create_server(("127.0.0.1", self.port), backlog=128)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            backend = socket.create_connection(("127.0.0.1", self._container))
        except OSError:
            client.close()
            return
        back = threading.Thread(target=_copy, args=(client, backend), daemon=True)
        back.start()
        _copy(backend, client)
        back.join()
        client.close()
        backend.close()

    def close(self) -> None:
        """Listen no more, as when the container is removed."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _copy(to: socket.socket, source: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(32768):
            to.sendall(data)
    for sock, how in (source, socket.SHUT_RD), (to, socket.SHUT_WR):
        with contextlib.suppress(OSError):
            sock.shutdown(how)
