"""Tenants: whose port it is, how long that is believed, and what is told when it changes hands."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys

import pytest
from twisted.logger import capturedLogs

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.net.sockdiag import Listener
from ipyproxy.upstream.owners import Owners, OwnersError
from ipyproxy.upstream.tenancy import SEEN_FOR, Kernel, Tenants, find_kernel
from tests.upstreams import notebook

PORT = 10000
UPSTREAM = notebook(PORT)
ALICE, MALLORY = Listener(1000, 1), Listener(666, 2)


class OnlyAlice:
    """No real users are needed to play."""

    def __contains__(self, uid: object) -> bool:
        return uid == ALICE.uid

    def find(self, uid: int) -> None:
        """Nobody has to be asked."""


class Host:
    """A host whose listeners the test plays."""

    def __init__(self, *, owned: bool = True, strict: bool = False) -> None:
        self.listeners: dict[int, Listener] = {}
        self.looks = 0
        self.left: list[tuple[str, float]] = []
        self.tenants = Tenants(self.look_up, OnlyAlice() if owned else None)
        self.tenants.strict = strict
        self.tenants.leaving.append(lambda name, ago: self.left.append((name, ago)))

    def look_up(self, port: int) -> Listener | None:
        self.looks += 1
        return self.listeners.get(port)

    def listen(self, listener: Listener | None) -> None:
        """``listener`` has the port from now on, or nobody."""
        self.listeners = {} if listener is None else {PORT: listener}

    def admit(self, started: float = 0, *, connected: bool = False) -> int | Problem:
        """The mark of a request, or why it may not go to the port."""
        try:
            return self.tenants.admit(UPSTREAM, started, connected=connected)
        except ProxyError as error:
            return error.problem

    def confirm(self, mark: int | Problem | None, now: float = 0) -> Problem | None:
        """Why nothing may be sent on a connection to the port; None: it may."""
        assert not isinstance(mark, Problem)
        try:
            self.tenants.confirm(UPSTREAM, now, mark)
        except ProxyError as error:
            return error.problem
        return None


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    try:
        return Kernel()
    except OSError as error:
        pytest.skip(f"the kernel does not tell who listens: {error}")


class TestKernel:
    @pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
    def test_who_listens_on_ipv4(self, kernel: Kernel, address: str) -> None:
        with socket.create_server((address, 0)) as server:
            inode = os.fstat(server.fileno()).st_ino
            found = kernel.listener(server.getsockname()[1])
            assert found == Listener(os.getuid(), inode)

    @pytest.mark.parametrize("both", [True, False])
    def test_on_ipv6_only_who_takes_ipv4_too(self, kernel: Kernel, both: bool) -> None:
        if not socket.has_dualstack_ipv6():
            pytest.skip("no IPv6 here")
        server = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=both)
        with server:
            found = kernel.listener(server.getsockname()[1])
            assert (found is not None) == both

    def test_the_nearer_one_counts(self, kernel: Kernel) -> None:
        if not socket.has_dualstack_ipv6():
            pytest.skip("no IPv6 here")
        with socket.create_server(("127.0.0.1", 0)) as near:
            port = near.getsockname()[1]
            with socket.create_server(("::", port), family=socket.AF_INET6):
                found = kernel.listener(port)
                assert found is not None
                assert found.inode == os.fstat(near.fileno()).st_ino

    def test_nobody_listens_where_nobody_does(self, kernel: Kernel) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            port = bound.getsockname()[1]
            assert kernel.listener(port) is None
            bound.listen()
            assert kernel.listener(port) is not None
            with socket.create_connection(("127.0.0.1", port)):
                found = kernel.listener(port)
                assert found is not None
                assert found.inode == os.fstat(bound.fileno()).st_ino
        assert kernel.listener(port) is None

    def test_where_there_is_no_such_kernel_owners_are_an_error(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr(socket, "AF_NETLINK")
        with pytest.raises(OwnersError, match="does not tell"):
            find_kernel(Owners([]))
        with capturedLogs() as events:
            assert find_kernel(None)(PORT) is None
        assert len(events) == 1

    def test_where_all_users_look_alike_owners_are_an_error(self) -> None:
        if not shutil.which("unshare"):
            pytest.skip("needs unshare for a namespace of users")
        program = (
            "from ipyproxy.upstream.tenancy import *\nfrom ipyproxy.upstream.owners import *\n"
            "find_kernel(None)\n"
            "try: find_kernel(Owners([]))\n"
            "except OwnersError as error: print(error)\n"
        )
        command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if "unshare failed" in done.stderr or "Operation not permitted" in done.stderr:
            pytest.skip(f"no namespaces of users here: {done.stderr.strip()}")
        assert "PrivateUsers" in done.stdout, done.stderr


class TestAdmission:
    def test_an_owner_s_port_is_let_through_and_another_s_is_not(self) -> None:
        host = Host()
        host.listen(ALICE)
        assert host.admit() == 1
        host = Host()
        host.listen(MALLORY)
        assert host.admit() is Problem.FOREIGN_PORT

    def test_nothing_is_dialled_without_a_look(self) -> None:
        host = Host()
        host.listen(ALICE)
        assert host.admit() == 1
        host.listen(MALLORY)
        assert host.admit() is Problem.FOREIGN_PORT

    def test_on_a_kept_connection_a_look_serves_for_a_moment(self) -> None:
        host = Host()
        host.listen(ALICE)
        for _ in range(100):
            host.admit(connected=True)
        assert host.looks == 1
        host.listen(MALLORY)
        assert host.admit(SEEN_FOR + 0.01, connected=True) is Problem.FOREIGN_PORT

    def test_where_nobody_listens_the_connection_will_tell(self) -> None:
        host = Host()
        assert host.admit() == 0
        host.listen(MALLORY)
        assert host.admit() is Problem.FOREIGN_PORT

    def test_a_kernel_that_fails_serves_nobody(self) -> None:
        def fails(port: int) -> Listener | None:
            raise OSError(errno.ENOBUFS, "no room")

        tenants = Tenants(fails, OnlyAlice())
        with capturedLogs() as events:
            for _ in range(10):
                with pytest.raises(ProxyError):
                    tenants.confirm(UPSTREAM, 0, tenants.admit(UPSTREAM, 0, connected=False))
        assert len(events) == 1

    def test_without_owners_and_links_nothing_is_checked(self) -> None:
        assert not Host(owned=False).tenants.are_checked
        assert Host().tenants.are_checked


@pytest.mark.parametrize("owned", [True, False])
class TestConfirmation:
    """With owners, and with links that are for one tenant."""

    def test_the_same_listener_before_and_after_has_got_the_connection(self, owned: bool) -> None:
        host = Host(owned=owned, strict=not owned)
        host.listen(ALICE)
        for _ in range(3):
            assert host.confirm(host.admit()) is None

    def test_one_that_has_come_in_between_gets_nothing(self, owned: bool) -> None:
        host = Host(owned=owned, strict=not owned)
        host.listen(ALICE)
        mark = host.admit()
        host.listen(MALLORY)
        assert host.confirm(mark) is (Problem.FOREIGN_PORT if owned else Problem.CHANGED_HANDS)

    @pytest.mark.parametrize("first", [ALICE, None])
    @pytest.mark.parametrize("sweep", [False, True])
    def test_one_that_has_come_and_gone_in_between_gets_nothing(
        self, owned: bool, first: Listener | None, sweep: bool
    ) -> None:
        host = Host(owned=owned, strict=not owned)
        host.listen(first)
        mark = host.admit()
        host.listen(MALLORY)
        # ... is connected to now, and leaves.
        host.listen(Listener(ALICE.uid, 3))
        if sweep:
            host.tenants.sweep(0)
        assert host.confirm(mark) is Problem.CHANGED_HANDS
        assert host.confirm(host.admit(1)) is None

    def test_one_that_is_gone_by_now_gets_nothing(self, owned: bool) -> None:
        host = Host(owned=owned, strict=not owned)
        host.listen(ALICE)
        mark = host.admit()
        host.listen(None)
        assert host.confirm(mark) is Problem.CHANGED_HANDS


class TestStrictness:
    """Who may pass was decided for one tenant, and deciding may take its time."""

    def test_a_port_that_has_changed_hands_since_is_not_dialled(self) -> None:
        host = Host(owned=False, strict=True)
        host.listen(ALICE)
        assert host.confirm(host.admit(0)) is None
        host.listen(None)
        host.tenants.sweep(1)
        host.listen(MALLORY)
        # A request begins at 2, and is still being decided on when a sweep comes at 3.
        host.tenants.sweep(3)
        assert host.admit(2) is Problem.CHANGED_HANDS
        assert host.admit(3.1) == 2

    def test_neither_is_one_whose_new_tenant_only_the_connection_shows(self) -> None:
        host = Host(owned=False, strict=True)
        host.listen(ALICE)
        host.confirm(host.admit(0))
        host.listen(None)
        host.tenants.sweep(1)
        host.listen(MALLORY)
        assert host.confirm(host.admit(2), 2) is Problem.CHANGED_HANDS
        assert host.left == [(UPSTREAM.name, 2)]

    def test_a_first_tenant_is_no_change(self) -> None:
        host = Host(owned=False, strict=True)
        host.listen(ALICE)
        assert host.confirm(host.admit(0)) is None

    def test_a_port_where_no_listener_is_ever_seen_has_no_tenants(self) -> None:
        host = Host(owned=False, strict=True)
        assert host.confirm(host.admit(0)) is None
        assert host.left == []
        # With owners it is nobody's whose notebooks are served.
        host = Host()
        assert host.confirm(host.admit(0)) is Problem.CHANGED_HANDS

    def test_without_it_a_restarted_notebook_is_served_at_once(self) -> None:
        host = Host(owned=False)
        host.listen(ALICE)
        assert host.confirm(None) is None
        host.listen(Listener(ALICE.uid, 3))
        assert host.confirm(None) is None
        assert host.left == [(UPSTREAM.name, 0)]


class TestChangingHands:
    def test_a_sweep_finds_it_out_once(self) -> None:
        host = Host(owned=False)
        host.listeners[PORT] = ALICE
        host.confirm(None)
        for now, listener in enumerate((ALICE, ALICE, None, None, MALLORY, MALLORY)):
            host.listeners = {} if listener is None else {PORT: listener}
            host.tenants.sweep(now)
        # Alice was last seen three seconds before Mallory came.
        assert host.left == [(UPSTREAM.name, 3)]

    def test_a_notebook_that_has_stopped_has_not_changed_hands(self) -> None:
        host = Host(owned=False)
        host.listeners[PORT] = ALICE
        host.confirm(None)
        host.listeners.clear()
        host.tenants.sweep(1)
        host.listeners[PORT] = ALICE
        host.tenants.sweep(2)
        assert not host.left

    def test_many_ports_are_looked_at_in_turn(self) -> None:
        host = Host(owned=False)
        ports = range(10000, 11000)
        host.listeners = {port: Listener(1000, port) for port in ports}
        for port in ports:
            host.tenants.confirm(notebook(port), 0, None)
        host.listeners = {port: Listener(1000, -port) for port in ports}
        host.looks = 0
        for now in range(1, 9):
            host.tenants.sweep(now)
            assert host.looks <= 128 * now
        assert sorted(name for name, _ in host.left) == [str(port) for port in ports]

    def test_ports_where_nobody_ever_listened_are_not_remembered(self) -> None:
        host = Host()
        for port in range(1, 65536):
            host.tenants.admit(notebook(port), 0, connected=False)
        host.looks = 0
        host.tenants.sweep(1)
        assert host.looks == 0
