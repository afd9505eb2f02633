"""What ``ipyproxy import-apache`` makes of Apache's configurations, beside Apache itself.

Each configuration is served by a real Apache and, imported, by ipyproxy; both are asked the same,
and the answers compared. Every difference that is allowed is listed with its reason.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import bcrypt
import pytest

from ipyproxy.cli.import_apache import imported
from tests.integration.jupyter import notebook_port
from tests.integration.processes import free_port
from tests.integration.proxy import Proxy

from . import neighbours, requests
from .asking import Ask, ask
from .comparing import Allowed, unexplained
from .neighbours import changed
from .served import Ground, ground
from .shelf import MODIFIED, fill

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(neighbours.APACHE is None, reason="apache2 is not installed"),
]

SAMPLES = Path(__file__).parents[2] / "cli" / "apache"


class Sides(NamedTuple):
    """Both sides of a comparison; ``site`` says where which of them listens."""

    theirs: int
    ours: int
    ground: Ground
    plain: tuple[int, int]

    def compare(self, host: str, asks: list[Ask], allowed: list[Allowed]) -> None:
        """Ask both, and fail with whatever differs and may not."""
        assert len({each.name for each in asks}) == len(asks)
        pairs = {}
        for each in (each for each in asks if each.name not in BY_LUCK):
            both = (
                ask(("127.0.0.1", port), self.ground.tls, host, each)
                for port in (self.theirs, self.ours)
            )
            pairs[each.name] = (next(both), next(both))
        assert len(pairs) >= 50
        told = unexplained(pairs, allowed)
        assert not told, "\n".join(["", *told])


@contextmanager
def both(
    ground: Ground, site: str, *, ports: dict[str, str], by_hand: Mapping[str, str] = {}
) -> Iterator[Sides]:
    """Apache with ``site``, and ipyproxy with what is imported of it.

    :param ports: what 443 and 80 are called in ``site``, and what takes their place.
    :param by_hand: what an administrator changes in that after reading the remarks.
    """
    secure, plain = free_port(), free_port()
    here = {old: new.format(secure=secure, plain=plain) for old, new in ports.items()}
    ground.keep(neighbours.apache(ground.directory, changed(site, here), secure, plain))
    toml, _ = imported({"site.conf": site})
    own_plain = free_port()
    toml = toml.replace("http = 80\n", f'http = "tcp:{own_plain}:interface=127.0.0.1"\n')
    toml = changed(toml.replace("https = 443\n", ""), by_hand)
    proxy = Proxy(ground.directory, toml, trusted=ground.trusted)
    ground.keep(proxy.child)
    yield Sides(secure, proxy.port, ground, (plain, own_plain))


SAFE = "what can be read in two ways is refused: neither repaired nor passed on"
NO_SLASHES = "Apache has no AllowEncodedSlashes there, and refuses a name with a slash in it"
NO_SUBDOMAINS = "tls.hsts says no includeSubdomains; the importer says so"
APPLICATION = [
    Allowed(("method TRACE",), ("status",), "TRACE shows a page its own HttpOnly cookies"),
    Allowed(("odd *",), ("status",), SAFE, ours="400"),
    Allowed(("target /a//b",), ("told *",), "Apache makes one slash of two; we change nothing"),
    Allowed(("host unknown",), ("status",), "unknown names are refused", ours="421"),
]
# Apache cuts a range out of what an application has sent whole, if that comes in one piece, which
# is luck; we leave ranges to the application.
BY_LUCK = ("fields range", "answer page range")
FILES = [
    Allowed(("file*",), ("content-type",), "text counts as UTF-8, and one file has one type on "
            "all hosts, whatever /etc/mime.types says"),
    Allowed(("file since *", "file any"), ("accept-ranges",), "a 304 need not say it again"),
    Allowed(("file HEAD empty.txt",), ("content-length",), "Apache does not say 0 to HEAD"),
    Allowed(("file range 0-9,5-14",), ("body", "content-type", "content-range"),
            "Apache makes one of ranges that overlap; RFC 9110 section 15.3.7 leaves it open"),
    Allowed(("file range 99999999-",), ("content-range",), "Apache does not say how long it is"),
    Allowed(("file POST", "file OPTIONS"), ("status",), "a file is read and nothing else",
            ours="405"),
    Allowed(("file PUT", "file DELETE"), ("allow",), "Apache lists what it answers anyway"),
    Allowed(("file at /docs*", "file at /inner"), ("status",), "308 keeps the method", "301",
            "308"),
    Allowed(("file at /docs/../style.css", "file at /..%2fsecret"), ("status",), SAFE,
            ours="400"),
    Allowed(("file at /docs//index.html",), ("status",), "a file has one path", ours="404"),
    Allowed(("file at /.hidden",), ("status",), "hidden files are never shown", ours="404"),
    Allowed(("file at /out",), ("status",), "no link leads out of the directory", ours="404"),
]  # fmt: skip

COMPRESSED = ("file gzip style.css", "file gzip app.js", "file gzip index.html")

SENDFILE = [
    Allowed(("sendfile *",), ("accept-ranges",), "mod_xsendfile does not say that there are ranges",
            "-"),
    Allowed(("sendfile range 0-9,5-14",), ("body", "content-type", "content-range"),
            "Apache makes one of ranges that overlap; RFC 9110 section 15.3.7 leaves it open"),
    Allowed(("sendfile range 99999999-",), ("content-range",), "Apache does not say how long it "
            "is"),
    Allowed(("sendfile any",), ("content-type",), "a 304 need not say it"),
    Allowed(("sendfile unmodified*", "sendfile match other"), ("*",),
            "mod_xsendfile sends a 412 without the page that says so"),
    Allowed(("sendfile space",), ("status",), "mod_xsendfile 0.12 decodes nothing, later ones and "
            "nginx do, and so do we", "404", "200"),
]  # fmt: skip


@pytest.mark.skipif(
    not (neighbours.MODULES / "mod_xsendfile.so").exists(),
    reason="libapache2-mod-xsendfile is not installed",
)
def test_galaxy() -> None:
    with ground() as here:
        server = here.directory / "server"
        (server / "static").mkdir(parents=True)
        shelf = fill(server / "static", "/static")
        socket = f"{here.directory}/gunicorn.sock"
        here.run(f"unix:{socket}", TOLD_FILES=str(server / "static"))
        site = changed(
            (SAMPLES / "galaxy.conf").read_text(),
            {
                "/srv/galaxy/server": str(server),
                "/srv/galaxy/var/gunicorn.sock": socket,
                "/etc/apache2/ssl/server.crt": str(here.certificate),
                "/etc/apache2/ssl/server.key": str(here.key),
                "/var/run/ocsp": f"{here.directory}/ocsp",
                "SSLUseStapling          on": "SSLUseStapling          off",
            },
        )
        ports = {"_default_:80": "127.0.0.1:{plain}", "_default_:443": "127.0.0.1:{secure}"}
        # Of "XSendFilePath /" the importer says: name the directories.
        timeout = "timeout = 180\n"
        by_hand = {timeout: f'{timeout}sendfile = ["{server}/static"]\n'}
        with both(here, site, ports=ports, by_hand=by_hand) as sides:
            sides.compare(
                "localhost",
                [
                    *requests.to_application(),
                    *requests.to_files(shelf),
                    *requests.to_named_files(shelf, "sendfile"),
                    requests.websocket("/ws"),
                ],
                [
                    *(*APPLICATION, *FILES, *SENDFILE),
                    Allowed(
                        ("target /a%2?b*",),
                        ("told *",),
                        "Apache encodes the percent sign once more; we pass on what was asked",
                    ),
                    Allowed(("*",), ("strict-transport-security",), NO_SUBDOMAINS),
                    Allowed(("file at /../secret", "file at /%2e%2e/secret"), ("status",), SAFE),
                    Allowed(
                        COMPRESSED,
                        ("accept-ranges",),
                        "ranges are those of the file as it is, and who asks for one gets that",
                        ours="-",
                    ),
                    Allowed(
                        ("file gzip app.js",),
                        ("content-encoding", "content-length"),
                        "the recipe has a name for scripts that mime.types has given up",
                    ),
                ],
            )


def test_the_original_recipe() -> None:
    """The notebook is a stand-in that says what it is told."""
    with ground() as here:
        notebook = notebook_port()
        here.run(f"127.0.0.1:{notebook}")
        site = (
            "<VirtualHost *:443>\nSSLEngine on\n"
            f"SSLCertificateFile {here.certificate}\nSSLCertificateKeyFile {here.key}\n"
            f"{(SAMPLES / 'original.conf').read_text()}</VirtualHost>\n"
        )
        base = f"/ipython/{notebook}"
        with both(here, site, ports={"*:443": "127.0.0.1:{secure}"}) as sides:
            sides.compare("localhost", requests.to_application(base), RECIPE)


RECIPE = [
    Allowed(("method TRACE",), ("status",), "TRACE shows a page its own HttpOnly cookies"),
    Allowed(("odd *",), ("status",), SAFE, ours="400"),
    Allowed(("host unknown",), ("status",), "unknown names are refused", ours="421"),
    Allowed(
        ("*",),
        ("told HTTP_HOST",),
        "one spelling of the notebook's own address, in Host as in Origin and Referer",
    ),
    Allowed(
        ("*",),
        ("told HTTP_ORIGIN",),
        "an Origin is told where the browser sent one, and not made up",
        ours="-",
    ),
    Allowed(("application HEAD *",), ("content-length",), "it is that of what is told"),
    Allowed(("fields own origin",), ("told HTTP_REFERER",), "Referer is aligned, too"),
    Allowed(
        ("fields foreign origin", "fields no origin"),
        ("status",),
        "the recipe opens notebooks to the pages of all sites",
        ours="403",
    ),
    Allowed(("fields cookies",), ("told HTTP_COOKIE",), "notebooks.site_cookies are kept back"),
    Allowed(("fields lies",), ("told HTTP_X_FORWARDED_PROTO",), "a client's word is not passed on"),
    Allowed(("answer /cookies",), ("set-cookie",), "cookies are kept below the notebook's path"),
    Allowed(("answer /page gzip",), ("content-encoding",), "[compression] is on"),
    Allowed(("target /a%2?b*",), ("status",), NO_SLASHES, "404", "200"),
    Allowed(("target /a%3Fb",), ("status",), "Apache fears for its rewriting", "403", "200"),
    Allowed(("target /a//b", "target /a;v=1/b"), ("told *",), "we pass on what was asked"),
]


def test_debian() -> None:
    """Both sites that Debian ships: one directory, by HTTP and by HTTPS."""
    with ground() as here:
        shelf = fill(here.directory / "www", "")
        site = changed(
            (SAMPLES / "debian.conf").read_text(),
            {
                "/var/www/html": f"{here.directory}/www",
                "${APACHE_LOG_DIR}": str(here.directory),
                "/etc/ssl/certs/ssl-cert-snakeoil.pem": str(here.certificate),
                "/etc/ssl/private/ssl-cert-snakeoil.key": str(here.key),
            },
        )
        ports = {"*:80": "127.0.0.1:{plain}", "*:443": "127.0.0.1:{secure}"}
        with both(here, site, ports=ports) as sides:
            allowed = Allowed(
                COMPRESSED,
                ("content-encoding", "content-length", "accept-ranges"),
                "[compression] is on; Debian has it in a file of its own",
            )
            sides.compare("localhost", requests.to_files(shelf), [*FILES, allowed])


def test_jupyterhub() -> None:
    with ground() as here:
        hub = free_port()
        here.run(f"127.0.0.1:{hub}")
        live = "/etc/letsencrypt/live/HUB.DOMAIN.TLD"
        site = changed(
            (SAMPLES / "jupyterhub.conf").read_text(),
            {
                "127.0.0.1:8000": f"127.0.0.1:{hub}",
                f"{live}/fullchain.pem": str(here.certificate),
                f"{live}/privkey.pem": str(here.key),
                "  SSLOpenSSLConfCmd DHParameters /etc/ssl/certs/dhparam.pem\n": "",
            },
        )
        ports = {
            "Listen 80\n": "",
            "Listen 443\n": "",
            "HUB.DOMAIN.TLD:80": "127.0.0.1:{plain}",
            "HUB.DOMAIN.TLD:443": "127.0.0.1:{secure}",
        }
        with both(here, site, ports=ports) as sides:
            asks = [*requests.to_application(), requests.websocket("/hub/ws")]
            allowed = [
                *APPLICATION,
                Allowed(("target /a%2?b*",), ("status",), NO_SLASHES, "404", "200"),
                Allowed(("answer /page gzip",), ("content-encoding",), "[compression] is on"),
            ]
            sides.compare("hub.domain.tld", asks, allowed)


ACCESS = """
<VirtualHost *:443>
SSLEngine on
SSLCertificateFile {certificate}
SSLCertificateKeyFile {key}
DocumentRoot {www}
<Location />
    AuthType Basic
    AuthName "Users"
    AuthBasicProvider file
    AuthUserFile {users}
</Location>
<Location /closed>
    Require valid-user
</Location>
<Location /closed/open>
    Require all granted
</Location>
<Location /closed/alice>
    Require user alice
</Location>
<Location /closed/two>
    Require user alice
    Require user bob
</Location>
<Directory {www}/inside>
    Require valid-user
</Directory>
<Directory {www}/inside/free>
    Require all granted
</Directory>
<Location /networks>
    Require ip 192.0.2.0/24
</Location>
<Location /networks/here>
    Require ip 192.0.2.0/24
    Require ip 127.0.0.0/8
</Location>
<Location /networks/local>
    Require local
</Location>
<Location /networks/all>
    Require all granted
</Location>
<Location /networks/there>
    Require ip 198.51.100.7
</Location>
<Location /late>
    Require valid-user
</Location>
<Directory {www}/late>
    Require all granted
</Directory>
<Location /both>
    <RequireAll>
        Require ip 127.0.0.1
        Require valid-user
    </RequireAll>
</Location>
</VirtualHost>
"""
PLACES = (
    "closed", "closed/open", "closed/alice", "closed/two", "closedx", "inside", "inside/free",
    "networks", "networks/here", "networks/local", "networks/all", "networks/there", "late", "both",
    "free",
)  # fmt: skip


def test_access() -> None:
    """Who may where: sections in each other, in any order, of paths and of directories."""
    with ground() as here:
        www, users = here.directory / "www", here.directory / "users"
        for place in PLACES:
            (www / place).mkdir(parents=True, exist_ok=True)
            page = www / place / "a.txt"
            page.write_text(place)
            # Apache's tag of a file that was changed within the last second is a weak one.
            os.utime(page, (MODIFIED, MODIFIED))
        for user in "alice", "bob":
            with users.open("a") as file:
                file.write(f"{user}:{bcrypt.hashpw(user.encode(), bcrypt.gensalt(4)).decode()}\n")
        users.chmod(0o644)
        site = ACCESS.format(certificate=here.certificate, key=here.key, www=www, users=users)
        asks = []
        for name in "nobody", "alice", "bob":
            shown = base64.b64encode(f"{name}:{name}".encode()).decode()
            fields = {} if name == "nobody" else {"Authorization": f"Basic {shown}"}
            for place in PLACES:
                asks += [
                    Ask(f"{place} {name} {method}", method, f"/{place}/a.txt", fields)
                    for method in ("GET", "HEAD")
                ]
        allowed = [
            Allowed(("*",), ("content-type",), "text counts as UTF-8"),
            Allowed(("*",), ("www-authenticate",), "the realm is the host's name"),
            Allowed(
                ("closed/alice bob *",),
                ("status",),
                "another password would not help this user",
                "401",
                "403",
            ),
        ]
        with both(here, site, ports={"*:443": "127.0.0.1:{secure}"}) as sides:
            sides.compare("localhost", asks, allowed)
