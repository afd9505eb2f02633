"""Parses the rows of Galaxy's map: which tool runs where, and how requests reach it.

Knows the six columns of the table ``gxitproxy`` (galaxy.managers.interactivetool). Knows nothing of
where the rows come from, or of requests. Pure.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Container, Iterable, Mapping
from typing import Any, NamedTuple

from ipyproxy.http.forwarding import Networks, plain_address
from ipyproxy.net.address import LOOPBACK, TCPAddress, is_loopback

KEY_TYPE = "interactivetoolentrypoint"
MOST_ENTRIES = 1_000_000
"""Most rows that are read from a map; Galaxy has one for each running tool."""
_LONGEST_INFO = 4096

_KEY = re.compile(r"[a-z0-9]{1,64}", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9]{1,64}", re.ASCII)
_FIELD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
# Only the proxy may set fields that frame a message, concern a connection, or name the client.
_NOT_TO_SET = {
    *("authorization", "connection", "content-length", "cookie", "date", "expect", "forwarded"),
    *("host", "keep-alive", "origin", "proxy-authorization", "referer", "te", "trailer"),
    *("transfer-encoding", "upgrade", "via"),
}
_FAMILIES_NOT_TO_SET = ("sec-", "x-forwarded-")


class Row(NamedTuple):
    """One row of the map, unchecked."""

    key: Any
    key_type: Any
    token: Any
    host: Any
    port: Any
    info: Any


class Entry(NamedTuple):
    """An entry point of a running tool.

    :ivar token: the secret that the tool's address must contain beside the key.
    :ivar keeps_path: whether the tool gets the path unchanged, in path mode.
    :ivar header: the field that tells the tool its path, in path mode; empty: none.
    """

    key: str
    token: bytes
    address: TCPAddress
    keeps_path: bool = False
    header: str = ""

    def opens_to(self, token: bytes) -> bool:
        """Whether ``token`` is the right one; compared in constant time."""
        return hmac.compare_digest(self.token, token)


Entries = dict[str, Entry]
"""All entries of a map, by key."""
Changes = Mapping[str, Entry | None]
"""The new entries of some keys; None: the entry is gone."""


class EntryError(ValueError):
    """What is wrong with a row. Never contains the token."""


def entry_of(row: Row) -> Entry | None:
    """The entry of a row; None for another type of key.

    :raises EntryError: if the row is not usable.
    """
    key, key_type, token, host, port, info = row
    if key_type != KEY_TYPE:
        return None
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise EntryError("a key that is not of lower-case letters and digits")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise EntryError(f"{key} has no token of letters and digits")
    literal = plain_address(LOOPBACK if host == "localhost" else host) if _is_text(host) else None
    if literal is None or literal.is_unspecified:
        # The kernel takes 0.0.0.0 and :: for this host, so the allowed networks would not hold.
        raise EntryError(f"{key} has a host that is no IP address of one; no name is looked up")
    if type(port) is not int or not 0 < port < 65536:
        raise EntryError(f"{key} has no port from 1 to 65535")
    told = _info(key, info)
    header = told.get("requires_path_in_header_named") or ""
    if not isinstance(header, str) or (header and not _may_be_set(header)):
        raise EntryError(f"{key} asks for a header field that cannot be set for it")
    keeps_path = told.get("requires_path_in_url") is True
    return Entry(key, token.encode("ascii"), TCPAddress(str(literal), port), keeps_path, header)


def _is_text(host: object) -> bool:
    return isinstance(host, str) and 0 < len(host) <= 64 and "%" not in host


def _may_be_set(name: str) -> bool:
    # Applications that treat X_Script_Name like X-Script-Name do the same with Transfer_Encoding.
    plain = name.lower().replace("_", "-")
    is_ours = plain in _NOT_TO_SET or plain.startswith(_FAMILIES_NOT_TO_SET)
    return _FIELD_NAME.fullmatch(name) is not None and not is_ours


def _info(key: str, info: object) -> Mapping[str, Any]:
    """Parse the column ``info``: NULL (as in Galaxy up to 20.09) or JSON."""
    if info is None or info == "":
        return {}
    if not isinstance(info, str) or len(info) > _LONGEST_INFO:
        raise EntryError(f"{key} has an info that is no JSON text")
    try:
        told = json.loads(info)
    except (ValueError, RecursionError):
        raise EntryError(f"{key} has an info that is no JSON text") from None
    if told is None:
        return {}
    if not isinstance(told, dict):
        raise EntryError(f"{key} has an info that is no JSON object")
    return told


class Contents(NamedTuple):
    """The contents of a map.

    :ivar entries: by key.
    :ivar problems: a sentence for each row that is left out, with the reason.
    """

    entries: Entries
    problems: tuple[str, ...] = ()


NOTHING = Contents({})


class Reader:
    """Makes entries from rows; a row seen before is not parsed again."""

    def __init__(self) -> None:
        self._seen: dict[Row, Entry | EntryError | None] = {}

    def read(self, rows: Iterable[Row]) -> Contents:
        """Parse ``rows``. Those that are not usable are left out and reported."""
        seen: dict[Row, Entry | EntryError | None] = {}
        entries: Entries = {}
        problems: list[str] = []
        for row in rows:
            said = self._seen.get(row, _UNSEEN)
            if said is _UNSEEN:
                try:
                    said = entry_of(row)
                except EntryError as error:
                    said = error
            seen[row] = said
            if isinstance(said, EntryError):
                problems.append(str(said))
            elif said is not None:
                entries[said.key] = said
        self._seen = seen
        return Contents(entries, tuple(problems))


_UNSEEN: Any = object()


def read_part(keys: Iterable[str], rows: Iterable[Row]) -> tuple[Changes, tuple[str, ...]]:
    """The new entries of ``keys``, and what is wrong with rows that are left out."""
    changes: dict[str, Entry | None] = dict.fromkeys(keys)
    said = Reader().read(rows)
    changes.update(said.entries)
    return changes, said.problems


class Tools:
    """The tools that may be reached: entries of the map in the allowed networks.

    :ivar entries: the last contents of the map; may be replaced at any time.
    :ivar networks: the networks in which tools may run; likewise.
    :param own_ports: the ports of this machine that the proxy itself listens on: a request sent
        there would loop.
    """

    def __init__(self, own_ports: Container[int] = ()) -> None:
        self.entries: Entries = {}
        self.networks = Networks()
        self._own_ports = own_ports

    def change(self, changes: Changes) -> list[str]:
        """Apply changes. Returns the keys of entries that are gone or have been replaced."""
        entries = self.entries
        others = [key for key, entry in changes.items() if entries.get(key, entry) != entry]
        for key, entry in changes.items():
            if entry is None:
                entries.pop(key, None)
            else:
                entries[key] = entry
        return others

    def find(self, key: bytes, token: bytes) -> Entry | None:
        """The entry with this key, if the token is right and the tool's address is allowed."""
        entry = self.entries.get(key.decode("latin-1"))
        if entry is None or not entry.opens_to(token):
            return None
        return entry if self.allows(entry) else None

    def allows(self, entry: Entry) -> bool:
        """Whether the tool's address is allowed."""
        address = entry.address
        if address.port in self._own_ports and is_loopback(address):
            return False
        return address.host in self.networks
