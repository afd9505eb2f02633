"""Apache and nginx as the tests run them, each with a configuration that somebody else has written.

Knows what stands around such a configuration on a host, and the ports and paths that differ here.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

from tests.integration.processes import Child

_SBIN = "/usr/sbin:/usr/local/sbin"
APACHE = shutil.which("apache2") or shutil.which("apache2", path=_SBIN)
NGINX = shutil.which("nginx") or shutil.which("nginx", path=_SBIN)
MODULES = Path("/usr/lib/apache2/modules")

# What Debian enables, and a2enmod as the documentation asks for it.
_MODULES = (
    "mpm_event", "authz_core", "authz_host", "authn_core", "authn_file", "authz_user",
    "auth_basic", "alias", "dir", "mime", "setenvif", "headers", "expires", "filter", "deflate",
    "reqtimeout", "socache_shmcb", "ssl", "rewrite", "proxy", "proxy_http", "proxy_wstunnel",
    "negotiation", "autoindex", "env", "xsendfile",
)  # fmt: skip
_APACHE = """
ServerRoot {directory}
DefaultRuntimeDir {directory}
PidFile {directory}/apache.pid
ErrorLog /dev/stderr
LogLevel warn
{user}
{modules}
TypesConfig /etc/mime.types
<Directory />
    Options FollowSymLinks
    AllowOverride None
    Require all denied
</Directory>
<Directory {directory}/www>
    Options Indexes FollowSymLinks
    AllowOverride None
    Require all granted
</Directory>
<FilesMatch "^\\.ht">
    Require all denied
</FilesMatch>
DirectoryIndex index.html
{listen}
Include {directory}/site.conf
"""
_NGINX = """
{user}
daemon off; worker_processes 1; pid nginx.pid; error_log stderr error;
events {{ worker_connections 256; }}
http {{
    access_log off;
    include /etc/nginx/mime.types; default_type application/octet-stream;
    client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp;
    uwsgi_temp_path tmp; scgi_temp_path tmp;
    {site}
}}
"""


def changed(text: str, changes: Mapping[str, str]) -> str:
    """``text`` with what differs here; each has to be there."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def apache(directory: Path, site: str, port: int, plain: int) -> Child:
    """Apache with a site that is on 443 and 80 of this host, which are ``port`` and ``plain`` here.

    It runs as somebody else if root starts it, who has to be able to read ``directory``.
    """
    assert APACHE
    (directory / "site.conf").write_text(site)
    user = "User nobody\nGroup nogroup" if os.geteuid() == 0 else ""
    modules = "\n".join(
        f"LoadModule {name}_module {MODULES}/mod_{name}.so"
        for name in _MODULES
        if (MODULES / f"mod_{name}.so").exists()
    )
    listen = "\n".join(f"Listen 127.0.0.1:{each}" for each in (port, plain))
    config = directory / "apache.conf"
    config.write_text(
        _APACHE.format(directory=directory, user=user, modules=modules, listen=listen)
    )
    return _started("apache", [APACHE, "-X", "-f", str(config)], directory, port)


def nginx(directory: Path, site: str, port: int) -> Child:
    """nginx with what stands in ``http {}`` of a documentation."""
    assert NGINX
    (directory / "tmp").mkdir()
    (directory / "tmp").chmod(0o777)
    user = "user nobody nogroup;" if os.geteuid() == 0 else ""
    (directory / "nginx.conf").write_text(_NGINX.format(user=user, site=site))
    command = [NGINX, "-p", str(directory), "-c", "nginx.conf", "-e", "stderr"]
    return _started("nginx", command, directory, port)


def _started(name: str, command: list[str], directory: Path, port: int) -> Child:
    child = Child(name, command, {"PATH": os.environ["PATH"]}, directory)
    child.wait_until(lambda: _listens(port), seconds=20)
    return child


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
