"""Other pages in a real browser: neighbours on one host and on two, and a portal of another site.

Real TLS with a wildcard certificate; the notebooks are as small as can be.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import pytest

from tests.certificates import Authority

from .chromium import chromium
from .processes import free_port, poll
from .proxy import Proxy
from .sentinel import Sentinel

pytestmark = pytest.mark.integration

from playwright.sync_api import Page  # noqa: E402

#: What a page tries: to read another address, and to open a WebSocket there; what came of it.
ATTACK = """async ([page, socket]) => {
  const read = await fetch(page).then((answer) => answer.text()).catch(() => "refused");
  const opened = await new Promise((tell) => {
    const made = new WebSocket(socket);
    made.onopen = () => tell(true);
    made.onerror = () => tell(false);
  });
  return [read, opened];
}"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser for which all hosts below test are this one."""
    profile = tmp_path_factory.mktemp("profile")
    hosts = "--host-resolver-rules=MAP *.test 127.0.0.1"
    # Whether the certificate holds is for other tests; here origins matter.
    with chromium(profile, hosts, ignore_https_errors=True) as context:
        yield context.pages[0]


@contextmanager
def serving(directory: Path, site: str) -> Iterator[Proxy]:
    """A proxy at hub.test, with these keys of the table of sites."""
    authority = Authority()
    names = ("hub.test", "*.nb.test", "localhost")
    certificate, key = authority.issue(*names).write(directory)
    toml = f'[tls]\ncertificate = "{certificate}"\nkey = "{key}"\n'
    toml += f'[health]\nmode = "off"\n[site]\n{site}\n'
    proxy = Proxy(directory, toml, port=free_port(), trusted=authority.write(directory, "root"))
    try:
        yield proxy
    finally:
        proxy.child.stop()


def test_paths_on_one_host_are_no_boundary(page: Page, tmp_path: Path) -> None:
    with serving(tmp_path, "") as proxy, Sentinel() as mine, Sentinel() as other:
        hub = f"hub.test:{proxy.port}"
        page.goto(f"https://{hub}/ipython/{mine.port}/")
        there = f"{hub}/ipython/{other.port}/"
        assert page.evaluate(ATTACK, [f"https://{there}", f"wss://{there}"]) == ["sentinel", True]


def test_hosts_are_one(page: Page, tmp_path: Path) -> None:
    with (
        serving(tmp_path, 'notebook_domain = "nb.test"') as proxy,
        Sentinel() as mine,
        Sentinel() as other,
    ):
        # Whoever comes by the old address is sent to the new one.
        page.goto(f"https://hub.test:{proxy.port}/ipython/{mine.port}/lab?a=b")
        own = f"{mine.port}.nb.test:{proxy.port}/ipython/{mine.port}/"
        assert page.url == f"https://{own}lab?a=b"
        assert page.evaluate(ATTACK, [f"https://{own}", f"wss://{own}"]) == ["sentinel", True]
        accepts = other.accepts
        for there in (
            f"{other.port}.nb.test:{proxy.port}/ipython/{other.port}/",
            f"{mine.port}.nb.test:{proxy.port}/ipython/{other.port}/",
            f"hub.test:{proxy.port}/ipython/{other.port}/",
        ):
            found = page.evaluate(ATTACK, [f"https://{there}", f"wss://{there}"])
            assert found[0] != "sentinel"
            assert found[1] is False
        assert other.accepts == accepts


#: What Jupyter says of frames.
JUPYTER = b"Content-Security-Policy: frame-ancestors 'self'; report-uri /csp"

#: What a portal does: it shows a notebook in a frame, reads of it, and writes (with a preflight).
USE = """async (notebook) => {
  const frame = document.createElement("iframe");
  frame.src = notebook;
  const loaded = new Promise((tell) => { frame.onload = tell; });
  document.body.append(frame);
  await loaded;
  const ask = (options) => fetch(notebook, {credentials: "include", ...options})
    .then((answer) => answer.text()).catch(() => "refused");
  const headers = {"content-type": "application/json"};
  return [await ask({}), await ask({method: "PUT", headers, body: "{}"})];
}"""


@pytest.mark.parametrize("trusted", [True, False])
def test_a_portal_uses_notebooks_if_it_is_trusted(
    page: Page, tmp_path: Path, trusted: bool
) -> None:
    port = free_port()
    site = f'trusted_origins = ["http://galaxy.test:{port}"]' if trusted else ""
    trusted_pages = Sentinel(port, b"Content-Type: text/html")
    with serving(tmp_path, site) as proxy, Sentinel(None, JUPYTER) as notebook, trusted_pages:
        page.goto(f"http://galaxy.test:{port}/")
        address = f"https://hub.test:{proxy.port}/ipython/{notebook.port}/"
        found = page.evaluate(USE, address)
        framed = poll(
            lambda: urls if all(urls := [frame.url for frame in page.frames[1:]]) else None,
            seconds=30,
            waiting_for="the frame's address",
        )
        assert found == (["sentinel"] * 2 if trusted else ["refused"] * 2)
        assert framed == ([address] if trusted else ["chrome-error://chromewebdata/"])
        # A frame's own request bears no Origin: it is the answer that keeps a stranger from it.
        assert [head.split(b" ")[0] for head in notebook.heads] == (
            [b"GET", b"GET", b"PUT"] if trusted else [b"GET"]
        )


#: What a page can have its visitor's browser send, as far as that may look like an attack: once
#: each, for of one client only so much is told at once. A browser that asks for a password waits.
SLANDER = """async ([hub, guarded, open]) => {
  const soon = (done) => Promise.race([done, new Promise((tell) => setTimeout(tell, 1000))]);
  const basic = {Authorization: "Basic " + btoa("alice:guess")};
  const ask = (path, options) => soon(fetch(`https://${hub}${path}`, options).catch(() => 0));
  await ask(guarded, {headers: basic});
  await ask(open, {headers: {"X-Odd": "\\u0001"}});
  await ask(open, {mode: "no-cors", method: "POST"});
  const popup = window.open("about:blank");
  popup.location = `https://alice:guess2@${hub}${guarded}`;
  await soon(new Promise(() => 0));
  popup.close();
  const token = `v1.k1.1000.4000000000.${"0".repeat(64)}.alice`;
  for (const address of [
    `https://${hub}${guarded}?token=${token}`,
    `https://alice:guess3@${hub}${guarded}`,
    `https://a!b.nb.test:${hub.split(":")[1]}/`,
    `https://${hub}/ipython/22/`,
    `https://${hub}/%5c`,
  ]) {
    const image = new Image();
    const done = new Promise((tell) => { image.onload = image.onerror = tell; });
    image.src = address;
    await soon(done);
  }
}"""

GUARD = """
[auth]
htpasswd = "users"
link_keys = "keys"
[[auth.rules]]
path = "/ipython/10001"
require = "link or htpasswd"
"""


@pytest.mark.parametrize("theirs", [True, False], ids=["another site", "a notebook"])
def test_no_page_gets_its_visitors_banned(page: Page, tmp_path: Path, theirs: bool) -> None:
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    (tmp_path / "users").write_text(f"alice:{hashed}\n")
    (tmp_path / "keys").touch(0o600)
    (tmp_path / "keys").write_text(f"k1:{'s' * 32}\n")
    html = b"Content-Type: text/html"
    with (
        serving(tmp_path, GUARD) as proxy,
        Sentinel(None, html) as notebook,
        Sentinel(free_port(), html) as elsewhere,
    ):
        hub = f"hub.test:{proxy.port}"
        path = f"/ipython/{notebook.port}/"
        page.goto(f"http://evil.test:{elsewhere.port}/" if theirs else f"https://{hub}{path}")
        page.evaluate(SLANDER, [hub, "/ipython/10001/", path])
        log = proxy.child.log()
        # Some of it was refused, but nothing of it is held against the browser.
        assert log.count("[ipyproxy.audit#info] refused 127.0.0.1: ") > 3
        assert "[ipyproxy.audit#warn]" not in log
