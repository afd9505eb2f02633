"""A plain nginx beside the proxy under test, configured as those who run Jupyter behind it do."""

from __future__ import annotations

import os
import shutil
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from ipyproxy.tls.development import development_certificate

from .processes import Child, free_port
from .proxy import Front

#: Where it is; daemons are not on everybody's PATH.
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

_CONFIGURATION = """
{user}
daemon off; pid nginx.pid; error_log stderr error; worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp;
    uwsgi_temp_path tmp; scgi_temp_path tmp;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name localhost;
        ssl_certificate development.pem;
        ssl_certificate_key development.pem;
        client_max_body_size 0;
        location ~ ^/ipython/(?<notebook>[0-9]+)/ {{
            proxy_pass http://127.0.0.1:$notebook;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Scheme $scheme;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_buffering off;
            proxy_read_timeout 86400;
        }}
    }}
}}
"""


class Nginx(Front):
    """nginx on a free port, with TLS, WebSockets passed on, and a day until a silence ends one."""

    def __init__(self, directory: Path, *, port: int = 0) -> None:
        """Start nginx in *directory*; raises Gone when it does not come up."""
        self._directory = directory
        port = port or free_port()
        development_certificate(directory, "localhost", datetime.now(UTC))
        (directory / "tmp").mkdir(exist_ok=True)
        # Started by root its workers go on as root, and so may write into this directory.
        user = "user root;" if os.geteuid() == 0 else ""
        (directory / "nginx.conf").write_text(_CONFIGURATION.format(port=port, user=user))
        command = [NGINX or "nginx", "-p", str(directory), "-c", "nginx.conf", "-e", "stderr"]
        child = Child("nginx", command, {"PATH": os.environ["PATH"]}, directory)
        super().__init__(child, port, directory / "development.pem")

    def again(self) -> Self:
        """See :class:`Front`."""
        return type(self)(self._directory, port=self.port)

    def hand_over(self) -> Self:
        """Reload: another worker takes what is new, and the old one keeps its WebSockets."""
        self.child.signal(signal.SIGHUP)
        time.sleep(2)
        return self
