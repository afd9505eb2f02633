"""ipyproxy lets nothing through that neither nginx nor HAProxy does, and never two for one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.corpus.requests import REQUESTS, Case
from tests.http1 import grammar

from .gateways import Gateway, Seen, missing, send, start_all

pytestmark = pytest.mark.integration

Results = dict[str, dict[str, Seen]]


def send_everything(gateways: dict[str, Gateway]) -> Results:
    """What becomes of each case at each gateway, by their names."""

    def run(name: str) -> dict[str, Seen]:
        # What ipyproxy answers is known; the others' answers are only looked at.
        is_ours = name == "ipyproxy"
        return {
            case.name: send(gateways[name], case.raw, len(case.answers) if is_ours else 0)
            for case in REQUESTS
        }

    with ThreadPoolExecutor(len(gateways)) as threads:
        return dict(zip(gateways, threads.map(run, gateways), strict=True))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    if why := missing():
        pytest.skip(why)
    gateways = start_all(tmp_path_factory.mktemp("gateways"))
    try:
        yield send_everything(gateways)
    finally:
        for gateway in gateways.values():
            gateway.stop()


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case.name)
def test_the_real_thing_answers_as_the_corpus_says(case: Case, results: Results) -> None:
    assert results["ipyproxy"][case.name].statuses == case.answers


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case.name)
def test_one_request_in_is_at_most_one_request_out(case: Case, results: Results) -> None:
    ours = results["ipyproxy"][case.name]
    assert len(ours.requests) == case.answers.count(200)
    for request in ours.requests:
        head = request.partition(b"\r\n\r\n")[0]
        assert grammar.REQUEST_HEAD.fullmatch(head)
        assert b"smuggled" not in head
    if 200 in case.answers:
        assert ours.rest == b""


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case.name)
def test_what_both_others_refuse_is_refused(case: Case, results: Results) -> None:
    others = max(len(results[name][case.name].requests) for name in ("nginx", "haproxy"))
    assert len(results["ipyproxy"][case.name].requests) <= others
