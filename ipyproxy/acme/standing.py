"""How it is with each name: what it has, when that is to be renewed, and how asking went.

Pure. Knows nothing of files, or of who asks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from ipyproxy.acme.renewal import Attempts, Window, renewal_time
from ipyproxy.tls import Certificate


class Kept(NamedTuple):
    """A certificate in the store, and the URL of the authority that it is from."""

    certificate: Certificate
    authority: str


class Standing(NamedTuple):
    """How it is with one name: when its certificate is to be renewed, and how asking went.

    ``due`` is 0 if there is no certificate.
    """

    name: str
    due: float
    attempts: Attempts


def due_by_itself(certificate: Certificate, window: Window | None = None) -> float:
    """When ``certificate`` is to be renewed if nothing changes.

    :param window: what the authority suggests.
    """
    begins, ends = certificate.not_before.timestamp(), certificate.not_after.timestamp()
    return renewal_time(begins, ends, window, _share(certificate))


def _share(certificate: Certificate) -> float:
    """A number from 0 to 1 that is always the same for one certificate, and another for others."""
    serial = certificate.chain[0].serial_number
    digest = hashlib.sha256(str(serial).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def told(at: float) -> str:
    """The date ``at`` (seconds since the epoch) for people."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def concerns(standings: Mapping[str, Standing], now: float) -> Iterator[str]:
    """What an administrator is to know: a sentence for each name that is due and does not come."""
    for standing in standings.values():
        failures = standing.attempts.failures
        if failures and standing.due <= now:
            yield (
                f"{standing.name}: {failures} attempts at a certificate have failed, the last at "
                f"{told(standing.attempts.last)}: {standing.attempts.why}"
            )
