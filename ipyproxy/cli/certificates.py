"""``ipyproxy certificates``: lists the certificates, their expiry and their sources.

Knows the configuration, the files that it names, and the state directory. Does not ask the running
proxy.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from ipyproxy.acme.standing import due_by_itself, told
from ipyproxy.acme.store import Store
from ipyproxy.cli.configuration import add_file, read_file
from ipyproxy.cli.status import service_directory
from ipyproxy.config import Config, ConfigError
from ipyproxy.daemon.settings import certificate_files, missing_names
from ipyproxy.tls import Certificate

_COLUMNS = ("NAME", "UNTIL", "FROM", "")


def add(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the parser."""
    parser = words.add_parser(
        "certificates", help="show what certificates there are, until when, and from where"
    )
    add_file(parser)
    parser.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> int:
    config = read_file(given)
    files = certificate_files(config)
    lines = rows(config, files, own_store(config, files), datetime.now(UTC))
    table = [_COLUMNS, *lines]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        sys.stdout.write("  ".join(map(str.ljust, row, widths)).rstrip() + "\n")
    return 0


def own_store(config: Config, files: Sequence[Certificate]) -> Store | None:
    """ACME's files; None if ACME is off. Root changes to the user that owns them.

    Root should not access files that the service's user may write: they may be links.

    :raises ConfigError: if the state directory belongs to another user, or does not exist.
    """
    if not config.tls.acme:
        return None
    directory = service_directory(config)
    try:
        status = directory.stat()
        if os.geteuid() == 0 and status.st_uid != 0:
            os.setegid(status.st_gid)
            os.seteuid(status.st_uid)
        os.scandir(directory).close()
    except OSError as error:
        raise ConfigError(
            [f"{directory}: {error.strerror}; run this as root, once the proxy has run"]
        ) from None
    return Store(directory / "acme", missing_names(config, files))


def rows(
    config: Config, files: Sequence[Certificate], store: Store | None, now: datetime
) -> Iterator[tuple[str, str, str, str]]:
    """A row for each name."""
    for certificate in files:
        for name in certificate.names:
            yield name, _until(certificate, now), str(certificate.certificate), ""
    if store is None:
        return
    kept = {certificate.certificate: certificate for certificate in store.load()}
    for name in store.names:
        found, attempts = kept.get(store.path(name)), store.attempts(name)
        said = ""
        if attempts.failures:
            said = (
                f"{attempts.failures} attempts failed: {attempts.why}; the next one after "
                f"{told(attempts.not_before)}"
            )
        elif found is not None:
            said = f"to be renewed about {told(due_by_itself(found))[:10]}"
        origin = store.authority(name) if found else config.tls.acme_directory_url
        yield name, _until(found, now) if found else "none yet", origin, said


def _until(certificate: Certificate, now: datetime) -> str:
    end = certificate.not_after
    left = "expired" if certificate.is_expired(now) else f"{(end - now).days} days"
    return f"{end:%Y-%m-%d} ({left})"
