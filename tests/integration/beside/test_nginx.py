"""The configuration of docs/galaxy.md beside nginx with the one that Galaxy documents.

nginx has what Galaxy's documentation says: gunicorn on a UNIX socket, /static and two files, and
X-Accel-Redirect. Both are asked the same more than two hundred times. Every difference that is
allowed is listed with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from tests.integration.processes import free_port
from tests.integration.proxy import Proxy

from . import neighbours, requests
from .asking import Answer, Ask, ask
from .comparing import Allowed, unexplained
from .neighbours import changed
from .served import Ground, ground
from .shelf import fill

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(neighbours.NGINX is None, reason="nginx is not installed"),
]

NGINX = """
    map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
    gzip on; gzip_http_version 1.1; gzip_vary on; gzip_comp_level 6; gzip_proxied any;
    gzip_types text/plain text/css application/json application/x-javascript text/xml
        application/xml application/xml+rss text/javascript;
    gzip_buffers 16 8k;
    proxy_read_timeout 180;
    client_max_body_size 10g;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    server {{
        listen 127.0.0.1:{port} ssl default_server;
        server_name _;
        set $galaxy_root {server};
        location / {{
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_http_version 1.1;
            proxy_pass http://unix:{socket};
        }}
        location /static {{ alias $galaxy_root/static; expires 24h; }}
        location /robots.txt {{ alias $galaxy_root/static/robots.txt; expires 24h; }}
        location /favicon.ico {{ alias $galaxy_root/static/favicon.ico; expires 24h; }}
        location /_x_accel_redirect/ {{ internal; alias /; }}
    }}
"""
PAGE = Path(__file__).parents[3] / "docs" / "galaxy.md"
SAFE = "what can be read in two ways is refused: neither repaired nor passed on"
SECRET = ("file at /../secret", "file at /..%2fsecret", "file at /%2e%2e/secret")
COMPRESSED = ("file gzip style.css", "file gzip index.html")
TAGS = ("nginx weakens a tag where it compresses; ours says the coding, so that a client can ask "
        "for the same again (RFC 9110 section 8.8.3.3)")  # fmt: skip
ALLOWED = [
    Allowed(("odd /a/*", "odd /a\\b"), ("status",), SAFE, "200", "400"),
    Allowed(("host unknown",), ("status",), "unknown names are refused", ours="421"),
    Allowed(("answer /page gzip", *COMPRESSED), ("etag",), TAGS),
    Allowed(("file*",), ("content-type",), "text counts as UTF-8, and one file has one type on "
            "all hosts, whatever mime.types says"),
    Allowed(("file range *", "accel range *", "file if-range same"), ("accept-ranges",),
            "nginx does not say again in a 206 that there are ranges", "-"),
    Allowed(("file range 9-0", "accel range 9-0", "file range a-b", "accel range a-b"),
            ("status",), "RFC 9110 section 14.2: what is no range is ignored", "416", "200"),
    Allowed(("file gzip app.js",), ("content-encoding", "content-length", "accept-ranges"),
            "the recipe's gzip_types has a name for scripts that mime.types has given up"),
    Allowed(("file POST", "file PUT", "file DELETE", "file OPTIONS"), ("allow",),
            "RFC 9110 section 15.5.6: a 405 says what is allowed"),
    Allowed(("file at /docs*", "file at /inner"), ("status",), "308 keeps the method", "301",
            "308"),
    Allowed((*SECRET, "file at /docs/../style.css"), ("status",), SAFE, "200", "400"),
    Allowed(("file at /docs//index.html",), ("status",), "a file has one path", ours="404"),
    Allowed(("file at /.hidden",), ("status",), "hidden files are never shown", ours="404"),
    Allowed(("file at /out",), ("status",), "no link leads out of the directory", ours="404"),
    Allowed(("accel *",), ("x-application",), "all fields of the application stay", "-"),
    Allowed(("accel a directory",), ("status",), "nginx sends the browser to a name that is "
            "internal, which it then refuses", "301", "404"),
]  # fmt: skip


def _both(here: Ground, theirs: int, ours: Proxy, asked: Ask) -> tuple[Answer, Answer]:
    there, other = (("127.0.0.1", port) for port in (theirs, ours.port))
    return ask(there, here.tls, "localhost", asked), ask(other, here.tls, "localhost", asked)


def ours(there: Mapping[str, str]) -> str:
    """The page's configuration, with the paths and names of here."""
    block = re.search(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block
    return changed(
        dedent(f"   {block[1].lstrip()}"),
        {
            "https = 443\n": "",
            "http = 80 ": "#http = 80 ",
            "/etc/ipyproxy/tls/galaxy.example.org.pem": there["certificate"],
            "/etc/ipyproxy/tls/galaxy.example.org.key": there["key"],
            "/srv/galaxy/var/gunicorn.sock": there["socket"],
            "/srv/galaxy/server/database/files": f"{there['server']}/static",
            "/srv/galaxy/server": there["server"],
        },
    )


def test_galaxy() -> None:
    with ground() as here:
        shelf = fill(here.directory / "server" / "static", "/static")
        there = {
            "server": f"{here.directory}/server",
            "socket": f"{here.directory}/gunicorn.sock",
            "certificate": str(here.certificate),
            "key": str(here.key),
        }
        here.run(f"unix:{there['socket']}", TOLD_FILES=f"{there['server']}/static")
        port = free_port()
        here.keep(neighbours.nginx(here.directory, NGINX.format(port=port, **there), port))
        proxy = Proxy(here.directory, ours(there), trusted=here.trusted)
        here.keep(proxy.child)
        asks = [
            *requests.to_application(),
            *requests.to_files(shelf),
            *requests.to_named_files(shelf, "accel"),
            requests.websocket("/ws"),
        ]
        assert len({each.name for each in asks}) == len(asks) > 200
        told = unexplained({each.name: _both(here, port, proxy, each) for each in asks}, ALLOWED)
        assert not told, "\n".join(["", *told])
