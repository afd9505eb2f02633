"""Makes and wires the running service from the settings.

Knows every part's constructor, and the order of start, reload and stop. Decides nothing about
requests.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ipyproxy import __version__
from ipyproxy.clock import twisted_clock
from ipyproxy.config import ConfigError
from ipyproxy.daemon.components import make_components, refit, secure
from ipyproxy.daemon.containers import ContainerRoutes
from ipyproxy.daemon.draining import Drain, Patience
from ipyproxy.daemon.keeping import Keeping
from ipyproxy.daemon.limits import channel_limits, within_descriptors
from ipyproxy.daemon.listeners import Listeners
from ipyproxy.daemon.memory import FreeMemory
from ipyproxy.daemon.recording import Recording
from ipyproxy.daemon.reloading import Reloads
from ipyproxy.daemon.settings import Settings
from ipyproxy.daemon.signals import Starting
from ipyproxy.daemon.sites import hsts, make_sites
from ipyproxy.daemon.summary import log_settings
from ipyproxy.daemon.systemd import Manager
from ipyproxy.net.descriptors import Descriptors, EpollSet, Poller, Reactor
from ipyproxy.net.endpoints import StartError, spoken
from ipyproxy.status.condition import Phase
from ipyproxy.status.lag import timed
from ipyproxy.status.serving import StatusServer
from ipyproxy.threads import PatientThreads
from ipyproxy.tls import Certificate, CertificateError, ServerTLS
from ipyproxy.upstream.owners import Directory, KnownOwners, Owners, groups_of
from ipyproxy.upstream.tenancy import Tenants, find_kernel

if TYPE_CHECKING:
    from ipyproxy.daemon.hub import Hub

# So that a client that has left is noticed within a second, even while nothing is read from it.
_SWEEP = 0.5
# Seconds for the last writes into the state directory; the disk may be gone for good.
_STATE_WITHIN = 5.0


class MainReactor(Reactor, Starting, Protocol):
    """The reactor, as far as the daemon itself needs it."""

    def stop(self) -> object:
        """End the process's services, then the process."""


class ProxyService(Service):
    """The daemon: its parts, sweeps, reloads and graceful stop.

    :param read: reads the present settings from the disk; raises :class:`ConfigError`.
    :param manager: the service manager to report to.
    """

    log = Logger(namespace="ipyproxy.service")

    def __init__(
        self, reactor: MainReactor, read: Callable[[], Settings], manager: Manager
    ) -> None:
        self._reactor = reactor
        self._manager = manager
        self._settings = _fitting(read())
        config = self._settings.config
        self._bound_hub = config.jupyterhub
        self._hub: Hub | None = None
        self._tls = ServerTLS(self._settings.certificates, self._settings.terms, reactor.seconds)
        self._descriptors = make_descriptors(reactor)
        self._directory = Directory(reactor, PatientThreads(reactor, 2, "users").run, groups_of)
        owners = self._settings.owners
        tenants = Tenants(find_kernel(owners), self._known(owners))
        self._components = make_components(reactor, self._descriptors, config, tenants)
        secure(self._components, self._settings.notebooks_tls, self._settings.applications_tls)
        condition = self._components.condition
        self._containers = ContainerRoutes(
            reactor, self._components.live, self._components.own_ports
        )
        self._keeping = Keeping(reactor, condition, self._tls, self._put_in_place)
        self._reloads = Reloads(reactor, read, manager, condition, self)
        self._recording = Recording(self._components, config)
        self._listeners = Listeners(reactor, self._descriptors, self._components, self._tls, config)
        sweep = timed(self._sweep, self._components.sweeps, time.perf_counter)
        self._sweeping = LoopingCall(guarded(sweep, self.log))
        self._sweeping.clock = twisted_clock(reactor)
        self._memory = FreeMemory()
        self._drain: Drain | None = None
        self._patience: Patience | None = None

    def _known(self, owners: Owners | None) -> KnownOwners | None:
        return None if owners is None else KnownOwners(owners, self._directory)

    @property
    def state_directory(self) -> Path:
        """The directory of files that outlive the process."""
        return self._settings.state_directory

    # Starting.

    def privilegedStartService(self) -> None:
        """Bind the ports, while the process still has the rights to."""
        self._listeners.bind()
        sites = make_sites(self._components, self._settings, self._listeners.https_port)
        self._public = sites.public
        self._components.live.fit(sites.fittings)
        self._listeners.serve(sites, self._recording.record)
        limits = channel_limits(self._settings.config)
        self._status = StatusServer(self._reactor, self._descriptors, sites.status, limits)
        self._hub = self._make_hub()

    def _make_hub(self) -> Hub | None:
        """The part for a JupyterHub, if one is configured."""
        config, files = self._settings.config, self._settings.hub
        if files is None:
            return None
        # Imported only when needed.
        from ipyproxy.daemon.hub import Hub

        kept = self.state_directory if config.jupyterhub.keep_routes else None
        return Hub(
            self._reactor,
            self._descriptors,
            self._components,
            channel_limits(config),
            config.jupyterhub,
            files,
            kept,
        )

    def startService(self) -> None:
        """Begin to serve."""
        super().startService()
        try:
            self._recording.start()
        except ConfigError as error:
            raise StartError(f"ipyproxy: {error}") from None
        address = self._status.listen(self._settings.config.status.listen, self.state_directory)
        if address is not None:
            self._listeners.note(address)
        if self._hub is not None:
            self._hub.start()
        self._manager.keep_watch(self._reactor, self._descriptors)
        # Not earlier: until the reactor runs, it does not handle signals.
        self._reactor.callWhenRunning(self._manager.ready)
        self._sweeping.start(_SWEEP, now=False)
        self._components.health.startService()
        self._components.lag.start()
        self._components.galaxy.start()
        self._components.auth.revocations.keep(self.state_directory / "revocations.json")
        self._components.auth.sessions.keep(self.state_directory / "sessions.json")
        self.log.info(
            "ipyproxy {version} runs on {reactor}",
            version=__version__,
            reactor=type(self._reactor).__name__,
        )
        for listening in self._components.condition.listeners:
            self.log.info("listening on {address}", address=listening)
        self.tell_settings()
        self._reactor.callWhenRunning(lambda: self._keeping.follow(self._settings))
        self._reactor.callWhenRunning(lambda: self._containers.follow(self._settings.config))
        self._components.condition.phase = Phase.SERVING

    # Running.

    def _sweep(self) -> None:
        now = self._reactor.seconds()
        self._listeners.sweep()
        if (address := self._status.sweep()) is not None:
            self._listeners.note(address)
            self.log.info("listening on {address}", address=spoken(address))
        if self._hub is not None:
            self._hub.sweep()
        self._components.pool.sweep()
        self._components.retirement.sweep()
        self._components.live.sweep(now)
        self._components.upstreams.sweep(now)
        self._components.tenants.sweep(now)
        self._memory.note(now, self._components.clients.connections)
        self._components.bridges.sweep()
        self._components.auth.attempts.sweep(now)
        self._components.statistics.tick(now)
        self._recording.sweep(now)
        self.tell_status()

    def tell_settings(self) -> None:
        """Log the settings in place."""
        self._components.condition.certificates = self._settings.certificates
        log_settings(self._settings, nameless=self._listeners.has_nameless_clients)

    def tell_status(self) -> None:
        """Update the status text for the service manager."""
        told = (
            f"{self._components.condition.phase.value}: "
            f"{self._components.clients.connections} connections, "
            f"{len(self._components.bridges.open)} WebSockets"
        )
        refused = self._reloads.refused
        self._manager.status(f"{told}; {refused}" if refused else told)

    def reopen_log(self) -> None:
        """Write the access log to the file that is now under its path, after a rotation."""
        self._recording.reopen()

    # Taking over.

    def reload(self) -> None:
        """Read all settings anew and put them in place; open connections stay."""
        self._reloads.ask()

    def take_over(self, settings: Settings) -> None:
        """Put ``settings`` in place, or raise :class:`ConfigError` and change nothing."""
        settings = _fitting(settings)
        config = settings.config
        # Steps that can fail come first.
        sites = make_sites(self._components, settings, self._listeners.https_port)
        writer = self._recording.prepare(config)
        try:
            self._tls.replace(settings.certificates, settings.terms)
        except CertificateError as error:
            self._recording.discard(writer)
            raise ConfigError([str(error)]) from error
        # From here on nothing fails.
        if settings.terms.clients != self._settings.terms.clients:
            # Open connections were checked against the former authorities for client certificates.
            self._listeners.https.disconnect()
        self._settings = settings
        refit(self._components, config)
        self._components.tenants.owners = self._known(settings.owners)
        self._directory.refresh()
        secure(self._components, settings.notebooks_tls, settings.applications_tls)
        self._public = sites.public
        self._components.live.fit(sites.fittings)
        fixed = self._listeners.put(config, sites)
        self._status.server.site = sites.status
        self._components.sights.live.close()
        self._recording.put(writer, config)
        self._keeping.follow(settings)
        self._containers.follow(config)
        if self._hub is not None and settings.hub is not None:
            self._hub.follow(settings.hub)
        if config.jupyterhub != self._bound_hub:
            self.log.warn("[jupyterhub] has changed: that takes a restart")
        for key in fixed:
            self.log.warn("listen.{key} has changed: that takes a restart", key=key)
        if config.status.listen != self._status.where:
            self.log.warn("status.listen has changed: that takes a restart")

    def _put_in_place(self, certificate: Certificate) -> None:
        """Use a new certificate for new connections. Raises CertificateError."""
        if certificate in self._tls.certificates:
            return
        self._tls.put(certificate)
        self._settings = self._settings._replace(certificates=self._tls.certificates)
        self._components.condition.certificates = self._tls.certificates
        self._public.insist(hsts(self._settings))
        self.log.info("certificate: {told}", told=certificate)

    # Stopping.

    def stop(self) -> None:
        """Stop gracefully: finish requests, and close WebSockets. A second call ends at once."""
        within = self._settings.config.timeouts.drain
        if self._patience is None or self._patience.bridges:
            self.log.info("stopping")
            self._stop_with(Patience(within, 0))
        else:
            self.log.info("stopping at once")
            self._stop_with(Patience(0, 0))

    def hand_over(self) -> None:
        """Leave new connections to another process, and stop once everything open has ended."""
        timeouts = self._settings.config.timeouts
        if self._patience is None:
            self.log.info("handing over: WebSockets may stay")
            self._status.give_up_place()
            if self._hub is not None:
                self._hub.give_up_place()
            self._stop_with(Patience(timeouts.drain, timeouts.drain_websocket))

    def _stop_with(self, patience: Patience) -> None:
        begun, self._patience = self._patience is not None, patience
        self._manager.stopping(patience.bridges + patience.requests)
        if self._drain is not None:
            self._drain.hasten(patience)
        elif not begun:
            self._reactor.stop()

    def stopService(self) -> Deferred[list[tuple[bool, None]]]:
        """Accept nothing new, finish what is open within the time limits, then end."""
        super().stopService()
        self._components.condition.phase = Phase.DRAINING
        self._keeping.stop()
        self._components.sights.live.close()
        stopped = self._listeners.stop()
        patience = self._patience or Patience(self._settings.config.timeouts.drain, 0)
        self._drain = Drain(self._reactor, self._listeners.servers, self._components, patience)
        self._drain.done.addCallback(lambda _: self._end())
        return DeferredList([self._drain.done, *stopped])

    def _end(self) -> Deferred[list[tuple[bool, None]]]:
        # Not earlier: a WebSocket that may stay must still end if its tool is removed.
        self._components.galaxy.stop()
        self._containers.stop()
        self._components.lag.stop()
        self._sweeping.stop()
        self._recording.close()
        self._manager.leave()
        self._components.auth.threads.close()
        self._components.compression.close()
        kept = self._components.auth.revocations, self._components.auth.sessions
        written = [each.written() for each in kept]
        if self._hub is not None:
            written.append(self._hub.stop())
        for each in written:
            each.addTimeout(_STATE_WITHIN, twisted_clock(self._reactor)).addErrback(lambda _: None)
        return DeferredList([*written, *filter(None, [self._status.stop()])])


def make_service(
    read: Callable[[], Settings], reactor: MainReactor, manager: Manager
) -> ProxyService:
    """Make the service that the settings describe; binds nothing yet.

    :param read: reads the present settings from the disk; called again for each reload.
    :param manager: the service manager to report to.
    :raises ConfigError: if the settings are invalid.
    """
    return ProxyService(reactor, read, manager)


def _fitting(settings: Settings) -> Settings:
    return settings._replace(config=within_descriptors(settings.config))


def make_descriptors(reactor: Poller) -> Descriptors:
    """The event loop for transports: an epoll set if the system has it, else the reactor."""
    return EpollSet(reactor) if hasattr(select, "epoll") else reactor


def guarded(call: Callable[[], None], log: Logger) -> Callable[[], None]:
    """``call``, but exceptions are logged, so that they don't stop a LoopingCall for good."""

    def guarded() -> None:
        try:
            call()
        except Exception:
            log.failure("a periodic check failed; please report this")

    return guarded
