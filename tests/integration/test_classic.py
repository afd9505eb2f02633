"""Galaxy's IPython environment through the proxy: a password, a login by POST, a notebook page."""

from __future__ import annotations

from http.cookies import SimpleCookie
from pathlib import Path

import pytest
from websockets.frames import CloseCode

from .client import Client, read_to_end
from .jupyter import ON_PURPOSE, Classic, notebook_port
from .kernels import kernel_socket
from .processes import poll
from .proxy import Proxy

pytestmark = pytest.mark.integration

#: The page that Galaxy shows in its iframe.
NOTEBOOK = "notebooks/ipython_galaxy_notebook.ipynb"

#: Seconds that Galaxy waits for the login page, each time it asks.
POLL_TIMEOUT = 0.5


def test_a_container_comes_and_goes(proxy: Proxy, tmp_path: Path) -> None:
    """Galaxy polls from the start, gives each poll half a second, and shows the page at once."""
    port = notebook_port()
    early = Client(proxy.origin, f"/ipython/{port}/", tls=proxy.client_tls())
    for _ in range(5):
        answer = early.request("GET", "login", expect=503)
        assert answer.elapsed.total_seconds() < POLL_TIMEOUT

    running = Classic(tmp_path, port)
    try:
        poll(
            lambda: early.http.get(early.path("login")).is_success or None,
            seconds=3,
            waiting_for="the proxy to find the new server",
        )
        early.log_in(running.password)
        with kernel_socket(early, early.start_kernel(), origin=early.origin) as channel:
            assert channel.run("print(6 * 7)").stdout == "42\n"
            running.child.stop()
            _, code = read_to_end(channel.connection)
        assert code == CloseCode.ABNORMAL_CLOSURE
        early.request("GET", "login", expect=503)
    finally:
        running.child.stop()
        early.close()


def test_the_login_page_answers_a_poll(galaxy_user: Client) -> None:
    """What Galaxy waits for is the form."""
    answer = galaxy_user.request("GET", f"login?next={galaxy_user.path(NOTEBOOK)}")
    assert 'name="password"' in answer.text


def test_a_login_without_the_xsrf_field_is_refused_by_jupyter(
    galaxy_user: Client, classic: Classic
) -> None:
    """Old images took Galaxy's bare POST; a current Jupyter does not, and that is its own word."""
    answer = galaxy_user.request(
        "POST",
        f"login?next={galaxy_user.path(NOTEBOOK)}&{ON_PURPOSE}",
        data={"password": classic.password},
        expect=403,
    )
    assert "_xsrf" in answer.text


def test_a_wrong_password_is_refused(galaxy_user: Client) -> None:
    assert galaxy_user.log_in("wrong").status_code == 401


def test_the_login_leads_to_the_notebook(galaxy_user: Client, classic: Classic) -> None:
    answer = galaxy_user.log_in(classic.password, next_page=galaxy_user.path(NOTEBOOK))
    assert answer.status_code == 302, answer.text
    assert answer.headers["location"] == galaxy_user.path(NOTEBOOK)

    cookie = SimpleCookie(answer.headers["set-cookie"])[f"username-127-0-0-1-{classic.port}"]
    assert cookie["path"] == classic.base_url

    page = galaxy_user.request("GET", NOTEBOOK)
    assert 'data-notebook="notebooks"' in page.text
    # Galaxy shows the page in an iframe of the same origin.
    assert "frame-ancestors 'self'" in page.headers["content-security-policy"]


def test_without_a_login_the_notebook_leads_to_the_form(galaxy_user: Client) -> None:
    answer = galaxy_user.request("GET", NOTEBOOK, expect=302)
    assert answer.headers["location"].startswith(galaxy_user.path("login?next="))


def test_the_old_places_below_the_route_lead_on(galaxy_user: Client, classic: Classic) -> None:
    """The root and a directory in the place of a notebook are redirected below the route."""
    galaxy_user.log_in(classic.password)
    for place in ("", "notebooks/"):
        answer = galaxy_user.request("GET", place, expect=302)
        assert answer.headers["location"].startswith(galaxy_user.path("tree"))


def test_a_notebook_runs_a_cell(galaxy_user: Client, classic: Classic) -> None:
    galaxy_user.log_in(classic.password)
    model = {"path": NOTEBOOK, "type": "notebook", "name": "", "kernel": {"name": "python3"}}
    session = galaxy_user.request("POST", "api/sessions", json=model).json()
    with kernel_socket(galaxy_user, session["kernel"]["id"], origin=galaxy_user.origin) as channel:
        assert channel.run("print(6 * 7)").stdout == "42\n"
    galaxy_user.request("DELETE", f"api/sessions/{session['id']}", expect=204)
