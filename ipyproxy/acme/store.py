"""ACME's files in one directory: copy it for a backup, mount it to share it between nodes.

    account.pem the account's key account.next.pem the one that it is to have, while it is changed
    rekey somebody wants the account's key to be changed certificates/NAME.pem key, certificate and
    chain; "_" stands for a "*" attempts/NAME.json what came of asking, if it failed asked/NAME
    somebody wants this one to be renewed at once; why the old one is revoked revocations/*.pem
    certificates that the authority is to revoke, and why revoked/*.pem those that it has revoked
    challenges/NAME.pem what an ACME server is shown that looks at NAME (tls-alpn-01) http/ the same
    for http-01, as a site's directory lock held by the process that asks an authority

Only the service's user can access the files. Knows files; slow methods are called in a thread.
Knows nothing of when certificates are asked for.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.logger import Logger

from ipyproxy.acme.jose import AccountKey
from ipyproxy.acme.material import Reason, server_name
from ipyproxy.acme.renewal import Attempts
from ipyproxy.statefiles import own_directory, read, write
from ipyproxy.tls import Certificate, CertificateError, load_certificate

Stamp = tuple[int, int, int]
"""Identifies a state of a file, to detect changes."""

_FROM = "# from "

_log = Logger(namespace="ipyproxy.acme")


class Store:
    """The files for ``names`` in ``directory``. It is a :class:`ipyproxy.tls.Source` too.

    Any method may raise OSError: see :mod:`ipyproxy.statefiles`.
    """

    def __init__(self, directory: Path, names: Iterable[str]) -> None:
        self.directory = directory
        self.names = tuple(names)
        self._seen_as = {server_name(name): name for name in self.names}
        self._shown: Mapping[str, Certificate] = {}

    @property
    def http(self) -> Path:
        """The directory whose ``.well-known/acme-challenge`` plain HTTP serves."""
        return self.directory / "http"

    def prepare(self) -> None:
        """Create the directories that other programs look for."""
        for name in (".", "certificates", "attempts", "asked", "revocations", "challenges"):
            with own_directory(self.directory / name):
                pass

    # Certificates.

    def path(self, name: str) -> Path:
        """The file of the certificate for ``name``."""
        return self.directory / "certificates" / f"{_file_name(name)}.pem"

    def load(self) -> Sequence[Certificate]:
        """The certificates in the store.

        One that cannot be used is skipped, and will be renewed.
        """
        try:
            there = self.stamps()
        except OSError as error:
            raise CertificateError(
                f"{self.directory} cannot be read ({error.strerror}); give it, and all in it, to "
                "the service's user."
            ) from error
        found = []
        for name in there:
            try:
                found.append(self.certificate(name))
            except CertificateError as error:
                _log.warn("{error}", error=error)
        return found

    def certificate(self, name: str) -> Certificate:
        """The certificate for ``name``. Raises CertificateError."""
        path = self.path(name)
        certificate = load_certificate(path, path)
        if name not in certificate.names:
            raise CertificateError(f"{path} is not for {name}; remove it.")
        return certificate

    def save(self, name: str, authority: str, key: bytes, chain: bytes) -> None:
        """Save a certificate from ``authority`` (a URL), after checking that it can be served.

        Raises CertificateError; then the former one stays.
        """
        trial = self.directory / "attempts" / f"{_file_name(name)}.pem"
        write(trial, f"{_FROM}{authority}\n".encode() + key + chain)
        try:
            if name not in load_certificate(trial, trial).names:
                raise CertificateError(f"The authority's certificate is not for {name}.")
            with own_directory(self.path(name).parent):
                trial.replace(self.path(name))
        finally:
            trial.unlink(missing_ok=True)

    def authority(self, name: str) -> str:
        """The URL of the authority that issued the certificate for ``name``; "" if unknown."""
        line = self.path(name).read_bytes().partition(b"\n")[0].decode("ascii", "replace")
        return line.removeprefix(_FROM) if line.startswith(_FROM) else ""

    def stamps(self) -> Mapping[str, Stamp]:
        """The stamp of each name's file, for names that have one."""
        found = {}
        for name in self.names:
            with contextlib.suppress(FileNotFoundError):
                status = self.path(name).stat()
                found[name] = (status.st_ino, status.st_mtime_ns, status.st_size)
        return found

    # The account, and the attempts.

    def account_key(self) -> AccountKey:
        """The account's key; a new one if there is none, or if it cannot be used."""
        return _kept_key(self.directory / "account.pem")

    def next_account_key(self) -> AccountKey:
        """The account's next key: always the same one, until it is taken over."""
        return _kept_key(self.directory / "account.next.pem")

    def take_next_account_key(self) -> None:
        """Make the next key the account's, and clear the request for a change."""
        with own_directory(self.directory):
            (self.directory / "account.next.pem").replace(self.directory / "account.pem")
        (self.directory / "rekey").unlink(missing_ok=True)

    def ask_for_account_key(self) -> None:
        """Ask the running proxy to change the account's key."""
        write(self.directory / "rekey", b"")

    def wants_account_key(self) -> bool:
        """Whether somebody has asked for that."""
        return (self.directory / "rekey").exists()

    def attempts(self, name: str) -> Attempts:
        """The failed attempts for ``name``."""
        try:
            found = json.loads(read(self._attempts_path(name)))
            return Attempts(**{**found, "recent": tuple(map(float, found["recent"]))})
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return Attempts()

    def note(self, name: str, attempts: Attempts) -> None:
        """Save the attempts for ``name``."""
        if attempts == Attempts():
            self._attempts_path(name).unlink(missing_ok=True)
        else:
            write(self._attempts_path(name), json.dumps(asdict(attempts)).encode())

    def _attempts_path(self, name: str) -> Path:
        return self.directory / "attempts" / f"{_file_name(name)}.json"

    # Requests of people.

    def asked(self) -> Mapping[str, Reason | None]:
        """The names that people want to renew at once.

        The values are the reasons to revoke the present certificates; None: do not revoke.
        """
        wanted = {path.name: path for path in (self.directory / "asked").iterdir()}
        return {
            name: _reason(read(wanted[_file_name(name)]))
            for name in self.names
            if _file_name(name) in wanted
        }

    def ask(self, name: str, reason: Reason | None = None) -> None:
        """Ask the running proxy to renew ``name`` at once, and (with a reason) to revoke."""
        write(self.directory / "asked" / _file_name(name), b"" if reason is None else _line(reason))

    def answered(self, name: str) -> None:
        """Clear the request for ``name``, since it was done."""
        (self.directory / "asked" / _file_name(name)).unlink(missing_ok=True)

    # Revocations.

    def note_revocation(self, certificate: x509.Certificate, reason: Reason) -> None:
        """Add ``certificate`` to those that are to be revoked, for ``reason``."""
        content = _line(reason) + certificate.public_bytes(Encoding.PEM)
        write(self.directory / "revocations" / _serial_name(certificate), content)

    def revocations(self) -> Mapping[x509.Certificate, Reason]:
        """The certificates that are to be revoked."""
        found = {}
        for path in sorted((self.directory / "revocations").glob("*.pem")):
            content = read(path)
            with contextlib.suppress(ValueError):
                certificate = x509.load_pem_x509_certificate(content)
                found[certificate] = _reason(content) or Reason.SUPERSEDED
        return found

    def note_revoked(self, certificate: x509.Certificate) -> None:
        """Record that ``certificate`` is revoked."""
        name = _serial_name(certificate)
        with own_directory(self.directory / "revoked"):
            (self.directory / "revocations" / name).replace(self.directory / "revoked" / name)

    def is_revoked(self, certificate: x509.Certificate) -> bool:
        """Whether ``certificate`` was revoked on request."""
        return (self.directory / "revoked" / _serial_name(certificate)).exists()

    # Challenges.

    def challenge(self, asked_for: str) -> Certificate | None:
        """The certificate for an ACME server that sends ``asked_for`` as SNI; reads no file.

        None unless that is one of our names with an open challenge. See
        :class:`ipyproxy.tls.ServerTLS`.
        """
        name = self._seen_as.get(asked_for)
        return None if name is None else self._shown.get(name)

    def show(self, name: str, content: bytes) -> None:
        """Publish ``content`` for ACME servers that validate ``name``, here and at other nodes."""
        write(self._challenge_path(name), content)
        self.see_challenges()

    def withdraw(self, name: str) -> None:
        """Remove it."""
        self._challenge_path(name).unlink(missing_ok=True)
        self.see_challenges()

    def see_challenges(self) -> None:
        """Read the open challenges, including those of other nodes."""
        shown = {}
        for name in self.names:
            path = self._challenge_path(name)
            if path.exists():
                with contextlib.suppress(CertificateError):
                    shown[name] = load_certificate(path, path)
        self._shown = shown

    def _challenge_path(self, name: str) -> Path:
        return self.directory / "challenges" / f"{_file_name(name)}.pem"

    def token_path(self, token: str) -> Path:
        """The file with the answer to an http-01 challenge."""
        return self.http / ".well-known" / "acme-challenge" / token

    # Several processes.

    def take_lock(self) -> int | None:
        """Take the lock on asking an authority, until :meth:`let_go`; None: another process has it.

        The kernel releases it when the process ends.
        """
        with own_directory(self.directory) as directory:
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open("lock", flags, 0o600, dir_fd=directory)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def let_go(self, lock: int) -> None:
        """Release the lock."""
        os.close(lock)


def _kept_key(path: Path) -> AccountKey:
    with contextlib.suppress(FileNotFoundError, ValueError):
        return AccountKey.load(read(path))
    key = AccountKey.make()
    write(path, key.pem())
    return key


def _serial_name(certificate: x509.Certificate) -> str:
    return f"{certificate.serial_number:x}.pem"


def _line(reason: Reason) -> bytes:
    return f"{reason.name.lower()}\n".encode()


def _reason(content: bytes) -> Reason | None:
    """The reason that :func:`_line` has written at the beginning of ``content``."""
    line = content.partition(b"\n")[0]
    return next((reason for reason in Reason if _line(reason) == line + b"\n"), None)


def _file_name(name: str) -> str:
    return name.replace("*", "_")
