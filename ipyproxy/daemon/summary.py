"""Logs the settings in place, at the start and after each reload.

Knows settings and messages; changes nothing.
"""

from __future__ import annotations

from twisted.logger import Logger

from ipyproxy.daemon.settings import Settings

_log = Logger(namespace="ipyproxy.service")


def log_settings(settings: Settings, *, nameless: bool) -> None:
    """Log certificates, doubts and routes.

    :param nameless: whether clients connect by a UNIX socket, and no proxy names them.
    """
    if nameless:
        _log.warn(
            "clients that come by a UNIX socket have no address, so no limit of one client "
            'holds for them, nor does a failed login cost anything: list "unix" in '
            "listen.trusted_proxies if a proxy says who they are"
        )
    for certificate in settings.certificates:
        _log.info("certificate: {told}", told=certificate)
    for doubt in settings.doubts:
        _log.warn("{doubt}", doubt=doubt)
    notebooks = settings.config.notebooks
    _log.info(
        "{prefix}/<port>/ leads to {scheme}://127.0.0.1:<port>{prefix}/<port>/ for ports {ports}",
        scheme="https" if notebooks.tls else "http",
        prefix=notebooks.prefix,
        ports=str(notebooks.ports),
    )
    for route in settings.config.routes:
        servers = ", ".join(server.name for server in route.servers)
        where = servers or str(route.files or route.redirect)
        _log.info("{route} leads to {where}", route=route.name, where=where)
