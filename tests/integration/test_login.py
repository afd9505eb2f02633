"""People log in with a browser, in front of a JupyterLab that has its token: each method once."""

from __future__ import annotations

import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from ipyproxy.access.sessions import COOKIE
from ipyproxy.access.tokens import Keyring, Ticket

from .chromium import quiet_chromium
from .client import Client
from .jupyter import Lab
from .login import LoginServer
from .proxy import Proxy
from .test_browser import PATIENCE, run_cell, save_notebook, wait_for_kernel

pytestmark = pytest.mark.integration

from playwright.sync_api import BrowserContext, Page, Response, expect  # noqa: E402

SECRET = "s" * 40
LOGIN = "/_ipyproxy/login"


@pytest.fixture(scope="module")
def login_server() -> Iterator[LoginServer]:
    with LoginServer() as running:
        yield running


class Doors:
    """Proxies before one JupyterLab: with passwords, with links, with both, with a login server."""

    def __init__(self, directory: Path, certificate: Path, server: LoginServer) -> None:
        self.running: dict[str, Proxy] = {}
        hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
        start = server.url.replace("127.0.0.1", "localhost").replace("/auth", "/start")
        for name, toml in {
            "htpasswd": "auth.htpasswd = 'users'\nsite.operator = 'Example Lab, it@example.org'\n",
            "link": "auth.link_keys = 'link.keys'\n",
            "link or htpasswd": "auth.link_keys = 'link.keys'\nauth.htpasswd = 'users'\n",
            "forward": f"auth.forward_url = '{server.url}'\n"
            f"auth.forward_login = '{start}?rd={{url}}'\n",
        }.items():
            home = directory / name
            home.mkdir()
            shutil.copy2(certificate, home)
            (home / "users").write_text(f"alice:{hashed}\nbob:{hashed}\n")
            keys = home / "link.keys"
            keys.touch(mode=0o600)
            keys.write_text(f"k1:{SECRET}\n")
            rules = f"""
auth.rules = [{{ path = "/ipython", require = "{name}" }},
              {{ path = "/ipython/10999", require = "{name}", users = ["bob"] }}]
""".replace("},\n              {", "}, {")
            self.running[name] = Proxy(home, toml + rules)

    def __getitem__(self, name: str) -> Proxy:
        return self.running[name]


@pytest.fixture(scope="module")
def doors(
    proxy: Proxy, login_server: LoginServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Doors]:
    made = Doors(tmp_path_factory.mktemp("doors"), proxy.certificate, login_server)
    yield made
    for running in made.running.values():
        assert running.child.stop() == 0
        assert "Traceback" not in running.child.log()


@pytest.fixture(scope="module")
def running(proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    profile = tmp_path_factory.mktemp("profile")
    with quiet_chromium(profile, proxy.spki_hash(), PATIENCE) as context:
        yield context


@pytest.fixture
def browser(running: BrowserContext) -> Iterator[BrowserContext]:
    """A Chromium in which nobody is logged in anywhere."""
    yield running
    for page in running.pages:
        page.close()
    running.clear_cookies()


@pytest.fixture
def page(browser: BrowserContext) -> Page:
    return browser.new_page()


@pytest.fixture
def notebook(client: Client) -> str:
    """The path of an empty notebook in JupyterLab, where no other is open."""
    name = uuid.uuid4().hex
    save_notebook(client, f"{name}.ipynb")
    return f"lab/workspaces/{name}/tree/{name}.ipynb"


def log_in(page: Page, password: str = "right", name: str = "alice") -> None:
    expect(page.get_by_role("heading")).to_have_text("Log in")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")


def log_out(browser: BrowserContext, door: Proxy) -> None:
    """From the front page, in a tab of its own."""
    page = browser.new_page()
    page.goto(door.origin)
    page.get_by_role("link", name="Log out").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading")).to_have_text("You are logged out")


def cookies_of(browser: BrowserContext) -> dict[str, str]:
    return {each["name"]: each["value"] for each in browser.cookies()}


def work(page: Page) -> None:
    wait_for_kernel(page)
    assert run_cell(page, "print(6 * 7)") == "42"


class TestPasswords:
    def test_log_in_run_a_cell_and_log_out(
        self, doors: Doors, browser: BrowserContext, page: Page, lab: Lab, notebook: str
    ) -> None:
        door = doors["htpasswd"]
        refused: list[str] = []

        def look(response: Response) -> None:
            if response.status in (401, 403):
                refused.append(f"{response.status} {response.url}")

        page.goto(f"{door.origin}{lab.base_url}{notebook}?token={lab.token}")
        assert page.url.startswith(door.origin + LOGIN)
        log_in(page, "wrong")
        expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
        page.on("response", look)
        log_in(page)
        work(page)
        assert refused == []
        (session,) = [each for each in browser.cookies() if each["name"] == COOKIE.decode()]
        assert (session["path"], session["secure"], session["httpOnly"]) == ("/", True, True)
        assert session["sameSite"] == "Lax"
        assert COOKIE.decode() not in page.evaluate("document.cookie")

        page.evaluate(
            """url => new Promise(opened => {
                const socket = window.probe = new WebSocket(url);
                socket.onopen = opened;
                socket.onclose = event => window.probeClosed = event.code;
            })""",
            f"{door.origin.replace('https', 'wss')}{lab.base_url}api/events/subscribe",
        )
        log_out(browser, door)
        assert COOKIE.decode() not in cookies_of(browser)
        page.wait_for_function("window.probeClosed === 1006", timeout=PATIENCE)
        refused.clear()
        page.evaluate("url => fetch(url)", f"{lab.base_url}api/kernels")
        assert refused
        page.reload()
        assert page.url.startswith(door.origin + LOGIN)
        # A cookie that somebody has kept is worth nothing either.
        browser.add_cookies([session])  # type: ignore[list-item]
        page.goto(f"{door.origin}{lab.base_url}lab")
        assert page.url.startswith(door.origin + LOGIN)
        log = door.child.log()
        assert " - alice [" in log
        assert "right" not in log
        assert lab.token not in log

    def test_no_script_can_make_a_session(
        self, doors: Doors, browser: BrowserContext, page: Page
    ) -> None:
        """A notebook's page shares its origin with others: it is not to log anybody in."""
        page.goto(doors["htpasswd"].origin)
        page.evaluate("name => document.cookie = `${name}=x; Path=/; Secure`", COOKIE.decode())
        page.evaluate("document.cookie = '__Host-other=x; Path=/; Secure'")
        made = cookies_of(browser)
        assert "__Host-other" in made
        agent = page.evaluate("navigator.userAgent")
        (version,) = re.findall(r"Chrome/([0-9]+)", agent)
        assert COOKIE.decode() not in made or int(version) < 140

    def test_a_page_of_this_origin_gets_no_hold_of_the_login_page(
        self, doors: Doors, browser: BrowserContext, page: Page
    ) -> None:
        page.goto(doors["htpasswd"].origin)
        with browser.expect_page() as opened:
            page.evaluate("path => { window.taken = window.open(path); }", LOGIN)
        expect(opened.value.get_by_role("heading")).to_have_text("Log in")
        # It is in another browsing context group: to the page that opened it, it is closed.
        page.wait_for_function("window.taken.closed")
        page.evaluate(
            """path => new Promise(loaded => {
                const frame = document.createElement("iframe");
                frame.src = path;
                frame.onload = loaded;
                document.body.append(frame);
            })""",
            LOGIN,
        )
        assert page.frames[1].url.startswith("chrome-error:")

    def test_the_pages_look_right(self, doors: Doors, page: Page, tmp_path: Path) -> None:
        """On a desktop and on a phone, light and dark; pictures of all are kept."""
        origin = doors["htpasswd"].origin

        def look(name: str) -> None:
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                for width in (1280, 390, 320):
                    page.set_viewport_size({"width": width, "height": 800})
                    wide = page.evaluate("document.documentElement.scrollWidth")
                    assert wide <= width, "it has to be scrolled sideways"
                    page.screenshot(path=tmp_path / f"{name}-{scheme}-{width}.png")
            heights = page.evaluate(
                "[...document.querySelectorAll('input, button')].map(e => e.clientHeight)"
            )
            assert all(height >= 40 for height in heights), "too small for a thumb"

        page.goto(f"{origin}{LOGIN}?to=/ipython/10999/")
        look("login")
        log_in(page, "wrong")
        expect(page.get_by_role("alert")).to_be_visible()
        assert page.evaluate("document.activeElement.id") == "password"
        look("login-wrong")
        log_in(page)
        expect(page.get_by_role("heading")).to_have_text("No access")
        look("403")
        page.goto(origin)
        look("front")
        page.goto(f"{origin}/_ipyproxy/logout")
        look("logout")
        page.get_by_role("button").click()
        expect(page.get_by_role("heading")).to_have_text("You are logged out")
        look("logged-out")


def test_behind_a_link(
    doors: Doors, browser: BrowserContext, page: Page, lab: Lab, notebook: str, tmp_path: Path
) -> None:
    door, now = doors["link"], int(time.time())
    address = f"{door.origin}{lab.base_url}{notebook}"
    assert (response := page.goto(address)) is not None
    assert response.status == 403
    expect(page.locator("main")).to_contain_text("Open it by the link you were given.")
    page.screenshot(path=tmp_path / "403-link.png")
    # It carries the notebook's own token, so nobody is asked for that either.
    route, ticket = lab.base_url.rstrip("/").encode(), Ticket("alice", now, now + 600)
    enclosed = ticket._replace(enclosed=lab.token.encode())
    token = Keyring({"k1": SECRET}).sign(route, enclosed).decode()
    page.goto(f"{address}?token={token}")
    assert "token" not in page.url
    work(page)
    for log in (door.child.log(), page.evaluate("document.cookie")):
        assert lab.token not in log
        assert "v1." not in log
    log_out(browser, door)
    page.reload()
    expect(page.get_by_role("heading")).to_have_text("No access")


def test_behind_links_or_passwords(doors: Doors, page: Page, lab: Lab, notebook: str) -> None:
    """Whoever has no link may log in; a link that has ended is no hindrance."""
    door, now = doors["link or htpasswd"], int(time.time())
    route = lab.base_url.rstrip("/").encode()
    old = Keyring({"k1": SECRET}).sign(route, Ticket("bob", now - 60, now - 1)).decode()
    page.goto(f"{door.origin}{lab.base_url}{notebook}?token={lab.token}&token={old}")
    assert page.url.startswith(door.origin + LOGIN)
    log_in(page)
    work(page)
    assert " - alice [" in door.child.log()


def test_behind_a_login_server(
    doors: Doors,
    login_server: LoginServer,
    page: Page,
    lab: Lab,
    notebook: str,
) -> None:
    door = doors["forward"]
    page.goto(f"{door.origin}{lab.base_url}{notebook}?token={lab.token}&x=a%2Fb")
    assert page.url.startswith(door.origin + lab.base_url), "there and back"
    work(page)
    assert " - alice [" in door.child.log()
    login_server.sessions.clear()
    status = page.evaluate("url => fetch(url).then(r => r.status)", f"{lab.base_url}api/kernels")
    assert status == 401
