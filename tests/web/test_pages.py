"""The proxy's own pages: what each says, in which form, and what it must never hold."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyproxy.errors import Problem
from ipyproxy.web.negotiation import wants_json
from ipyproxy.web.pages import RETRY_AFTER, Page, front_page, problem_page

FIREFOX = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
CHROMIUM = (
    b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,"
    b"*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
)
EVERY_PAGE = [
    front_page("/ipython"),
    *(problem_page(problem, wants_json=False) for problem in Problem),
]


class Reader(HTMLParser):
    """Collects the elements and the text of a page."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.text: dict[str, str] = {}
        self.feed(body.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "elements are closed in the order they were opened"

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text[self.open[-1]] = self.text.get(self.open[-1], "") + data


class TestProblemPage:
    @pytest.mark.parametrize("problem", Problem)
    def test_tells_a_person_what_happened(self, problem: Problem) -> None:
        page = problem_page(problem, wants_json=False)
        read = Reader(page.body)
        assert page.status == problem.status
        assert page.content_type == b"text/html; charset=utf-8"
        assert read.text["h1"] == read.text["title"] == problem.title
        assert read.text["p"].startswith(problem.advice)
        assert read.text["footer"] == f"ipyproxy · {problem.status}"

    @pytest.mark.parametrize("problem", Problem)
    def test_tells_a_program_the_same(self, problem: Problem) -> None:
        page = problem_page(problem, wants_json=True)
        document = json.loads(page.body)
        assert page.status == problem.status
        assert page.content_type == b"application/problem+json"
        stated = {Problem.UPSTREAM_DEAD: "dead", Problem.UPSTREAM_STARTING: "starting"}
        assert document.keys() - {"state"} == {"title", "status", "detail", "message"}
        assert document.get("state") == stated.get(problem)
        assert document["title"] == problem.title
        assert document["status"] == problem.status
        assert document["detail"].startswith(problem.advice)
        assert document["message"] == f"{problem.title}. {document['detail']}"

    def test_says_what_to_do_next_in_both_forms(self) -> None:
        step = "If you have just started it, wait a few seconds and try again."
        as_html = problem_page(Problem.UPSTREAM_DEAD, wants_json=False)
        as_json = problem_page(Problem.UPSTREAM_DEAD, wants_json=True)
        assert step in as_html.body.decode()
        assert step in json.loads(as_json.body)["message"]

    @pytest.mark.parametrize("problem", Problem)
    def test_offers_another_try_only_where_it_can_help(self, problem: Problem) -> None:
        offered = b">Try again</a>" in problem_page(problem, wants_json=False).body
        assert offered == (problem.status in {408, 429, 500, 502, 503, 504})

    @pytest.mark.parametrize("as_json", [False, True])
    @pytest.mark.parametrize("problem", Problem)
    def test_says_when_to_come_back_on_429_and_503_only(
        self, problem: Problem, as_json: bool
    ) -> None:
        fields = dict(problem_page(problem, wants_json=as_json, retry_after=30).fields)
        expected = b"30" if problem.status in {429, 503} else None
        assert fields.get(b"Retry-After") == expected

    def test_has_a_time_to_come_back_of_its_own(self) -> None:
        fields = dict(problem_page(Problem.DRAINING, wants_json=False).fields)
        assert fields[b"Retry-After"] == b"%d" % RETRY_AFTER

    def test_a_time_given_once_does_not_stick(self) -> None:
        problem_page(Problem.OVERLOADED, wants_json=False, retry_after=30)
        page = problem_page(Problem.OVERLOADED, wants_json=False, retry_after=0)
        assert [value for name, value in page.fields if name == b"Retry-After"] == [b"0"]

    def test_is_rendered_once(self) -> None:
        first = problem_page(Problem.INTERNAL, wants_json=False)
        assert problem_page(Problem.INTERNAL, wants_json=False) is first

    def test_names_the_protocol_to_upgrade_to(self) -> None:
        fields = dict(problem_page(Problem.UPGRADE_REQUIRED, wants_json=False).fields)
        assert fields[b"Upgrade"] == b"websocket"
        assert fields[b"Sec-WebSocket-Version"] == b"13"


class TestWaysIn:
    @pytest.mark.parametrize(
        ("problem", "methods", "said"),
        [
            (Problem.UNAUTHENTICATED, ("htpasswd",), ["Log in with your name and password."]),
            (Problem.UNAUTHENTICATED, ("link", "htpasswd"), ["link you were given", "Log in with"]),
            (Problem.UNAUTHENTICATED, ("forward",), ["other services of this site"]),
            (Problem.ACCESS_DENIED, ("htpasswd",), ["not with a name that may open it"]),
            (Problem.ACCESS_DENIED, ("link",), ["link you were given"]),
            (Problem.ACCESS_DENIED, ("certificate",), ["Show the certificate"]),
        ],
    )
    def test_a_page_tells_those_that_there_are(
        self, problem: Problem, methods: tuple[str, ...], said: list[str]
    ) -> None:
        pages = [problem_page(problem, wants_json=each, methods=methods) for each in (False, True)]
        for page in pages:
            assert all(text in page.body.decode() for text in said)
            assert (b"link you were given" in page.body) == ("link" in methods)
            assert (b"Show the certificate" in page.body) == ("certificate" in methods)

    def test_one_who_may_log_in_here_gets_a_link_to_it(self) -> None:
        for methods, links in ((("htpasswd",), ["/_ipyproxy/login"]), (("link",), [])):
            page = problem_page(Problem.ACCESS_DENIED, wants_json=False, methods=methods)
            found = [value for name, value in Reader(page.body).attributes if name == "href"]
            assert found == links

    def test_another_problem_has_none(self) -> None:
        page = problem_page(Problem.ORIGIN_DENIED, wants_json=False)
        assert page == problem_page(Problem.ORIGIN_DENIED, wants_json=False, methods=())


class TestFrontPage:
    def test_leads_to_where_people_log_out_if_they_log_in_here(self) -> None:
        for login, links in ((False, []), (True, ["/_ipyproxy/logout"])):
            read = Reader(front_page("/ipython", login=login).body)
            assert [value for name, value in read.attributes if name == "href"] == links

    def test_shows_how_an_address_looks(self) -> None:
        page = front_page("/ipython")
        assert page.status == 200
        assert Reader(page.body).text["code"] == "https://<server>/ipython/<port>/"

    def test_is_shown_in_no_frame(self) -> None:
        policy = dict(front_page("/ipython").fields)[b"Content-Security-Policy"]
        assert policy.endswith(b"; frame-ancestors 'none'")


class TestEveryPage:
    @pytest.mark.parametrize("page", EVERY_PAGE)
    def test_is_whole_and_needs_nothing_from_outside(self, page: Page) -> None:
        read = Reader(page.body)
        assert read.open == []
        assert not {"script", "link", "img", "form", "iframe", "object"} & set(read.elements)
        assert [v for name, v in read.attributes if name in {"src", "href", "action"}] in ([], [""])
        assert not [name for name, _ in read.attributes if name.startswith(("on", "style"))]
        assert b"url(" not in page.body
        assert b"@import" not in page.body

    @pytest.mark.parametrize("page", EVERY_PAGE)
    def test_has_a_policy_that_allows_its_own_style_and_nothing_else(self, page: Page) -> None:
        [style] = re.findall(rb"<style>(.*?)</style>", page.body, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style).digest())
        policy = dict(page.fields)[b"Content-Security-Policy"]
        allowed, _, ancestors = policy.rpartition(b" ")
        assert allowed == (
            b"default-src 'none'; style-src 'sha256-" + digest + b"'; base-uri 'none'; "
            b"form-action 'none'; frame-ancestors"
        )
        assert ancestors == (b"'none'" if page.status == 200 else b"*")

    @pytest.mark.parametrize("page", EVERY_PAGE)
    def test_is_neither_sniffed_nor_stored_nor_told_of(self, page: Page) -> None:
        fields = dict(page.fields)
        assert fields[b"X-Content-Type-Options"] == b"nosniff"
        assert fields[b"Cache-Control"] == b"no-store"
        assert fields[b"Referrer-Policy"] == b"no-referrer"

    @pytest.mark.parametrize("page", EVERY_PAGE)
    def test_is_small(self, page: Page) -> None:
        assert len(page.body) < 4096


class TestWantsJson:
    @pytest.mark.parametrize(
        "accept",
        [
            b"application/json",
            b"application/problem+json",
            b"APPLICATION/JSON",
            b"application/json, text/plain, */*",  # axios
            b"application/json, text/javascript, */*; q=0.01",  # jQuery, the classic notebook
            b"text/html;q=0.5, application/json",
            b"text/html;q=0.8, application/json ; Q=0.9",
            b"text/html;q=0, */*",
            b"text/*;q=0.1, application/*;q=0.2",
            b"*/*",  # fetch(), XMLHttpRequest, curl
            b"*/*;q=0.1",
            b"image/avif,image/webp,*/*;q=0.8",
            b"application/json;charset=utf-8",
        ],
    )
    def test_a_program_gets_json(self, accept: bytes) -> None:
        assert wants_json(accept)

    @pytest.mark.parametrize(
        "accept",
        [
            None,
            b"",
            FIREFOX,
            CHROMIUM,
            b"text/html",
            b"text/*",
            b"text/html, application/json",
            b"text/html, */*",
            b"text/*, application/*",
            b"application/json;q=0.5, text/html",
            b"application/json;q=0, application/problem+json;q=0, */*",
            b"application/json;q=0",
            b"image/png",
            b"text/event-stream",
        ],
    )
    def test_a_person_gets_html(self, accept: bytes | None) -> None:
        assert not wants_json(accept)

    @pytest.mark.parametrize(
        "weight", [b"2", b"-1", b"1.1", b"0.1234", b"nan", b"inf", b"1e0", b""]
    )
    def test_a_range_with_a_wrong_weight_is_left_out(self, weight: bytes) -> None:
        assert not wants_json(b"application/json;q=" + weight + b", text/html;q=0.001")

    def test_an_endless_field_is_read_only_so_far(self) -> None:
        assert wants_json(b"application/json" + b",a/a" * 4000)
        assert not wants_json(b"a/a," * 4000 + b"application/json")

    @given(st.binary(max_size=200))
    def test_no_field_is_too_odd_to_answer(self, accept: bytes) -> None:
        assert wants_json(accept) in (True, False)

    @given(
        json_weight=st.integers(0, 1000), html_weight=st.integers(0, 1000), html_first=st.booleans()
    )
    def test_the_greater_weight_wins_whatever_the_order(
        self, json_weight: int, html_weight: int, html_first: bool
    ) -> None:
        ranges = [
            b"application/json;q=%.3f" % (json_weight / 1000),
            b"text/html;q=%.3f" % (html_weight / 1000),
        ]
        if html_first:
            ranges.reverse()
        assert wants_json(b", ".join(ranges)) == (json_weight > html_weight)


def test_the_front_page_names_the_prefix_as_configured() -> None:
    assert b"https://&lt;server&gt;/lab/nb/&lt;port&gt;/" in front_page("/lab/nb").body


def test_the_page_on_trouble_goes_by_the_titles_that_people_see() -> None:
    text = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text()
    titles = {problem.title for problem in Problem} | {"The notebook is busy"}
    # What stands on no page of ours, but in a notebook's answer or in a line of text.
    others = ("404 from the notebook", "403 from the notebook", "This port speaks HTTPS")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    named = [name for heading in headings for name in re.findall(r'"([^"]*)"', heading)]
    assert len(named) > 10
    assert [name for name in named if name not in titles and not name.startswith(others)] == []
