"""Owners: who they are, and that nobody waits for the directory of users but who must."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.upstream.owners import (
    FRESH_FOR,
    MOST_ASKED,
    MOST_KNOWN,
    PATIENCE,
    Directory,
    KnownOwners,
    Owners,
    OwnersError,
    groups_of,
)

STUDENTS = 5000


class Hall:
    """A directory of users that answers when the test lets it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.students = {1000, 1001}
        self.asked: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.directory = Directory(self.clock, self.run, self.look_up)
        owners = Owners(())
        owners.groups = frozenset([STUDENTS])
        self.owners = KnownOwners(owners, self.directory)

    def run(self, work: Callable[[], Any]) -> Deferred[Any]:
        self.asked.append((work, Deferred()))
        return self.asked[-1][1]

    def look_up(self, uid: int) -> frozenset[int]:
        return frozenset([STUDENTS] if uid in self.students else [])

    def answer(self) -> None:
        """Answer whatever is asked."""
        asked, self.asked = self.asked, []
        for work, result in asked:
            result.callback(work())

    def fail(self) -> None:
        asked, self.asked = self.asked, []
        for _, result in asked:
            result.errback(OSError("no route to host"))


class Waiting:
    """A request that waits for an owner."""

    def __init__(self, found: Deferred[None] | None) -> None:
        self.outcome: object = None
        assert found is not None
        found.addCallbacks(lambda _: "known", lambda failure: failure.value).addCallback(self._set)

    def _set(self, outcome: object) -> None:
        self.outcome = outcome

    @property
    def problem(self) -> Problem:
        assert isinstance(self.outcome, ProxyError)
        return self.outcome.problem


class TestOwners:
    def test_users_and_groups(self) -> None:
        me = pwd.getpwuid(os.getuid())
        assert Owners([me.pw_name]).users == {me.pw_uid}
        assert Owners([f"@{grp.getgrgid(me.pw_gid).gr_name}"]).groups == {me.pw_gid}
        assert me.pw_gid in groups_of(me.pw_uid)
        assert groups_of(64321) == frozenset()

    def test_every_group_of_a_user_counts_and_no_other(self) -> None:
        for entry in grp.getgrall():
            for member in entry.gr_mem:
                assert entry.gr_gid in groups_of(pwd.getpwnam(member).pw_uid)
        assert grp.getgrnam("root").gr_gid not in groups_of(pwd.getpwnam("nobody").pw_uid)

    @pytest.mark.parametrize("name", ["no-such-user-here", "@no-such-group-here"])
    def test_names_that_nobody_has_are_an_error(self, name: str) -> None:
        with pytest.raises(OwnersError, match=name.lstrip("@")):
            Owners([name])


class TestAsking:
    def test_the_first_request_waits_and_the_next_does_not(self) -> None:
        hall = Hall()
        first, second = Waiting(hall.owners.find(1000)), Waiting(hall.owners.find(1000))
        assert first.outcome is None
        assert len(hall.asked) == 1
        hall.answer()
        assert first.outcome == second.outcome == "known"
        assert 1000 in hall.owners
        assert hall.owners.find(1000) is None
        assert hall.clock.getDelayedCalls() == []

    def test_who_is_in_no_such_group_is_no_owner(self) -> None:
        hall = Hall()
        waiting = Waiting(hall.owners.find(666))
        assert 666 not in hall.owners
        hall.answer()
        assert waiting.outcome == "known"
        assert 666 not in hall.owners

    def test_a_user_who_is_named_needs_no_directory(self) -> None:
        me = pwd.getpwuid(os.getuid())
        hall = Hall()
        owners = KnownOwners(Owners([me.pw_name]), hall.directory)
        assert owners.find(me.pw_uid) is None
        assert owners.find(666) is None
        assert me.pw_uid in owners
        assert 666 not in owners
        assert hall.asked == []

    def test_a_directory_that_hangs_refuses_honestly_and_is_forgiven(self) -> None:
        hall = Hall()
        waiting = Waiting(hall.owners.find(1000))
        hall.clock.advance(PATIENCE)
        assert waiting.problem is Problem.OWNER_UNKNOWN
        again = Waiting(hall.owners.find(1000))
        assert len(hall.asked) == 1
        hall.answer()
        assert again.outcome == "known"

    def test_one_that_fails_is_asked_again(self) -> None:
        hall = Hall()
        waiting = Waiting(hall.owners.find(1000))
        hall.fail()
        assert waiting.problem is Problem.OWNER_UNKNOWN
        assert 1000 not in hall.owners
        waiting = Waiting(hall.owners.find(1000))
        hall.answer()
        assert waiting.outcome == "known"

    def test_whoever_gives_up_leaves_nothing_behind(self) -> None:
        hall = Hall()
        found = hall.owners.find(1000)
        assert found is not None
        found.addErrback(lambda failure: None)
        found.cancel()
        assert hall.clock.getDelayedCalls() == []
        hall.answer()
        assert 1000 in hall.owners

    def test_too_many_users_at_once_are_refused(self) -> None:
        hall = Hall()
        waiting = [Waiting(hall.owners.find(uid)) for uid in range(MOST_ASKED)]
        assert Waiting(hall.owners.find(10_000)).problem is Problem.OWNER_UNKNOWN
        hall.answer()
        assert {each.outcome for each in waiting} == {"known"}


class TestRemembering:
    def test_an_old_answer_counts_until_there_is_a_new_one(self) -> None:
        hall = Hall()
        hall.owners.find(1000)
        hall.answer()
        hall.students.clear()
        hall.clock.advance(FRESH_FOR)
        for _ in range(3):
            assert hall.owners.find(1000) is None
        assert 1000 in hall.owners
        assert len(hall.asked) == 1
        hall.fail()
        assert 1000 in hall.owners
        assert hall.owners.find(1000) is None
        hall.answer()
        assert 1000 not in hall.owners

    def test_after_a_reload_all_are_asked_for_again(self) -> None:
        hall = Hall()
        hall.owners.find(1000)
        hall.answer()
        hall.directory.refresh()
        assert hall.owners.find(1000) is None
        assert len(hall.asked) == 1

    def test_no_more_than_so_many_are_remembered(self) -> None:
        hall = Hall()
        for uid in range(3 * MOST_KNOWN):
            hall.owners.find(uid)
            hall.answer()
        assert len(hall.directory._known) == MOST_KNOWN
