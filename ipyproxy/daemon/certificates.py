"""The composition of ACME: makes a keeper of certificates from the settings.

Loaded only if ``tls.acme`` is on, together with all modules for ACME. Decides nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from ipyproxy.acme.account import Account, Authority
from ipyproxy.acme.applicant import Applicant, Policy
from ipyproxy.acme.client import Client, Proof
from ipyproxy.acme.jose import AccountKey, from_base64url
from ipyproxy.acme.keeper import Keeper
from ipyproxy.acme.proofs import Dns, Http, LastingRecord, TlsAlpn
from ipyproxy.acme.store import Store
from ipyproxy.acme.web import Web
from ipyproxy.clock import Clock, twisted_clock
from ipyproxy.config import Config, Tls
from ipyproxy.daemon.settings import Acme
from ipyproxy.status.condition import Renewals
from ipyproxy.threads import Run
from ipyproxy.tls import Certificate


def make_keeper(
    reactor: Clock, config: Config, acme: Acme, run: Run, serve: Callable[[Certificate], None]
) -> Keeper:
    """What sees to it that each of the names has a certificate; it has yet to be started.

    :param run: does work in a thread.
    :param serve: has a certificate served.
    """
    web = Web(reactor, acme.trusted)
    authority = _authority(config.tls)

    def sleep(seconds: float) -> Deferred[None]:
        return deferLater(twisted_clock(reactor), seconds)

    def connect(key: AccountKey) -> Client:
        return Client(Account(authority, key, web, time.time), sleep)

    proofs = _proofs(acme.store, run, config)
    policy = Policy(config.tls.key_type, config.tls.reuse_key)
    applicant = Applicant(reactor, acme.store, connect, proofs, run, policy)
    return Keeper(reactor, time.time, acme.store, applicant, run, serve)


def renewals_of(keeper: Keeper) -> Renewals:
    """The present state of renewals."""
    return Renewals(keeper.done, keeper.failed, tuple(keeper.concerns()))


def _authority(tls: Tls) -> Authority:
    binding = (tls.eab_kid, from_base64url(tls.eab_hmac.rstrip("="))) if tls.eab_kid else None
    return Authority(tls.acme_directory_url, tls.email, binding, tls.acme_profile)


def _proofs(store: Store, run: Run, config: Config) -> list[Proof]:
    """The ways to answer challenges, the simplest first."""
    proofs: list[Proof] = [TlsAlpn(store, run)]
    if config.listen.http is not None:
        proofs.append(Http(store, run))
    if config.tls.dns_persist:
        proofs.append(LastingRecord())
    if config.tls.dns_hook is not None:
        proofs.append(Dns(config.tls.dns_hook, run))
    return proofs
