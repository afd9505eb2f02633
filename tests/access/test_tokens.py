"""Signed links: what holds, and that nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyproxy.access.facts import Lack
from ipyproxy.access.tokens import (
    COOKIE,
    Keyring,
    Ticket,
    is_link_user,
    parse_keys,
    set_cookie,
    split_token,
)

KEYS = {"k2": "s" * 40, "k1": "t" * 40}
RING = Keyring(KEYS)
ROUTE = b"/ipython/10000"
ALICE = Ticket("alice", 1000, 2000)

USERS = st.from_regex(r"[A-Za-z0-9._@+=~-]{1,40}", fullmatch=True)
ENCLOSED = st.just(b"") | st.from_regex(rb"[!-~]{1,512}", fullmatch=True)
TICKETS = st.builds(Ticket, USERS, st.integers(0, 10**9), st.integers(10**9 + 1, 10**10), ENCLOSED)
ROUTES = st.integers(1, 65535).map(lambda port: b"/ipython/%d" % port)


@given(TICKETS, ROUTES)
def test_a_link_and_its_cookie_hold_until_they_expire(ticket: Ticket, route: bytes) -> None:
    token, cookie = RING.sign(route, ticket), COOKIE + b"=" + RING.bake(route, ticket)
    for now, expected in ((ticket.expires - 1, ticket), (ticket.expires, Lack.EXPIRED)):
        assert RING.check(token, route, now, -1) == expected
        assert RING.check_cookies([cookie], route, now, -1) == expected


@given(TICKETS, ROUTES, ROUTES)
def test_another_route_has_no_use_for_it(ticket: Ticket, route: bytes, other: bytes) -> None:
    if route != other:
        assert RING.check(RING.sign(route, ticket), other, 0, -1) is Lack.FOREIGN


@given(TICKETS, st.data())
def test_not_a_byte_can_be_changed(ticket: Ticket, data: st.DataObject) -> None:
    token = RING.sign(ROUTE, ticket)
    place = data.draw(st.integers(0, len(token) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != token[place]))
    forged = token[:place] + bytes([byte]) + token[place + 1 :]
    assert isinstance(RING.check(forged, ROUTE, 0, -1), Lack)
    assert isinstance(RING.check_cookies([COOKIE + b"=" + forged], ROUTE, 0, -1), Lack)


@given(TICKETS, st.data())
def test_no_part_of_it_is_enough(ticket: Ticket, data: st.DataObject) -> None:
    token = RING.sign(ROUTE, ticket)
    cut = token[: data.draw(st.integers(0, len(token) - 1))]
    assert isinstance(RING.check(cut, ROUTE, 0, -1), Lack)


@given(st.binary(max_size=200))
def test_nothing_made_up_holds(token: bytes) -> None:
    assert isinstance(RING.check(token, ROUTE, 0, -1), Lack)


def test_fields_cannot_be_shifted_into_each_other() -> None:
    # Were they signed without something between them, these two would have one signature.
    token = RING.sign(ROUTE, Ticket("a", 1, 23))
    assert RING.check(token.replace(b".1.23.", b".12.3."), ROUTE, 0, -1) is Lack.FOREIGN


def test_a_cookie_is_no_link_and_a_link_no_cookie() -> None:
    token, cookie = RING.sign(ROUTE, ALICE), RING.bake(ROUTE, ALICE)
    assert RING.check(cookie, ROUTE, 1500, 0) is Lack.FOREIGN
    assert RING.check_cookies([COOKIE + b"=" + token], ROUTE, 1500, 0) is Lack.FOREIGN


def test_what_was_issued_before_a_port_changed_hands_is_void() -> None:
    token = RING.sign(ROUTE, ALICE)
    assert RING.check(token, ROUTE, 1500, 999.9) == ALICE
    assert RING.check(token, ROUTE, 1500, 1000.0) is Lack.EXPIRED
    cookie = COOKIE + b"=" + RING.bake(ROUTE, ALICE)
    assert RING.check_cookies([cookie], ROUTE, 1500, 1000.0) is Lack.EXPIRED


def test_keys_rotate() -> None:
    old = Keyring({"k1": KEYS["k1"]}).sign(ROUTE, ALICE)
    assert RING.sign(ROUTE, ALICE).startswith(b"v1.k2.")
    assert RING.check(old, ROUTE, 1500, 0) == ALICE
    assert Keyring({"k2": KEYS["k2"]}).check(old, ROUTE, 1500, 0) is Lack.WRONG
    assert Keyring({"k1": KEYS["k2"]}).check(old, ROUTE, 1500, 0) is Lack.FOREIGN


def test_of_several_cookies_one_that_holds_is_enough() -> None:
    good = COOKIE + b"=" + RING.bake(ROUTE, ALICE)
    bad = COOKIE + b"=" + RING.bake(b"/ipython/10001", ALICE)
    assert RING.check_cookies([b"a=b; " + bad, b"x=y;" + good], ROUTE, 1500, 0) == ALICE
    # However many others a page of a sibling host has set, in whatever order.
    others = [COOKIE + b"=" + RING.bake(b"/ipython/%d" % port, ALICE) for port in range(300)]
    for cookies in ([bad] * 8 + [good], [*others, good], [good, *others]):
        assert RING.check_cookies([b"; ".join(cookies)], ROUTE, 1500, 0) == ALICE
    assert RING.check_cookies([b"; ".join(others)], ROUTE, 1500, 0) is Lack.FOREIGN
    assert RING.check_cookies([b"a=b", b"x" + good], ROUTE, 1500, 0) is Lack.NOTHING


def test_the_cookie_stays_on_its_route() -> None:
    assert set_cookie(ROUTE, b"v", 60) == (
        b"Set-Cookie: __Secure-ipyproxy=v; Path=/ipython/10000; Max-Age=60; Secure; HttpOnly; "
        b"SameSite=Lax"
    )


class TestTokensInATarget:
    TOKEN = RING.sign(ROUTE, Ticket("a@b.example", 1, 2))

    def test_one_of_ours_is_taken_out(self) -> None:
        token = self.TOKEN
        for target, rest in (
            (b"/x?token=%b", b"/x"),
            (b"/x?a=1&token=%b&b=%%20", b"/x?a=1&b=%%20"),
            (b"/x?token=%b&token=mine", b"/x?token=mine"),
            (b"/x?&token=%b", b"/x?"),
        ):
            assert split_token(target % token) == (token, rest.replace(b"%%", b"%"))

    def test_a_name_may_be_percent_encoded_as_other_programs_do(self) -> None:
        quoted = self.TOKEN.replace(b"@", b"%40")
        assert split_token(b"/x?token=" + quoted) == (self.TOKEN, b"/x")

    def test_of_two_the_first_counts_and_both_go(self) -> None:
        other = RING.sign(b"/ipython/10001", ALICE)
        assert split_token(b"/x?token=%b&token=%b" % (self.TOKEN, other)) == (self.TOKEN, b"/x")

    @pytest.mark.parametrize(
        "target",
        [
            b"/",
            b"/x?",
            b"/x?token=",
            b"/x?token=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c",
            b"/x?token=v1.",
            b"/x?token=v1.my.own.token",
            b"/x?xtoken=%b" % TOKEN,
            b"/token=%b" % TOKEN,
            b"/x?next=token=%b" % TOKEN,
        ],
    )
    def test_any_other_is_the_notebooks(self, target: bytes) -> None:
        assert split_token(target) == (None, target)

    @given(st.binary(max_size=80))
    def test_what_has_none_of_ours_stays_byte_for_byte(self, query: bytes) -> None:
        assert split_token(b"/x?" + query) == (None, b"/x?" + query)


class TestKeyFiles:
    def test_names_and_secrets_in_their_order(self) -> None:
        text = f"# ours\n\nk2:{'s' * 40}\r\n k1:{'a:b#' * 8}\n"
        assert list(parse_keys(text).items()) == [("k2", "s" * 40), ("k1", "a:b#" * 8)]

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "holds no key"),
            ("# k:" + "s" * 40, "holds no key"),
            ("k:" + "s" * 31, "line 1 is not name:secret"),
            ("k:" + "s" * 257, "line 1 is not"),
            ("s" * 40, "line 1 is not"),
            ("\na.b:" + "s" * 40, "line 2 is not"),
            ("k:" + "s" * 40 + " x", "line 1 is not"),
            ("k:" + "s" * 40 + "\nk:" + "t" * 40, "line 2 names k a second time"),
        ],
    )
    def test_what_is_none_is_told(self, text: str, why: str) -> None:
        with pytest.raises(ValueError, match=why) as caught:
            parse_keys(text)
        assert "ssss" not in str(caught.value)


def test_who_can_have_a_link() -> None:
    assert all(map(is_link_user, ("alice", "a@b.example", "A-1_x+y", "x" * 128)))
    assert not any(map(is_link_user, ("", "a b", "ü", "a\n", "a&b", "x" * 129, "a%41")))


class TestWhatIsEnclosed:
    TICKET = Ticket("alice", 1000, 2000, b"9f86d081")

    def test_nobody_can_read_it_without_the_key(self) -> None:
        token = RING.sign(ROUTE, self.TICKET)
        assert b"9f86d081" not in token
        assert token.startswith(RING.sign(ROUTE, ALICE) + b"!")
        assert token != RING.sign(ROUTE, self.TICKET)
        assert RING.check(token, ROUTE, 1500, 0) == self.TICKET

    def test_it_is_of_its_link_alone(self) -> None:
        token = RING.sign(ROUTE, self.TICKET)
        sealed = token.partition(b"!")[2]
        other = RING.sign(ROUTE, Ticket("bob", 1000, 2000))
        assert RING.check(other + b"!" + sealed, ROUTE, 1500, 0) is Lack.WRONG
        cookie = RING.bake(ROUTE, ALICE) + b"!" + sealed
        assert RING.check_cookies([COOKIE + b"=" + cookie], ROUTE, 1500, 0) is Lack.WRONG

    @pytest.mark.parametrize("tail", [b"!", b"!A", b"!AAAA", b"!" + b"A" * 60, b"!" + b"A" * 1100])
    def test_what_cannot_be_read_holds_not_at_all(self, tail: bytes) -> None:
        assert RING.check(RING.sign(ROUTE, ALICE) + tail, ROUTE, 1500, 0) is Lack.WRONG

    def test_without_it_the_link_is_what_it_was(self) -> None:
        token = RING.sign(ROUTE, self.TICKET).partition(b"!")[0]
        assert RING.check(token, ROUTE, 1500, 0) == ALICE

    def test_it_is_taken_out_of_an_address_with_the_rest(self) -> None:
        token = RING.sign(ROUTE, self.TICKET)
        assert split_token(b"/ipython/10000/?a&token=%b&b" % token) == (
            token, b"/ipython/10000/?a&b",
        )  # fmt: skip
        quoted = token.replace(b"!", b"%21")
        assert split_token(b"/ipython/10000/?token=%b" % quoted) == (token, b"/ipython/10000/")
