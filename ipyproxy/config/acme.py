"""The keys of ACME in the table ``tls``: names, authority and account.

Knows what can be configured. Knows nothing of TOML, of files or of how an authority is asked.
"""

# No "from __future__ import annotations" here: cattrs reads the annotations at run time.

import re
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

import attrs

from ipyproxy.config.values import (
    RefusedError,
    matching,
    read_host,
    read_optional_path,
)

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"

# Names for which no public authority issues certificates (RFC 6761, RFC 8375, ICANN for .internal).
_NOT_PUBLIC = re.compile(r"[^.]*|.*\.(localhost|local|internal|test|invalid|example|home\.arpa)")


@attrs.frozen
class Acme:
    """Settings of certificates from ACME.

    Without ``names``, those of the table ``site`` are used. ``eab_hmac`` is in base64url, as
    authorities show it.
    """

    acme: bool = False
    names: tuple[Annotated[str, read_host], ...] = ()
    email: Annotated[
        str, matching(r"([^\s@<>?,]+@[^\s@<>?,]+)?", "an address such as admin@example.org")
    ] = ""
    acme_directory_url: Annotated[
        str,
        matching(
            r"https://[A-Za-z0-9.:\[\]_-]+(/[!-~]*)?",
            "the https URL of an authority's directory, such as " + LETS_ENCRYPT,
        ),
    ] = LETS_ENCRYPT
    acme_ca: Annotated[Path | None, read_optional_path] = None
    acme_profile: Annotated[
        str, matching(r"[A-Za-z0-9_.-]*", "the name of a profile such as shortlived")
    ] = ""
    eab_kid: Annotated[str, matching(r"[!-~]*", "a key identifier without blanks")] = ""
    eab_hmac: Annotated[str, matching(r"([A-Za-z0-9_-]{4,}=*)?", "a key in base64url")] = ""
    dns_hook: Annotated[Path | None, read_optional_path] = None
    dns_persist: bool = False
    key_type: Literal["ecdsa", "rsa"] = "ecdsa"
    reuse_key: bool = False

    def __attrs_post_init__(self) -> None:
        """Refuse settings with which no certificate can be requested."""
        if self.names and not self.acme:
            raise RefusedError("needs tls.acme = true beside it", key="names")
        for name in self.names:
            if name.startswith("*.") and not self._reaches_dns:
                raise RefusedError(
                    f"{name} needs tls.dns_hook or tls.dns_persist beside it", key="names"
                )
        if bool(self.eab_kid) != bool(self.eab_hmac):
            raise RefusedError("needs tls.eab_hmac beside it, and that needs it", key="eab_kid")

    @property
    def _reaches_dns(self) -> bool:
        """Whether names can be proved by DNS, which a name with a ``*`` requires."""
        return self.dns_hook is not None or self.dns_persist

    def wanted(self, hosts: Iterable[str], notebook_domain: str) -> tuple[str, ...]:
        """The names to get certificates for.

        :param hosts: the proxy's names and addresses; only those are used for which a public
            authority issues certificates.
        :param notebook_domain: the domain above the notebooks' own hosts, if any.
        """
        if not self.acme:
            return ()
        if self.names:
            return tuple(dict.fromkeys(self.names))
        stars = [f"*.{notebook_domain}"] if notebook_domain else []
        found = [
            name
            for name in (*hosts, *stars)
            if _is_public(name) and (self._reaches_dns or not name.startswith("*."))
        ]
        return tuple(dict.fromkeys(found))


def _is_public(name: str) -> bool:
    try:
        return ip_address(name).is_global
    except ValueError:
        return not _NOT_PUBLIC.fullmatch(name)
