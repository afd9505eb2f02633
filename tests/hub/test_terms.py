"""The terms on which a hub's servers are spoken to by TLS."""

from __future__ import annotations

from ipyproxy.daemon.hubterms import ServerTerms, TermsOf
from ipyproxy.hub.reading import read_target


def test_servers_with_names_of_their_own_share_one_context() -> None:
    # With the authorities of the system each takes a megabyte and 10 ms, and names of servers come
    # and go with their users.
    terms = TermsOf(ServerTerms())
    one, other = (terms(read_target(f"https://pod-{n}.example.org").servers[0]) for n in range(2))
    assert one != other
    assert one.connection(None).get_context() is other.connection(None).get_context()
