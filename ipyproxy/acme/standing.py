"""The state of each name: its certificate, when to renew it, and the attempts to get one.

Pure. Knows nothing of files, or of the authority.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from ipyproxy.acme.renewal import Attempts, Window, renewal_time
from ipyproxy.tls import Certificate


class Kept(NamedTuple):
    """A certificate in the store, and the URL of its authority."""

    certificate: Certificate
    authority: str


class Standing(NamedTuple):
    """The state of one name: when to renew its certificate, and the attempts.

    ``due`` is 0 if there is no certificate.
    """

    name: str
    due: float
    attempts: Attempts


def due_by_itself(certificate: Certificate, window: Window | None = None) -> float:
    """When to renew ``certificate``, if nothing changes.

    :param window: the period that the authority suggests.
    """
    begins, ends = certificate.not_before.timestamp(), certificate.not_after.timestamp()
    return renewal_time(begins, ends, window, _share(certificate))


def _share(certificate: Certificate) -> float:
    """A number from 0 to 1, always the same for one certificate and different for others."""
    serial = certificate.chain[0].serial_number
    digest = hashlib.sha256(str(serial).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def told(at: float) -> str:
    """The date ``at`` (seconds since the epoch) for people."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def concerns(standings: Mapping[str, Standing], now: float) -> Iterator[str]:
    """Sentences for the administrator: one for each name whose certificate is overdue."""
    for standing in standings.values():
        failures = standing.attempts.failures
        if failures and standing.due <= now:
            yield (
                f"{standing.name}: {failures} attempts at a certificate have failed, the last at "
                f"{told(standing.attempts.last)}: {standing.attempts.why}"
            )
