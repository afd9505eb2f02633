"""The table ``[jupyterhub]``: the API by which a hub sets routes.

Knows keys and their values. Knows nothing of TOML or of the API.
"""

# No "from __future__ import annotations" here: cattrs reads the annotations at run time.

import re
from pathlib import Path
from typing import Annotated

import attrs

from ipyproxy.config.database import read_optional_database, take_psycopg
from ipyproxy.config.values import RefusedError, count, matching, read_optional_path, refused
from ipyproxy.database.place import PostgreSQL
from ipyproxy.net.address import TCPAddress, UNIXPath, is_loopback
from ipyproxy.net.hosts import parse_address

_UNIX = re.compile(r"unix:(/[^\0]{0,106})")
_TCP = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<four>[0-9.]+)):(?P<port>[1-9][0-9]{0,4})")


def _read_api(value: object) -> TCPAddress | UNIXPath | None:
    """Read the API's listener: ``unix:`` and a path, or an address and a port."""
    if value == "":
        return None
    text = value if isinstance(value, str) else ""
    if unix := _UNIX.fullmatch(text):
        return UNIXPath(unix[1])
    tcp = _TCP.fullmatch(text)
    if tcp is None or int(tcp["port"]) > 65535 or parse_address(tcp["six"] or tcp["four"]) is None:
        raise refused(value, "is neither unix: and a socket's path, nor as in 127.0.0.1:8001")
    return TCPAddress(tcp["six"] or tcp["four"], int(tcp["port"]))


@attrs.frozen
class JupyterHub:
    """A JupyterHub that sets routes by the proxy's REST API, in addition to all other routes.

    ``routes`` is the database in which all nodes of a fleet share its routes. ``connections`` is
    the most exchanges and WebSockets at once for each of its servers.
    """

    api: Annotated[TCPAddress | UNIXPath | None, _read_api] = None
    token_file: Annotated[Path | None, read_optional_path] = None
    keep_routes: bool = True
    routes: Annotated[PostgreSQL | None, read_optional_database] = None
    host_routing: bool = False
    error_target: Annotated[
        str, matching(r"(https?://[!-~]+)?", "an address such as http://127.0.0.1:8081/hub/error")
    ] = ""
    connections: Annotated[int, count(1, 1_000_000)] = 4096
    api_certificate: Annotated[Path | None, read_optional_path] = None
    api_key: Annotated[Path | None, read_optional_path] = None
    api_ca: Annotated[Path | None, read_optional_path] = None
    client_certificate: Annotated[Path | None, read_optional_path] = None
    client_key: Annotated[Path | None, read_optional_path] = None
    client_ca: Annotated[Path | None, read_optional_path] = None

    def __attrs_post_init__(self) -> None:
        """Refuse an API that anybody could use, and incomplete pairs of keys."""
        if self.api is None:
            changed = [
                each.name
                for each in attrs.fields(JupyterHub)
                if getattr(self, each.name) != each.default
            ]
            if changed:
                raise RefusedError("means nothing without jupyterhub.api", key=changed[0])
            return
        if self.routes is not None:
            take_psycopg("routes")
        if isinstance(self.api, TCPAddress) and self.token_file is None:
            raise RefusedError(
                "needs jupyterhub.token_file beside it: any user can get there", key="api"
            )
        if (
            isinstance(self.api, TCPAddress)
            and not is_loopback(self.api)
            and not self.api_certificate
        ):
            why = "is for other machines, so the token needs TLS: set jupyterhub.api_certificate"
            raise RefusedError(why, key="api")
        for one in "api", "client":
            certificate, key = getattr(self, f"{one}_certificate"), getattr(self, f"{one}_key")
            if (certificate is None) != (key is None):
                missing = "key" if key is None else "certificate"
                raise RefusedError(
                    f"needs jupyterhub.{one}_{missing} beside it",
                    key=f"{one}_{'certificate' if key is None else 'key'}",
                )
        if self.api_ca is not None and self.api_certificate is None:
            raise RefusedError("needs jupyterhub.api_certificate beside it", key="api_ca")

    def anchored(self, directory: Path) -> "JupyterHub":
        """The same settings, with relative paths starting from ``directory``."""

        def anchor(path: Path | None) -> Path | None:
            return path and directory / path

        return attrs.evolve(
            self,
            token_file=anchor(self.token_file),
            api_certificate=anchor(self.api_certificate),
            api_key=anchor(self.api_key),
            api_ca=anchor(self.api_ca),
            client_certificate=anchor(self.client_certificate),
            client_key=anchor(self.client_key),
            client_ca=anchor(self.client_ca),
        )
