"""Made-up targets and names against a whole configuration: several hosts, files, a file that an
application names, and a path that is taken off. None of them leads out.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from tests.files.shelf import Reader, read
from tests.files.test_traversal import PARTS, SECRET, STATUSES, targets
from tests.web.routed import Routed

HOSTS = (
    b"www.example.org", b"WWW.example.org", b"a.example.net", b"apps.example.org", b"secret",
    b"www.example.org.", b"../secret", b"a.b.example.net", b"www.example.org:443", b"[::1]",
)  # fmt: skip
_CLIMBS = re.compile(rb"(?:^|[/\\])\.\.?(?:$|[/\\;])")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(SECRET)
    site = tmp_path / "site"
    (site / "docs").mkdir(parents=True)
    (site / "index.html").write_text("home")
    (site / "a").write_text("a")
    (site / "docs" / "index.html").write_text("docs")
    (site / "out").symlink_to("../secret")
    (site / "up").symlink_to("..")
    (site / "absolute").symlink_to(tmp_path / "secret")
    return site


@pytest.fixture
def routed(tree: Path) -> Routed:
    return Routed(
        f"""
        site.hosts = ["apps.example.org"]
        [[routes]]
        host = "www.example.org"
        files = "{tree}"
        [[routes]]
        host = "www.example.org"
        path = "/docs/inner"
        files = "{tree}/docs"
        [[routes]]
        host = "*.example.net"
        path = "/a"
        files = "{tree}/a"
        [[routes]]
        host = "apps.example.org"
        path = "/named"
        to = "unix:/named"
        sendfile = ["{tree}"]
        [[routes]]
        host = "apps.example.org"
        path = "/docs"
        to = "unix:/stripped"
        strip = true
        """,
        disks=Reader(at_once=True),
    )


def attack_routes(routed: Routed, seed: int, count: int) -> dict[int, int]:
    """Ask for made-up targets at several hosts; how often each status came, 0 for what went on."""
    chance = random.Random(seed)
    seen: dict[int, int] = {}
    for target in targets(seed, count):
        browser = routed.connect()
        host = chance.choice(HOSTS)
        start = chance.choice((b"", b"", b"/docs", b"/a", b"/docs/inner"))
        heard = browser.say(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (start + target, host))
        if routed.dialler.attempts:
            _, application = routed.accept()
            sent = application.hear()
            path = sent.split(b" ")[1].partition(b"?")[0]
            assert path[:1] == b"/", target
            assert path[1:2] not in (b"/", b"\\"), target
            assert not _CLIMBS.search(path), target
            status = 0
        else:
            assert SECRET not in heard, target
            assert b"root:" not in heard, target
            status = read(heard).status
            assert status in STATUSES, (target, host)
        browser.hang_up()
        seen[status] = seen.get(status, 0) + 1
    return seen


def attack_names(routed: Routed, tree: Path, seed: int, count: int) -> dict[int, int]:
    """Have made-up names sent, as by an application that takes them from who asks."""
    chance = random.Random(seed)
    seen: dict[int, int] = {}
    for _ in range(count):
        browser = routed.connect()
        browser.say(b"GET /named/x HTTP/1.1\r\nHost: apps.example.org\r\n\r\n")
        _, application = routed.accept()
        joint = chance.choice(("", "/", "/"))
        made = joint.join(chance.choices(PARTS, k=chance.randint(1, 6))).encode("utf-8")
        base = chance.choice((bytes(tree), b"/_x_accel_redirect%b" % bytes(tree), b"", b"/"))
        field = chance.choice((b"X-Sendfile", b"X-Accel-Redirect"))
        name = base + chance.choice((b"/", b"/", b"")) + made
        routed.tell(
            application,
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n%b: %b\r\n\r\n"
            % (field, name),
        )
        heard = browser.hear()
        assert SECRET not in heard, name
        assert b"root:" not in heard, name
        assert b"\r\nx-accel" not in heard.lower(), name
        assert b"\r\nx-sendfile" not in heard.lower(), name
        status = read(heard).status
        assert status in (200, 404, 502), name
        browser.hang_up()
        seen[status] = seen.get(status, 0) + 1
    return seen


def test_no_target_leads_out_at_any_host(routed: Routed) -> None:
    seen = attack_routes(routed, 1, 1500)
    assert min(seen.get(status, 0) for status in (0, 200, 400, 404, 421)) > 3


def test_no_name_leads_out(routed: Routed, tree: Path) -> None:
    seen = attack_names(routed, tree, 1, 1500)
    assert min(seen.get(status, 0) for status in (200, 404, 502)) > 3


@pytest.mark.soak
def test_a_hundred_thousand(routed: Routed, tree: Path) -> None:
    attack_routes(routed, 1000, 50_000)
    attack_names(routed, tree, 1000, 50_000)
