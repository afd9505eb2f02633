"""Chooses the certificate for a new connection by SNI; certificates can be replaced.

Knows contexts and names, and how an ACME server validates a name (tls-alpn-01, RFC 8737). Knows
nothing of files, or of the data on a connection.
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
"""Seconds for which session tickets are encrypted with the same keys."""
ACME_TLS = b"acme-tls/1"
"""The only protocol that an ACME server offers when it validates a name."""

Challenges = Callable[[str], Certificate | None]
"""Returns the certificate that answers an ACME server's open challenge for a name, if there is one.
Called with any SNI that a client sends, in lower case."""


class _Choice(NamedTuple):
    """The contexts to choose from. ``first`` encrypts all tickets, whichever is chosen."""

    first: SSL.Context
    by_name: dict[str, SSL.Context]
    by_address: dict[str, SSL.Context]
    unnamed: SSL.Context
    """For clients without SNI whose address is none of the names."""
    unknown: SSL.Context


class ServerTLS:
    """Makes the server's TLS for new connections, with certificates that can be replaced.

    :param certificates: the first one is the default, if no other contains the name in SNI.
    :param seconds: the reactor's clock.
    :ivar challenges: answers ACME servers; None: they are not answered.
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
        """Use these for new connections; open ones keep the former ones.

        Session tickets get new keys. Raises CertificateError, and then nothing has changed.
        """
        # pyOpenSSL refuses to change a used context, so new ones are made.
        self._choice = _choice(certificates, terms, self._select)
        self._certificates, self._terms = tuple(certificates), terms
        self._made = self._seconds()

    def put(self, renewed: Certificate) -> None:
        """Serve ``renewed`` instead of the certificate from the same file.

        See :func:`ipyproxy.tls.sources.with_renewed`, and :meth:`replace`.
        """
        self.replace(with_renewed(self._certificates, renewed), self._terms)

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """The certificates for new connections."""
        return self._certificates

    def connection(self, sock: socket | None) -> SSL.Connection:
        """A new connection as the server, on ``sock`` or memory BIOs, waiting for the client."""
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
        """Show an ACME server the certificate for its challenge; raises SSL.Error if there is none.

        In TLS 1.3 the protocol is chosen before the certificate. In TLS 1.2 it is chosen
        afterwards, and OpenSSL keeps the certificate of the former context, so challenges do not
        work with TLS 1.2. No public ACME server is known to need that.
        """
        name = (connection.get_servername() or b"").decode("ascii", "replace").lower()
        challenge = None
        if connection.get_protocol_version() >= SSL.TLS1_3_VERSION:
            challenge = challenges(name)
        if challenge is None:
            raise SSL.Error([("SSL routines", "", "no ACME challenge for this name")])
        connection.set_context(server_context((challenge,), _CHALLENGE_TERMS, self._select))
        connection.set_verify(SSL.VERIFY_NONE)  # an ACME server has no client certificate
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
    """The certificates that contain ``name``: for each kind of key the one that expires last."""
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
    """The local address of a client's connection; "" if unknown, or for a UNIX socket."""
    try:
        address = connection.getsockname()[0]
    except (AttributeError, OSError, IndexError):
        return ""
    return str(address).removeprefix("::ffff:")
