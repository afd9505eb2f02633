"""The keys of ACME in the table ``tls``: whether certificates are got, for whom, and from whom.

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

# Names that no public authority gives a certificate for (RFC 6761, RFC 8375, ICANN for .internal).
_NOT_PUBLIC = re.compile(r"[^.]*|.*\.(localhost|local|internal|test|invalid|example|home\.arpa)")


@attrs.frozen
class Acme:
    """Certificates that are got by ACME, and renewed.

    Without ``names`` those of the table ``site`` count. ``eab_hmac`` is in base64url, as
    authorities tell it.
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
        """Refuse what cannot be asked for."""
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
        """Whether the DNS can tell whose a name is, as a name with a ``*`` needs it."""
        return self.dns_hook is not None or self.dns_persist

    def wanted(self, hosts: Iterable[str], notebook_domain: str) -> tuple[str, ...]:
        """The names to get certificates for.

        :param hosts: the names and addresses that this proxy answers to, of which those count that
            a public authority can have a certificate for.
        :param notebook_domain: below which each notebook has a host of its own, if any.
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
