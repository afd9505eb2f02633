"""Servers of applications beside notebooks: told of by their names, wherever there is something."""

from __future__ import annotations

from ipyproxy.net.address import UNIXPath
from ipyproxy.upstream.states import Outcome
from tests.status.office import START, Office
from tests.status.test_metrics import samples

NAME = "unix:/srv/<galaxy>.sock"


def busy() -> Office:
    """A notebook and an application that have answered."""
    office = Office()
    office.count(10000, 200, 0.01, 0, 0)
    application = office.upstreams.acquire(NAME, UNIXPath("/srv/<galaxy>.sock"))
    for upstream in office.upstreams.all():
        upstream.observe(Outcome.ANSWERED, START, fall=1, rise=1)
    office.statistics.add(application, 502, 0.01, 0, 0)
    application.exchanges = 3
    return office


def test_it_has_a_row_of_its_own_below_the_notebooks() -> None:
    notebook, application = busy().document()["upstreams"]
    assert (notebook["port"], "upstream" in notebook) == (10000, False)
    assert (application["upstream"], "port" in application) == (NAME, False)
    assert (application["state"], application["requests"], application["errors"]) == ("up", 1, 1)
    assert application["open"] == {"exchanges": 3, "bridges": 0}


def test_the_page_has_its_name_and_no_markup_from_it() -> None:
    page = busy().read(b"").decode()
    assert '<th scope="row">unix:/srv/&lt;galaxy&gt;.sock</th>' in page
    assert page.index('<tr id="port-10000">') < page.index('<tr id="upstream-')


def test_metrics_have_a_label_of_their_own_for_it() -> None:
    seen = samples(busy())
    assert seen["ipyproxy_upstream_requests_total code=2xx port=10000"] == 1
    assert seen[f"ipyproxy_upstream_requests_total code=5xx upstream={NAME}"] == 1
    assert seen["ipyproxy_upstream_state port=10000 state=up"] == 1
    assert seen[f"ipyproxy_upstream_state state=up upstream={NAME}"] == 1
    assert seen[f"ipyproxy_upstream_exchanges upstream={NAME}"] == 3
    assert seen[f"ipyproxy_upstream_bridges upstream={NAME}"] == 0


def test_one_that_no_route_leads_to_any_more_is_told_of_no_more() -> None:
    office = busy()
    (application,) = (one for one in office.upstreams.all() if one.port is None)
    assert office.upstreams.let_go(application)
    assert [one.port for one in office.upstreams.all()] == [10000]
