"""Answers challenges: proves to an authority that a name is ours (RFC 8555 section 8, RFC 8737).

Each way publishes something for the authority: the HTTPS listener and plain HTTP read it from the
store; a program of the administrator changes the DNS. Knows nothing of the authority's answers.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from twisted.logger import Logger

from ipyproxy.acme.client import Proof, Task
from ipyproxy.acme.documents import AcmeError
from ipyproxy.acme.jose import base64url
from ipyproxy.acme.material import challenge_certificate
from ipyproxy.acme.store import Store
from ipyproxy.net.hosts import parse_address
from ipyproxy.statefiles import write
from ipyproxy.threads import Run

T = TypeVar("T")

HOOK_TIMEOUT = 180.0
"""Longest run of the DNS program, in seconds."""

_log = Logger(namespace="ipyproxy.acme")


class _Shown:
    """A proof that is published only while the authority validates it."""

    def advice(self, task: Task) -> str:
        """See :class:`ipyproxy.acme.client.Proof`: only the authority knows what is wrong."""
        return ""


class TlsAlpn(_Shown):
    """tls-alpn-01: a self-made certificate on port 443, for clients that offer ``acme-tls/1``."""

    kind = "tls-alpn-01"

    def __init__(self, store: Store, run: Run) -> None:
        self._store = store
        self._run = run

    async def show(self, task: Task) -> None:
        """See :class:`ipyproxy.acme.client.Proof`."""
        content = challenge_certificate(task.name, task.key_authorization, datetime.now(UTC))
        await self._run(lambda: self._store.show(task.name, content))

    async def withdraw(self, task: Task) -> None:
        """See :class:`ipyproxy.acme.client.Proof`."""
        await _quietly(self._run, lambda: self._store.withdraw(task.name))


class Http(_Shown):
    """http-01: a page on port 80."""

    kind = "http-01"

    def __init__(self, store: Store, run: Run) -> None:
        self._store = store
        self._run = run

    async def show(self, task: Task) -> None:
        """See :class:`ipyproxy.acme.client.Proof`."""
        path = self._path(task.challenge.token)
        await self._run(lambda: write(path, task.key_authorization.encode()))

    async def withdraw(self, task: Task) -> None:
        """See :class:`ipyproxy.acme.client.Proof`."""
        token = task.challenge.token
        await _quietly(self._run, lambda: self._path(token).unlink(missing_ok=True))

    def _path(self, token: str) -> Path:
        # The token comes from the authority and becomes a file name.
        if not token.replace("-", "").replace("_", "").isalnum() or not token.isascii():
            raise AcmeError("the authority's token is not in base64url")
        return self._store.token_path(token)


class Dns(_Shown):
    """dns-01: a DNS record that a program sets and clears: ``hook set|clear NAME VALUE``.

    ``set`` returns once the name's servers have the record.
    """

    kind = "dns-01"

    def __init__(self, hook: Path, run: Run) -> None:
        self._hook = hook
        self._run = run

    async def show(self, task: Task) -> None:
        """See :class:`ipyproxy.acme.client.Proof`."""
        await self._run(lambda: self._call("set", task))

    async def withdraw(self, task: Task) -> None:
        """See :class:`ipyproxy.acme.client.Proof`."""
        await _quietly(self._run, lambda: self._call("clear", task))

    def _call(self, verb: str, task: Task) -> None:
        record = "_acme-challenge." + task.name.removeprefix("*.")
        value = base64url(hashlib.sha256(task.key_authorization.encode()).digest())
        command = [str(self._hook), verb, record, value]
        try:
            done = subprocess.run(  # noqa: S603  the administrator's own program; no shell
                command,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=HOOK_TIMEOUT,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise AcmeError(f"tls.dns_hook: {error}") from None
        if done.returncode:
            said = done.stdout.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise AcmeError(
                f"tls.dns_hook: {verb} {record} ended with status {done.returncode}"
                + "".join(f" ({line[:200]})" for line in said)
            )


class LastingRecord:
    """dns-persist-01: a permanent DNS record set by a person (draft-ietf-acme-dns-persist-01)."""

    kind = "dns-persist-01"

    async def show(self, task: Task) -> None:
        """See :class:`ipyproxy.acme.client.Proof`: does nothing, since a person sets the record."""

    async def withdraw(self, task: Task) -> None:
        """See :class:`ipyproxy.acme.client.Proof`: does nothing, the record stays."""

    def advice(self, task: Task) -> str:
        """See :class:`ipyproxy.acme.client.Proof`."""
        (issuer, *_), account = task.challenge.issuers, task.challenge.account or task.account
        star = "; policy=wildcard" if task.name.startswith("*.") else ""
        name = "_validation-persist." + task.name.removeprefix("*.")
        return (
            "with tls.dns_persist the DNS has to have this record, once and for all: "
            f'{name}. TXT "{issuer}; accounturi={account}{star}"'
        )


async def _quietly(run: Run, work: Callable[[], object]) -> None:
    """Ignore errors: a proof that stays published does no harm, and the next one replaces it."""
    try:
        await run(work)
    except Exception as error:
        _log.warn("a proof could not be taken away: {error}", error=error)


_IN_THE_DNS = (Dns.kind, LastingRecord.kind)


def usable(name: str, proofs: Sequence[Proof]) -> list[Proof]:
    """Those of ``proofs`` that work for ``name``: DNS alone for a ``*``, never for an address."""
    if name.startswith("*."):
        return [proof for proof in proofs if proof.kind in _IN_THE_DNS]
    if parse_address(name) is not None:
        return [proof for proof in proofs if proof.kind not in _IN_THE_DNS]
    return list(proofs)
