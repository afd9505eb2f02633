"""The account that the daemon runs as, and its rights.

Knows users, groups and the rights of processes. Knows nothing of what is read.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import subprocess
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

SERVICE = "ipyproxy"
"""The account and group that the package creates and the unit uses."""
_SYSTEMD = Path("/run/systemd/system")
_SHOW = (
    "systemctl", "show", "--value", "--property=SupplementaryGroups", "ipyproxy.service",
)  # fmt: skip


class NoAccountError(Exception):
    """There is no such account; the message says so."""


class Account(NamedTuple):
    """A user with all groups of its processes; ``home`` is its home directory."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: Path


def find_account(user: str | int) -> Account:
    """Find the account of this name or number.

    :raises NoAccountError: if there is none.
    """
    try:
        found = pwd.getpwnam(user) if isinstance(user, str) else pwd.getpwuid(user)
    except KeyError:
        raise NoAccountError(f"there is no user {user}") from None
    groups = os.getgrouplist(found.pw_name, found.pw_gid)
    return Account(found.pw_name, found.pw_uid, found.pw_gid, tuple(groups), Path(found.pw_dir))


def in_the_unit(account: Account) -> Account:
    """The same account, with the groups of ``ipyproxy.service``."""
    return account._replace(groups=(*account.groups, *_groups_of_the_unit()))


def _groups_of_the_unit() -> Iterator[int]:
    """Groups that ``SupplementaryGroups=`` adds, perhaps in a drop-in."""
    if not _SYSTEMD.is_dir():
        return
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        asked = subprocess.run(  # noqa: S603  nothing of anybody's is in it
            _SHOW, capture_output=True, text=True, timeout=10, check=True
        )
        for name in asked.stdout.split():
            with contextlib.suppress(KeyError):
                yield grp.getgrnam(name).gr_gid


@contextlib.contextmanager
def acting_as(account: Account) -> Iterator[None]:
    """Access files with the rights of ``account`` within the block; needs root."""
    before = os.getegid(), os.getgroups()
    os.setgroups(account.groups)
    os.setegid(account.gid)
    os.seteuid(account.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(before[0])
        os.setgroups(before[1])


def answered_as(account: Account, ask: Callable[[], list[str]]) -> list[str]:
    """Run ``ask`` in a process of ``account``; needs root.

    It needs a process of its own, because a process that gives up root can't become root again.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups(account.groups)
            os.setgid(account.gid)
            os.setuid(account.uid)
            os.environ["HOME"] = str(account.home)
            os.write(writing, json.dumps(ask()).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    if os.waitpid(child, 0)[1] != 0:
        raise RuntimeError(f"the check could not be made as {account.name}; please report this")
    answer: list[str] = json.loads(said)
    return answer
