"""Made-up targets against a tree with a secret beside it: none of them gets it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ipyproxy.files import opening
from tests.files.shelf import Shelf, have_an_old_kernel, let_all_wait, read

SECRET = b"the secret beside the tree"
PARTS = (
    "/", "//", "\\", "..", ".", "...", "....", "%2e", "%2E", "%2e%2e", ".%2e", "%2f", "%2F", "%5c",
    "%5C", "%00", "%0a", "%0d%0a", "%20", "%25", "%252e", "%252f", "%c0%ae", "%c0%af", "%e0%80%ae",
    "%u002e", "%%32%65", "%", "%2", ";", ";x", "?", "?a=/../secret", "#", "~", "*", ":", "@", "+",
    "a", "docs", "secret", "site", "index.html", ".git", "config", "out", "up", "loop", "absolute",
    "proc", "inner", "etc/passwd", "proc/self/root", "proc/self/environ", "file:", "http://here",
    "http://evil.example", "\xe9", "\xff", "ｅ", "．．", "a" * 300,
)  # fmt: skip
STATUSES = {200, 206, 304, 308, 400, 404, 405, 414, 421}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "site2").mkdir()
    (tmp_path / "site2" / "index.html").write_bytes(SECRET)
    site = tmp_path / "site"
    (site / "docs" / "inner").mkdir(parents=True)
    (site / ".git").mkdir()
    (site / ".git" / "config").write_bytes(SECRET)
    (site / "docs" / ".htpasswd").write_bytes(SECRET)
    for file in ("index.html", "a", "docs/index.html", "docs/inner/a", "docs/a b"):
        (site / file).write_text(f"public {file}")
    (site / "out").symlink_to("../secret")
    (site / "up").symlink_to("..")
    (site / "docs" / "out").symlink_to("../../secret")
    (site / "loop").symlink_to("loop")
    (site / "absolute").symlink_to(tmp_path / "secret")
    (site / "proc").symlink_to("/proc")
    return site


def targets(seed: int, count: int) -> list[bytes]:
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        parts = chance.choices(PARTS, k=chance.randint(1, 9))
        joint = chance.choice(("", "/", "/"))
        target = chance.choice(("/", "/", "/", "")) + joint.join(parts)
        made.append(target.encode(chance.choice(("utf-8", "utf-8", "latin-1")), "ignore"))
    return made


def attack(shelf: Shelf, seed: int, count: int) -> dict[int, int]:
    """Ask for ``count`` targets; how often each status came."""
    seen: dict[int, int] = {}
    browser = shelf.connect()
    for target in targets(seed, count):
        if browser.wire.is_shut:
            browser.hang_up()
            browser = shelf.connect()
        heard = browser.say(b"GET %b HTTP/1.1\r\nHost: here\r\n\r\n" % target)
        answer = read(heard)
        assert SECRET not in heard, target
        assert b"root:" not in heard, target
        assert answer.status in STATUSES, (target, answer.status)
        location = answer.fields.get("location", "/")
        assert location[0] == "/", target
        assert location[1:2] not in ("/", "\\"), target
        seen[answer.status] = seen.get(answer.status, 0) + 1
    return seen


WAYS = ("at once", "by the disk", "step by step")


@pytest.fixture(params=WAYS)
def shelf(tree: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    if request.param != "at once":
        let_all_wait(monkeypatch)
    if request.param == "step by step":
        have_an_old_kernel(monkeypatch)
    return Shelf(tree)


def test_no_target_gets_the_secret(shelf: Shelf) -> None:
    seen = attack(shelf, 1, 2000)
    # They are not all refused at the door.
    assert seen[200] > 20
    assert seen[308] > 1
    assert seen[404] > 100


@pytest.mark.soak
def test_no_target_of_a_hundred_thousand_gets_the_secret(shelf: Shelf) -> None:
    for seed in range(10):
        attack(shelf, 1000 + seed, 10_000)


def test_the_attack_would_find_it(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the kernel's help and ours the same targets find the secret."""
    let_all_wait(monkeypatch)
    monkeypatch.setattr(opening, "_WITHIN", 0)
    with pytest.raises(AssertionError):
        attack(Shelf(tree), 1, 2000)
