"""The one place where everything is made and wired: settings become a running service.

Knows every room's constructor, and what begins when. Decides nothing about requests.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IAddress
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipyproxy import __version__
from ipyproxy.config import ConfigError
from ipyproxy.daemon.components import (
    channel_limits,
    hsts,
    make_components,
    make_sites,
    refit,
    secure,
)
from ipyproxy.daemon.containers import ContainerRoutes
from ipyproxy.daemon.draining import Drain, Patience
from ipyproxy.daemon.keeping import Keeping
from ipyproxy.daemon.memory import FreeMemory
from ipyproxy.daemon.outcome import Outcome, outcome_file, write_outcome
from ipyproxy.daemon.settings import Settings
from ipyproxy.daemon.systemd import Manager
from ipyproxy.http.forwarding import UNIX, TrustedProxies, name_of
from ipyproxy.net.descriptors import Descriptors, EpollSet
from ipyproxy.net.endpoints import StartError, listen, spoken
from ipyproxy.net.sockets import Accept, Announcement, Listener, claim_descriptors
from ipyproxy.net.tcp import TCPTransport
from ipyproxy.net.tls import TLSTransport
from ipyproxy.records.accesslog import AccessLog
from ipyproxy.records.logwriter import LogWriter
from ipyproxy.records.recorder import Recorder
from ipyproxy.server.clients import connections_within, descriptors_for
from ipyproxy.server.server import HTTPServer
from ipyproxy.server.site import Site
from ipyproxy.status.condition import Phase
from ipyproxy.status.lag import timed
from ipyproxy.status.serving import StatusServer
from ipyproxy.tls import Certificate, CertificateError, ServerTLS
from ipyproxy.upstream.owners import Directory, KnownOwners, Owners, PatientThreads, groups_of
from ipyproxy.upstream.tenancy import Tenants, find_kernel

# A client that goes away is missed within a second, even where nothing of it is read.
_SWEEP = 0.5
# Seconds for what is still to be written into the state directory; a disk may be gone for good.
_STATE_WITHIN = 5.0
_STANDARD_OUTPUT = 1


class ProxyService(Service):
    """The daemon: its listeners, its sweeps, its reloads and its orderly end.

    :param read: gives the settings as they stand on the disk now; raises :class:`ConfigError`.
    :param manager: is told what goes on.
    """

    log = Logger(namespace="ipyproxy.service")

    def __init__(self, reactor: Any, read: Callable[[], Settings], manager: Manager) -> None:
        self._reactor = reactor
        self._read = read
        self._manager = manager
        self._settings = _within_descriptors(read())
        config = self._settings.config
        self._tls = ServerTLS(self._settings.certificates, self._settings.terms, reactor.seconds)
        self._bound = config.listen
        self._listeners: list[Listener] = []
        self._writer = _log_writer(config.log.access)
        self._descriptors = make_descriptors(reactor)
        self._reader = PatientThreads(reactor, 1, "settings")
        self._directory = Directory(reactor, PatientThreads(reactor, 2, "users").run, groups_of)
        owners = self._settings.owners
        tenants = Tenants(find_kernel(owners), self._known(owners))
        self._components = make_components(reactor, self._descriptors, config, tenants)
        condition = self._components.condition
        self._containers = ContainerRoutes(reactor, self._components.live)
        self._keeping = Keeping(reactor, condition, self._tls, self._put_in_place)
        secure(self._components, self._settings.notebooks_tls, self._settings.applications_tls)
        access_log = AccessLog(self._writer.write, config.log.format, time.time)
        self._recorder = Recorder(self._components.statistics, access_log, self._components.clients)
        sweep = timed(self._sweep, self._components.sweeps, time.perf_counter)
        self._sweeping = LoopingCall(guarded(sweep, self.log))
        self._sweeping.clock = reactor
        self._memory = FreeMemory()
        self._reloads_asked = 0
        self._refused = ""
        self._drain: Drain | None = None
        self._patience: Patience | None = None

    def _known(self, owners: Owners | None) -> KnownOwners | None:
        return None if owners is None else KnownOwners(owners, self._directory)

    # Starting.

    def privilegedStartService(self) -> None:
        """Bind the ports, while the process may still have the rights to."""
        https = self._listen(self._bound.https, self._take_https)
        if self._bound.http is not None:
            self._listen(self._bound.http, self._take_http)
        self._https_port = getattr(https, "port", 443)
        sites = make_sites(self._components, self._settings, self._https_port)
        self._public = sites.public
        self._components.live.fit(sites.fittings)
        self._https = self._make_server(sites.public)
        self._http = self._make_server(sites.redirects)
        self._components.condition.handshakes = self._https.handshakes
        limits = channel_limits(self._settings.config)
        self._status = StatusServer(self._reactor, self._descriptors, sites.status, limits)

    def _listen(self, where: int | str, accept: Accept) -> IAddress:
        backlog = self._bound.backlog
        listener = listen(self._reactor, self._descriptors, where, backlog, accept)
        self._listeners.append(listener)
        self._note_listener(listener.address)
        return listener.address

    def _listen_for_status(self) -> None:
        where, directory = self._settings.config.status.listen, self._settings.state_directory
        address = self._status.listen(where, directory)
        if address is not None:
            self._note_listener(address)

    def _note_listener(self, address: IAddress) -> None:
        self._components.condition.listeners.append(spoken(address))
        own = getattr(address, "port", None)
        if own is not None:
            self._components.own_ports.add(own)

    def _make_server(self, site: Site) -> HTTPServer:
        config = self._settings.config
        proxies = TrustedProxies(config.listen.trusted_proxies)
        limits = channel_limits(config)
        record = self._recorder.record
        return HTTPServer(self._reactor, site, limits, self._components.clients, proxies, record)

    def startService(self) -> None:
        """Begin to serve."""
        super().startService()
        try:
            _started(self._writer)
        except ConfigError as error:
            raise StartError(f"ipyproxy: {error}") from None
        self._listen_for_status()
        self._manager.keep_watch(self._reactor, self._descriptors)
        # Not earlier: before it runs, the reactor does not even know of signals.
        self._reactor.callWhenRunning(self._manager.ready)
        self._sweeping.start(_SWEEP, now=False)
        self._components.health.startService()
        self._components.lag.start()
        self._components.auth.revocations.keep(self._settings.state_directory / "revocations.json")
        self._components.auth.sessions.keep(self._settings.state_directory / "sessions.json")
        self.log.info(
            "ipyproxy {version} runs on {reactor}",
            version=__version__,
            reactor=type(self._reactor).__name__,
        )
        for address in self._components.condition.listeners:
            self.log.info("listening on {address}", address=address)
        self._tell_settings()
        self._reactor.callWhenRunning(lambda: self._keeping.follow(self._settings))
        self._reactor.callWhenRunning(lambda: self._containers.follow(self._settings.config))
        self._components.condition.phase = Phase.SERVING

    def _tell_settings(self) -> None:
        self._components.condition.certificates = self._settings.certificates
        notebooks = self._settings.config.notebooks
        if self._has_nameless_clients():
            self.log.warn(
                "clients that come by a UNIX socket have no address, so no limit of one client "
                'holds for them, nor does a failed login cost anything: list "unix" in '
                "listen.trusted_proxies if a proxy says who they are"
            )
        for certificate in self._settings.certificates:
            self.log.info("certificate: {told}", told=certificate)
        for doubt in self._settings.doubts:
            self.log.warn("{doubt}", doubt=doubt)
        self.log.info(
            "{prefix}/<port>/ leads to {scheme}://127.0.0.1:<port>{prefix}/<port>/ "
            "for ports {ports}",
            scheme="https" if notebooks.tls else "http",
            prefix=notebooks.prefix,
            ports=str(notebooks.ports),
        )
        for route in self._settings.config.routes:
            servers = ", ".join(server.name for server in route.servers)
            where = servers or str(route.files or route.redirect)
            self.log.info("{route} leads to {where}", route=route.name, where=where)

    def _has_nameless_clients(self) -> bool:
        """Whether whoever connects is not told apart."""
        by_path = any(isinstance(each.address, UNIXAddress) for each in self._listeners)
        return by_path and UNIX not in self._settings.config.listen.trusted_proxies

    def _put_in_place(self, certificate: Certificate) -> None:
        """Serve new connections with a certificate that was got. Raises CertificateError."""
        if certificate in self._tls.certificates:
            return
        self._tls.put(certificate)
        self._settings = self._settings._replace(certificates=self._tls.certificates)
        self._components.condition.certificates = self._tls.certificates
        self._public.insist(hsts(self._settings))
        self.log.info("certificate: {told}", told=certificate)

    # Running.

    def _take_https(self, sock: socket.socket, peer: IAddress) -> None:
        config = self._settings.config
        if not config.listen.proxy_protocol:
            self._accept_tls(sock, peer)
        elif name_of(peer) in self._https.proxies:
            Announcement(self._reactor, sock, peer, config.timeouts.head, self._accept_tls)
        else:
            # Whoever is not a proxy could say it is anybody.
            sock.close()

    def _accept_tls(self, sock: socket.socket, peer: IAddress) -> None:
        channel = self._https.open_channel(peer)
        if channel is None:
            sock.close()
            return
        tls, high_water = self._tls.connection(sock), self._settings.config.limits.buffer_bytes
        TLSTransport(self._descriptors, sock, channel, peer, tls, high_water=high_water).start()

    def _take_http(self, sock: socket.socket, peer: IAddress) -> None:
        channel = self._http.open_channel(peer)
        if channel is None:
            sock.close()
            return
        high_water = self._settings.config.limits.buffer_bytes
        TCPTransport(self._descriptors, sock, channel, peer, high_water=high_water).start()

    def _sweep(self) -> None:
        self._https.sweep()
        self._http.sweep()
        if (address := self._status.sweep()) is not None:
            self._note_listener(address)
            self.log.info("listening on {address}", address=spoken(address))
        self._components.pool.sweep()
        self._components.retirement.sweep()
        self._components.live.sweep(self._reactor.seconds())
        self._components.upstreams.sweep(self._reactor.seconds())
        self._components.tenants.sweep(self._reactor.seconds())
        self._memory.note(self._reactor.seconds(), self._components.clients.connections)
        self._components.bridges.sweep()
        self._components.auth.attempts.sweep(self._reactor.seconds())
        self._components.statistics.tick(self._reactor.seconds())
        self._recorder.sweep(self._reactor.seconds())
        self._writer.flush()
        self._tell_status()

    def _tell_status(self) -> None:
        told = (
            f"{self._components.condition.phase.value}: "
            f"{self._components.clients.connections} connections, "
            f"{len(self._components.bridges.open)} WebSockets"
        )
        self._manager.status(f"{told}; {self._refused}" if self._refused else told)

    # Reloading.

    def reopen_log(self) -> None:
        """Write the access log to the file that is now under its path, after a rotation."""
        self._writer.reopen()

    def reload(self) -> None:
        """Read all settings anew and put them in place at once; what is open stays open.

        Settings that do not hold change nothing. They are read in a thread, for files may lie on a
        slow disk, and users in a slow directory. Asked again meanwhile, read them once more. What
        came of it is in :mod:`ipyproxy.daemon.outcome` before the manager is told that it is over.
        """
        self._reloads_asked += 1
        if self._reloads_asked == 1:
            self._manager.reloading()
            began = time.monotonic()
            reading = self._reader.run(self._read).addCallback(self._take_over)
            outcome = reading.addCallbacks(self._reloaded, self._not_reloaded)
            outcome.addCallback(self._write_outcome, began).addBoth(self._after_reload)

    def _reloaded(self, _: None) -> tuple[str, ...]:
        self._components.condition.reloads += 1
        self._refused = ""
        self.log.info("reloaded")
        self._tell_settings()
        return ()

    def _not_reloaded(self, failure: Failure) -> tuple[str, ...]:
        self._components.condition.refused_reloads += 1
        error = failure.value
        problems = error.problems if isinstance(error, ConfigError) else ("see its log",)
        self._refused = f"reload refused: {problems[0]}"
        if isinstance(error, ConfigError):
            for problem in problems:
                self.log.error("NOT RELOADED, all stays as it was: {problem}", problem=problem)
        else:
            said = "NOT RELOADED, all stays as it was; please report this"
            self.log.failure(said, failure)
        return problems

    def _write_outcome(self, problems: tuple[str, ...], began: float) -> Deferred[None]:
        file = outcome_file(self._settings.state_directory)
        outcome = Outcome(os.getpid(), began, problems)
        written: Deferred[None] = self._reader.run(lambda: write_outcome(file, outcome))
        return written.addErrback(
            lambda failure: self.log.warn(
                "what came of the reload cannot be written to {file} ({why}), so 'ipyproxy "
                "reload' and 'systemctl reload' will wait for it in vain",
                file=str(file),
                why=failure.getErrorMessage(),
            )
        )

    def _after_reload(self, _: None) -> None:
        asked, self._reloads_asked = self._reloads_asked, 0
        self._tell_status()
        if asked > 1:
            self.reload()
        else:
            self._manager.ready()

    def _take_over(self, settings: Settings) -> None:
        settings = _within_descriptors(settings)
        config = settings.config
        # What can fail comes first.
        sites = make_sites(self._components, settings, self._https_port)
        writer = self._writer
        if config.log.access != self._settings.config.log.access:
            writer = _started(_log_writer(config.log.access))
        try:
            self._tls.replace(settings.certificates, settings.terms)
        except CertificateError as error:
            if writer is not self._writer:
                writer.close()  # its thread would stay for ever
            raise ConfigError([str(error)]) from error
        # From here on nothing does.
        if settings.terms.clients != self._settings.terms.clients:
            # Whoever is connected has shown a certificate to the authorities of before, or none.
            self._https.retire()
        self._settings = settings
        refit(self._components, config)
        self._components.tenants.owners = self._known(settings.owners)
        self._directory.refresh()
        secure(self._components, settings.notebooks_tls, settings.applications_tls)
        self._public = sites.public
        self._components.live.fit(sites.fittings)
        for server, site in (self._https, sites.public), (self._http, sites.redirects):
            server.site = site
            server.limits = channel_limits(config)
            server.proxies = TrustedProxies(config.listen.trusted_proxies)
        self._status.server.site = sites.status
        self._components.sights.live.close()
        self._recorder.access_log = AccessLog(writer.write, config.log.format, time.time)
        if writer is self._writer:
            writer.reopen()
        else:
            self._writer.close()
            self._writer = writer
        self._keeping.follow(settings)
        self._containers.follow(config)
        for key in ("https", "http", "backlog"):
            if getattr(config.listen, key) != getattr(self._bound, key):
                self.log.warn("listen.{key} has changed: that takes a restart", key=key)
        if config.status.listen != self._status.where:
            self.log.warn("status.listen has changed: that takes a restart")

    # Stopping.

    def stop(self) -> None:
        """Finish requests, and tell browsers that WebSockets close; asked again, end at once."""
        within = self._settings.config.timeouts.drain
        if self._patience is None or self._patience.bridges:
            self.log.info("stopping")
            self._stop_with(Patience(within, 0))
        else:
            self.log.info("stopping at once")
            self._stop_with(Patience(0, 0))

    def retire(self) -> None:
        """Leave what is new to another process, and stop once all that is open has ended."""
        timeouts = self._settings.config.timeouts
        if self._patience is None:
            self.log.info("retiring: WebSockets may stay")
            self._status.give_up_place()
            self._stop_with(Patience(timeouts.drain, timeouts.drain_websocket))

    def _stop_with(self, patience: Patience) -> None:
        begun, self._patience = self._patience is not None, patience
        self._manager.stopping(patience.bridges + patience.requests)
        if self._drain is not None:
            self._drain.hasten(patience)
        elif not begun:
            self._reactor.stop()

    def stopService(self) -> Any:
        """Take nothing new, finish what is open as far as patience goes, then end."""
        super().stopService()
        self._components.condition.phase = Phase.DRAINING
        self._keeping.stop()
        self._containers.stop()
        self._components.sights.live.close()
        stopped = [listener.stop() for listener in self._listeners]
        patience = self._patience or Patience(self._settings.config.timeouts.drain, 0)
        servers = self._https, self._http
        self._drain = Drain(self._reactor, servers, self._components, patience)
        self._drain.done.addCallback(lambda _: self._end())
        return DeferredList([self._drain.done, *[d for d in stopped if d is not None]])

    def _end(self) -> Any:
        self._components.lag.stop()
        self._sweeping.stop()
        self._writer.close()
        self._manager.leave()
        self._components.auth.threads.close()
        self._components.compression.close()
        kept = self._components.auth.revocations, self._components.auth.sessions
        written = [each.written() for each in kept]
        for each in written:
            each.addTimeout(_STATE_WITHIN, self._reactor).addErrback(lambda _: None)
        return DeferredList([*written, *filter(None, [self._status.stop()])])


def make_service(read: Callable[[], Settings], reactor: Any, manager: Manager) -> ProxyService:
    """The service that the settings describe; nothing is bound yet.

    :param read: gives the settings as they stand on the disk now; called again for each reload.
    :param manager: is told what goes on.
    :raises ConfigError: if there is nothing to begin with.
    """
    return ProxyService(reactor, read, manager)


def _within_descriptors(settings: Settings) -> Settings:
    """``settings`` with no more connections than there are descriptors for.

    Whoever comes when all are in use is turned away at once, instead of waiting unheard.
    """
    config = settings.config
    wanted = config.limits.connections
    have = claim_descriptors(descriptors_for(wanted))
    fitting = connections_within(have)
    if fitting >= wanted:
        return settings
    ProxyService.log.warn(
        "only {fitting} connections at once instead of {wanted}: this process may have no more "
        "than {have} descriptors; raise its LimitNOFILE",
        fitting=fitting,
        wanted=wanted,
        have=have,
    )
    limits = attrs.evolve(config.limits, connections=fitting)
    return settings._replace(config=attrs.evolve(config, limits=limits))


def make_descriptors(reactor: Any) -> Descriptors:
    """Where the transports wait: the cheaper set where there is one, else the reactor."""
    return EpollSet(reactor) if hasattr(select, "epoll") else reactor


def _log_writer(access: str) -> LogWriter:
    if access == "-":
        return LogWriter(_STANDARD_OUTPUT)
    return LogWriter(Path(access or "/dev/null"))


def _started(writer: LogWriter) -> LogWriter:
    try:
        writer.start()
    except OSError as error:
        raise ConfigError([f"log.access: {error.strerror}"]) from None
    return writer


def guarded(call: Callable[[], None], log: Logger) -> Callable[[], None]:
    """``call``, but an exception is logged instead of stopping the LoopingCall for good."""

    def guarded() -> None:
        try:
            call()
        except Exception:
            log.failure("a periodic check failed; please report this")

    return guarded
