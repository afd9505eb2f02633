"""Which certificate a new connection is served with: by the name it asks for, as of now.

Knows contexts and names, and how an ACME server looks whose a name is (tls-alpn-01, RFC 8737).
Knows nothing of files, or of what is said on a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from socket import socket
from typing import NamedTuple

from OpenSSL import SSL

from ipyproxy.net.hosts import parse_address
from ipyproxy.net.tls import NOTHING_BUT_HANDSHAKE
from ipyproxy.tls.certificates import Certificate
from ipyproxy.tls.contexts import Selection, Terms, select_protocol, server_context
from ipyproxy.tls.sources import with_renewed

KEYS_LAST = 86400.0
"""Seconds for which session tickets are sealed with the same keys."""
ACME_TLS = b"acme-tls/1"
"""The protocol that an ACME server offers, and no other, when it looks whose a name is."""

Challenges = Callable[[str], Certificate | None]
"""Gives the certificate that proves to an ACME server that this host is meant by a name, if one is
asked for at present. Called with whatever a client sends as SNI, in lower case."""


class _Choice(NamedTuple):
    """The contexts to choose among. All tickets are sealed by ``first``, whatever is chosen."""

    first: SSL.Context
    by_name: dict[str, SSL.Context]
    by_address: dict[str, SSL.Context]
    unnamed: SSL.Context
    """For clients that ask for no name, since they were given an address that is none of these."""
    unknown: SSL.Context


class ServerTLS:
    """Makes the TLS side of new connections, with certificates that can be replaced.

    :param certificates: the first is served where no other bears the name that is asked for.
    :param seconds: the reactor's clock.
    :ivar challenges: what ACME servers are answered with; None: they are not answered.
    """

    def __init__(
        self,
        certificates: Sequence[Certificate],
        terms: Terms,
        seconds: Callable[[], float],
    ) -> None:
        self._seconds = seconds
        self.challenges: Challenges | None = None
        self.replace(certificates, terms)

    def replace(self, certificates: Sequence[Certificate], terms: Terms) -> None:
        """Serve new connections with these; open ones keep what they began with.

        Session tickets get new keys. Raises CertificateError, and then nothing has changed.
        """
        # pyOpenSSL refuses to change a context that has been used, so there are new ones.
        self._choice = _choice(certificates, terms, self._select)
        self._certificates, self._terms = tuple(certificates), terms
        self._made = self._seconds()

    def put(self, renewed: Certificate) -> None:
        """Serve ``renewed`` in the place of the certificate that came from the same file.

        See :func:`ipyproxy.tls.sources.with_renewed`, and :meth:`replace`.
        """
        self.replace(with_renewed(self._certificates, renewed), self._terms)

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """What new connections are served with."""
        return self._certificates

    def connection(self, sock: socket | None) -> SSL.Connection:
        """The server's end of a new connection: on ``sock`` or memory BIOs, awaiting the client."""
        if self._seconds() - self._made >= KEYS_LAST:
            self.replace(self._certificates, self._terms)
        connection = SSL.Connection(self._choice.first, sock)
        connection.set_accept_state()
        return connection

    def _select(self, connection: SSL.Connection, offered: list[bytes]) -> bytes:
        if offered == [ACME_TLS] and self.challenges is not None:
            self._take_challenge(connection, self.challenges)
            return ACME_TLS
        return select_protocol(connection, offered)

    def _take_challenge(self, connection: SSL.Connection, challenges: Challenges) -> None:
        """Show an ACME server its own challenge, and nothing else; raises SSL.Error without one.

        In TLS 1.3 the protocol is chosen before the certificate. In TLS 1.2 it is chosen
        afterwards, and OpenSSL holds on to the certificate of the context that is left: so there
        is no challenge in TLS 1.2. No public ACME server is known to need it.
        """
        name = (connection.get_servername() or b"").decode("ascii", "replace").lower()
        challenge = None
        if connection.get_protocol_version() >= SSL.TLS1_3_VERSION:
            challenge = challenges(name)
        if challenge is None:
            raise SSL.Error([("SSL routines", "", "no ACME challenge for this name")])
        connection.set_context(server_context((challenge,), _CHALLENGE_TERMS, self._select))
        connection.set_verify(SSL.VERIFY_NONE)  # an ACME server has no certificate to show
        connection.set_app_data(NOTHING_BUT_HANDSHAKE)


_CHALLENGE_TERMS = Terms()


def _choice(certificates: Sequence[Certificate], terms: Terms, select: Selection) -> _Choice:
    contexts: dict[tuple[Certificate, ...], SSL.Context] = {}
    by_name: dict[str, SSL.Context] = {}
    for name in dict.fromkeys(name for each in certificates for name in each.names):
        bearers = _bearers(name, certificates)
        if bearers not in contexts:
            contexts[bearers] = server_context(bearers, terms, select)
        by_name[name] = contexts[bearers]
    default = by_name[certificates[0].names[0]]
    unknown = server_context((), terms, select) if terms.refuses_unknown_names else default
    by_address = {name: context for name, context in by_name.items() if parse_address(name)}
    unnamed = next(iter(by_address.values()), unknown)
    choice = _Choice(default, by_name, by_address, unnamed, unknown)
    if len(contexts) > 1 or terms.refuses_unknown_names:
        default.set_tlsext_servername_callback(lambda connection: _choose(choice, connection))
    return choice


def _bearers(name: str, certificates: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """Who bears ``name``: for each kind of key the one that ends last."""
    kinds: dict[type, Certificate] = {}
    for each in certificates:
        kind = type(each.private_key)
        if name in each.names and (kind not in kinds or each.not_after > kinds[kind].not_after):
            kinds[kind] = each
    return tuple(kinds.values())


def _choose(choice: _Choice, connection: SSL.Connection) -> None:
    asked = connection.get_servername()
    if asked is None:
        context = choice.by_address.get(_local_address(connection), choice.unnamed)
    else:
        name = asked.decode("ascii", "replace").lower()
        wildcard = "*." + name.partition(".")[2]
        by_name = choice.by_name
        context = by_name.get(name) or by_name.get(wildcard) or choice.unknown
    connection.set_context(context)


def _local_address(connection: SSL.Connection) -> str:
    """The address that a client has come to; "" if that is none of ours, or a UNIX socket."""
    try:
        address = connection.getsockname()[0]
    except (AttributeError, OSError, IndexError):
        return ""
    return str(address).removeprefix("::ffff:")
