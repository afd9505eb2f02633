"""Who listens on a port, as ``ipyproxy doctor`` tells it."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import sys
from ipaddress import ip_address

import pytest

from ipyproxy.cli.doctoring.listeners import Listener, listeners


class TestListeners:
    def test_our_own_is_found(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            [found] = listeners(port)
        assert found.address == ip_address("127.0.0.1")
        assert (found.pid, found.user) == (os.getpid(), getpass.getuser())
        assert "pytest" in found.program
        assert found.is_reached
        assert not found.is_open_to_others
        assert listeners(port) == []

    def test_one_on_ipv6_is_told_apart(self) -> None:
        try:
            listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
        except OSError:
            pytest.skip("this host has no IPv6")
        with listening:
            [found] = listeners(listening.getsockname()[1])
        assert found.address == ip_address("::1")
        assert not found.is_reached

    @pytest.mark.parametrize(("address", "reached"), [("0.0.0.0", True), ("192.0.2.1", False)])
    def test_who_is_open_to_other_hosts(self, address: str, reached: bool) -> None:
        found = Listener(ip_address(address), "alice")
        assert found.is_open_to_others
        assert found.is_reached is reached
        assert str(found) == f"a process we are not shown of user alice on {address}"

    def test_values_of_options_are_not_shown(self) -> None:
        code = (
            "import socket; s = socket.create_server(('127.0.0.1', 0)); "
            "print(s.getsockname()[1], flush=True); input()"
        )
        command = [sys.executable, "-c", code, "--token=s3cret"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            [listener] = listeners(int(other.stdout.readline()))
            other.kill()
        assert "--token" in listener.program
        assert "s3cret" not in listener.program
