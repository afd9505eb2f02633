"""Rules of authentication: which one covers a path, what it asks for, and what comes of that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyproxy.access.facts import Failed, Lack, Passed
from ipyproxy.access.rules import (
    METHODS,
    Rule,
    Rules,
    agree,
    is_user,
    parse_requirement,
    refusal,
)
from ipyproxy.errors import Problem


class TestRequirements:
    @pytest.mark.parametrize(
        ("text", "required"),
        [
            ("none", ((),)),
            ("link", (("link",),)),
            ("link or htpasswd", (("link",), ("htpasswd",))),
            ("certificate and htpasswd", (("certificate", "htpasswd"),)),
            (
                "  link or certificate  and htpasswd or forward",
                (("link",), ("certificate", "htpasswd"), ("forward",)),
            ),
            ("link and link", (("link",),)),
        ],
    )
    def test_and_binds_and_or_parts(self, text: str, required: object) -> None:
        assert parse_requirement(text) == required

    @pytest.mark.parametrize(
        "text",
        ["", "or", "link or", "link htpasswd", "link and or htpasswd", "password", "none or link",
         "link or none", "LINK", "link, htpasswd", "(link)"],
    )  # fmt: skip
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"holds|does not end"):
            parse_requirement(text)

    @given(st.lists(st.lists(st.sampled_from(METHODS), min_size=1, unique=True), min_size=1))
    def test_what_is_written_is_what_is_asked(self, alternatives: list[list[str]]) -> None:
        text = " or ".join(" and ".join(methods) for methods in alternatives)
        assert parse_requirement(text) == tuple(map(tuple, alternatives))

    def test_only_an_alternative_of_none_asks_for_nothing(self) -> None:
        assert [text for text in ("none", *METHODS) if () in parse_requirement(text)] == ["none"]


def rule(path: bytes) -> Rule:
    return Rule(path, (("link",),))


class TestWhichRuleCovers:
    RULES = Rules([rule(b"/ipython"), rule(b"/ipython/10001"), rule(b"/_ipyproxy/state")])

    @pytest.mark.parametrize(
        ("path", "covered_by"),
        [
            (b"/", None),
            (b"/ipythonic", None),
            (b"/ipython", b"/ipython"),
            (b"/ipython/", b"/ipython"),
            (b"/ipython/10000/lab", b"/ipython"),
            (b"/ipython/10001", b"/ipython/10001"),
            (b"/ipython/10001/", b"/ipython/10001"),
            (b"/ipython/10001/a/b", b"/ipython/10001"),
            (b"/ipython/100010/", b"/ipython"),
            (b"/_ipyproxy", None),
            (b"/_ipyproxy/state/10000", b"/_ipyproxy/state"),
        ],
    )
    def test_the_longest_one(self, path: bytes, covered_by: bytes | None) -> None:
        found = self.RULES.covering(path)
        assert (found and found.path) == covered_by

    def test_the_top_covers_everything(self) -> None:
        rules = Rules([rule(b"/ipython"), rule(b"/")])
        for path, covered_by in ((b"/", b"/"), (b"/x", b"/"), (b"/ipython/1", b"/ipython")):
            found = rules.covering(path)
            assert found is not None
            assert found.path == covered_by


class TestRulesOfHosts:
    """As with routes: the very host, then one with a star, then any; then the longest path."""

    RULES = Rules(
        [
            rule(b"/"),
            rule(b"/admin"),
            Rule(b"/", (("link",),), host=b"app.example.org"),
            Rule(b"/deep/er", (("link",),), host=b"*.example.org"),
        ]
    )

    @pytest.mark.parametrize(
        ("host", "path", "covered_by"),
        [
            (b"example.org", b"/admin/x", (b"", b"/admin")),
            (b"app.example.org", b"/admin/x", (b"app.example.org", b"/")),
            (b"app.example.org", b"/deep/er", (b"app.example.org", b"/")),
            (b"b.example.org", b"/deep/er", (b"*.example.org", b"/deep/er")),
            (b"b.example.org", b"/deep", (b"", b"/")),
            (b"a.b.example.org", b"/deep/er", (b"", b"/")),
            (b"localhost", b"/admin", (b"", b"/admin")),
            (b"", b"/admin", (b"", b"/admin")),
        ],
    )
    def test_the_best_host_counts(
        self, host: bytes, path: bytes, covered_by: tuple[bytes, bytes]
    ) -> None:
        found = self.RULES.covering(path, host)
        assert found is not None
        assert (found.host, found.path) == covered_by


class TestWhatMethodsAgreeOn:
    def test_one_name(self) -> None:
        passed = [Passed("alice", (b"A: 1",)), Passed(None, (b"B: 2",)), Passed("alice")]
        assert agree(passed, frozenset()) == Passed("alice", (b"A: 1", b"B: 2"))

    def test_two_names_are_nobody(self) -> None:
        assert agree([Passed("alice"), Passed("bob")], frozenset()) == Failed(Lack.FOREIGN)

    def test_only_those_of_the_rule(self) -> None:
        only = frozenset({"alice", "carol"})
        assert agree([Passed("alice")], only) == Passed("alice")
        assert agree([Passed("bob")], only) == Failed(Lack.FOREIGN)
        assert agree([Passed(None)], only) == Failed(Lack.FOREIGN)

    def test_all_have_to_hold_from_then_on(self) -> None:
        assert agree([Passed("alice"), Passed("alice")], frozenset()).holds is None  # type: ignore[union-attr]
        said = {"one": True, "other": True}
        found = agree(
            [
                Passed("alice", holds=lambda: said["one"]),
                Passed("alice"),
                Passed("alice", holds=lambda: said["other"]),
            ],
            frozenset(),
        )
        assert isinstance(found, Passed)
        assert found.holds is not None
        assert found.holds()
        said["other"] = False
        assert not found.holds()

    @pytest.mark.parametrize("name", ["", "a b", "a\nX-Admin: 1", "a\r", "\0", "a\x7f", "\t"])
    def test_a_name_that_cannot_stand_in_a_header_is_nobody(self, name: str) -> None:
        assert not is_user(name)
        assert isinstance(agree([Passed(name)], frozenset()), Failed)

    @given(st.text())
    def test_whatever_passes_cannot_end_a_line(self, name: str) -> None:
        if is_user(name):
            assert not set(name.encode("utf-8", "surrogatepass")) & set(b"\r\n\0 \t")


class TestRefusals:
    BASIC = b"WWW-Authenticate: Basic"

    def test_one_that_can_be_mended_by_logging_in_wins(self) -> None:
        error = refusal(
            [
                ("link", Failed(Lack.EXPIRED)),
                ("htpasswd", Failed(Lack.NOTHING, 401, (self.BASIC,))),
                ("forward", Failed(Lack.NOTHING, 401, (b"WWW-Authenticate: Bearer",))),
            ]
        )
        assert error.problem is Problem.UNAUTHENTICATED
        assert error.lines == (self.BASIC, b"WWW-Authenticate: Bearer")
        assert error.detail == (
            "link: expired or revoked, htpasswd: nothing to show, forward: nothing to show"
        )

    def test_a_login_that_failed_is_told_apart_from_none(self) -> None:
        wrong = ("htpasswd", Failed(Lack.WRONG, 401, (self.BASIC,)))
        assert refusal([("link", Failed(Lack.FOREIGN)), wrong]).problem is Problem.LOGIN_FAILED
        assert refusal([("link", Failed(Lack.WRONG))]).problem is Problem.ACCESS_DENIED

    def test_it_says_where_to_log_in_and_by_what(self) -> None:
        error = refusal(
            [
                ("link", Failed(Lack.NOTHING)),
                ("forward", Failed(Lack.FOREIGN, 403, (), "/denied?{url}")),
                ("certificate and htpasswd", Failed(Lack.NOTHING, 401, (), "/login?{path}")),
                ("htpasswd", Failed(Lack.NOTHING, 401, (), "/other?{path}")),
            ]
        )
        assert error.login == "/login?{path}"
        assert error.methods == ("link", "forward", "certificate", "htpasswd")

    def test_else_there_is_no_access(self) -> None:
        error = refusal([("link", Failed(Lack.FOREIGN))])
        assert (error.problem, error.lines) == (Problem.ACCESS_DENIED, ())
