"""Starts, changes and stops the renewal of certificates as the settings say.

Knows the settings that a keeper of certificates depends on. It is made in
:mod:`ipyproxy.daemon.certificates`, which is loaded only if the settings ask for one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.logger import Logger

from ipyproxy.daemon.settings import Settings
from ipyproxy.net.descriptors import Reactor
from ipyproxy.status.condition import Condition
from ipyproxy.threads import PatientThreads
from ipyproxy.tls import Certificate, ServerTLS

if TYPE_CHECKING:
    from ipyproxy.acme.keeper import Keeper


class Keeping:
    """The keeper of certificates, if there is one.

    :param condition: gets the state of renewals.
    :param tls: answers ACME servers during validation.
    :param put_in_place: serves a certificate; may raise CertificateError.
    """

    log = Logger(namespace="ipyproxy.service")

    def __init__(
        self,
        reactor: Reactor,
        condition: Condition,
        tls: ServerTLS,
        put_in_place: Callable[[Certificate], None],
    ) -> None:
        self._reactor = reactor
        self._condition = condition
        self._tls = tls
        self._put_in_place = put_in_place
        self._threads = PatientThreads(reactor, 1, "certificates")
        self._keeper: Keeper | None = None
        self._terms: tuple[object, ...] | None = None

    def follow(self, settings: Settings) -> None:
        """Renew the certificates that ``settings``, which are now in place, ask for."""
        terms = _terms(settings)
        if terms != self._terms:
            self._terms = terms
            self._begin(settings)
        elif self._keeper is not None:
            # One of its certificates may be newer than the one read with the settings.
            self._keeper.serve_again()

    def _begin(self, settings: Settings) -> None:
        self.stop()
        acme, config = settings.acme, settings.config
        if acme is None:
            self._tls.challenges = self._condition.renewals = None
            return
        # Imported only when needed.
        from ipyproxy.daemon.certificates import make_keeper, renewals_of

        run, put = self._threads.run, self._put_in_place
        keeper = make_keeper(self._reactor, config, acme, run, put)
        self._keeper, self._tls.challenges = keeper, acme.store.challenge
        self._condition.renewals = lambda: renewals_of(keeper)
        self.log.info(
            "certificates for {names} come from {authority}",
            names=", ".join(acme.store.names) or "no name",
            authority=config.tls.acme_directory_url,
        )
        keeper.start()

    def stop(self) -> None:
        """Stop renewing."""
        if self._keeper is not None:
            self._keeper.stop()
            self._keeper = None


def _terms(settings: Settings) -> tuple[object, ...] | None:
    """All settings that a keeper depends on; None: none is needed."""
    if settings.acme is None:
        return None
    store, config = settings.acme.store, settings.config
    return store.directory, store.names, settings.acme.trusted, config.tls, config.listen.http
