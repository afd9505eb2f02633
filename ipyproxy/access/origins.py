"""Checks Host and Origin: one decision for HTTP and WebSocket, before anything is dialled.

Knows hosts, origins and methods of a request, and the policy. Knows nothing of connections, and
rewrites nothing. The proxy's rewriting disables the notebook's own check of Origin, so this check
must come first (compare CVE-2026-40110 and CVE-2026-40864).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.head import SAFE, RequestHead
from ipyproxy.http1.lines import SpecialFields
from ipyproxy.net.hosts import as_in_field, covers

# Brackets contain a colon: only an IPv6 address is spelled in them.
_AUTHORITY: Final = re.compile(
    rb"(\[(?=[^]]*:)[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z._-]{1,253})(?::([1-9][0-9]{0,4}))?"
)
# The same if any host is served, for all names that RFC 3986 (section 3.2.2) allows: clients such
# as aiohttp send the path of a UNIX socket as the host (http+unix://%2Frun%2Fhub.sock).
_ANY_AUTHORITY: Final = re.compile(
    rb"(\[(?=[^]]*:)[0-9A-Fa-f:.]{2,45}\]|(?:[0-9A-Za-z._-]|%[0-9A-Fa-f]{2}){1,253})"
    rb"(?::([1-9][0-9]{0,4}))?"
)
# Sec-Fetch-Site of a request that no other site's page caused; browsers too old send none.
_OWN_SITE: Final[tuple[list[bytes], ...]] = ([], [b"same-origin"], [b"none"])
# The same for a request that no page at all caused. A page of our own may be a hostile notebook's.
_NO_PAGE: Final[tuple[list[bytes], ...]] = ([], [b"none"])
_HOSTS_REMEMBERED: Final = 256


def is_by_page(special: SpecialFields) -> bool:
    """Whether a page may have made its visitor's browser send a request with these fields.

    Browsers mark all requests that pages cause (Sec-Fetch-Site; all browsers do since 2023).
    Without the mark, or if it is ``none``, a program sends the request, or a person has typed the
    address.
    """
    return special.values_of(b"sec-fetch-site") not in _NO_PAGE


class Policy:
    """The served hosts and trusted origins, from the configuration and the certificates.

    :param names: host names and addresses that this proxy serves, lower-case, ``*.`` allowed; None:
        any.
    :param trusted_origins: origins (``scheme://host[:port]``) whose pages may send requests too.
    :param secure: whether browsers use HTTPS.
    """

    def __init__(
        self,
        names: Iterable[str] | None,
        trusted_origins: Iterable[str],
        *,
        secure: bool = True,
    ) -> None:
        self._names = frozenset(names or ())
        self._any = names is None
        self._scheme, self._usual = (b"https://", b"443") if secure else (b"http://", b"80")
        self._trusted = frozenset(origin.encode("ascii") for origin in trusted_origins)
        self._served = lru_cache(_HOSTS_REMEMBERED)(self._find_served)

    def _find_served(self, authority: bytes) -> tuple[bytes, bytes]:
        """The host that ``authority`` names, without its port, and its public origin."""
        grammar = _ANY_AUTHORITY if self._any else _AUTHORITY
        match = grammar.fullmatch(authority)
        if match is None or int(match[2] or 0) > 65535:
            # With *.example in the DNS, names such as a!b.example are found there too.
            why = "Host is not a host name with a port"
            raise ProxyError(Problem.BAD_REQUEST, why, by_page=True)
        host, port = match.groups()
        if not self._any and not covers(self._names, host.decode("ascii").strip("[]")):
            raise ProxyError(Problem.MISDIRECTED, f"Host {authority.decode('ascii')}")
        # Routes and rules compare hosts byte for byte, so each host has one spelling.
        host = as_in_field(host.decode("ascii").lower().strip("[]"))
        suffix = b"" if port is None or port == self._usual else b":" + port
        return host, self._scheme + host + suffix

    def _addressed(self, special: SpecialFields, authority: bytes | None) -> tuple[bytes, bytes]:
        asked = (self, authority)
        known: tuple[bytes, bytes] | None = special.following.get(asked)
        if known is None:
            known = self._find_addressed(special, authority)
            special.keep(asked, known)
        return known

    def _find_addressed(
        self, special: SpecialFields, authority: bytes | None
    ) -> tuple[bytes, bytes]:
        hosts = special.values_of(b"host")
        if len(hosts) != 1:
            raise ProxyError(Problem.BAD_REQUEST, f"{len(hosts)} Host fields")
        if authority is not None and authority != hosts[0]:
            self._served(authority)
            raise ProxyError(Problem.BAD_REQUEST, "the target names another host than Host")
        return self._served(hosts[0])

    def served_host(self, head: RequestHead, authority: bytes | None) -> bytes:
        """The host name, without a port, that a request was addressed to.

        :param authority: that of an absolute-form target, else None.
        :raises ProxyError: ``BAD_REQUEST`` (no Host, several Hosts, or one that differs from the
            target's authority), ``MISDIRECTED``.
        """
        return self._addressed(head.fields.special, authority)[0]

    def addressed(
        self, head: RequestHead, authority: bytes | None, server_name: bytes | None = None
    ) -> tuple[bytes, bytes]:
        """The host that a request was addressed to, without a port, and its public origin.

        :param server_name: the host name in SNI, in lower case, if there was one.
        :raises ProxyError: as :meth:`served_host` does, and ``WRONG_CONNECTION``.
        """
        addressed = self._addressed(head.fields.special, authority)
        if server_name is not None and server_name != addressed[0]:
            said = f"{_spoken(addressed[0])} on a connection for {_spoken(server_name)}"
            raise ProxyError(Problem.WRONG_CONNECTION, said)
        return addressed

    def check_origin(self, head: RequestHead, public: bytes) -> None:
        """Refuse requests that a page of another site makes its visitor's browser send.

        :param public: the public origin that the request was addressed to.
        :raises ProxyError: ``ORIGIN_DENIED``.
        """
        special = head.fields.special
        is_upgrade = b"upgrade" in special
        if head.method in SAFE and not is_upgrade and b"origin" not in special:
            return
        origins = special.values_of(b"origin")
        site = special.values_of(b"sec-fetch-site")
        if not origins:
            # A program, or a plain navigation: these have no Origin.
            if site not in _OWN_SITE:
                said = _spoken(b", ".join(site))
                raise ProxyError(Problem.ORIGIN_DENIED, f"Sec-Fetch-Site {said}")
            return
        if len(origins) > 1:
            raise ProxyError(Problem.ORIGIN_DENIED, "two Origin fields")
        origin = origins[0]
        if origin == public or origin in self._trusted:
            return
        # A page with a no-referrer policy posts to its own server with Origin: null.
        if origin == b"null" and site == [b"same-origin"] and not is_upgrade:
            return
        said = f"Origin {_spoken(origin)} is not {_spoken(public)}"
        raise ProxyError(Problem.ORIGIN_DENIED, said)


def _spoken(value: bytes) -> str:
    """A field value for the log."""
    return value[:200].decode("ascii", "backslashreplace")
