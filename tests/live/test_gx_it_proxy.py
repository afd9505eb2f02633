"""gx-it-proxy and ipyproxy on the same map: visitors cannot tell which one they have asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from tests.galaxy.writing import Galaxy, info
from tests.integration.gxitproxy import GxItProxy
from tests.integration.processes import free_port
from tests.integration.proxy import Proxy
from tests.live.test_interactive_tools import CONFIGURATION
from tests.live.tools import HOST, Answer, Echoing, Repeating, Visitor

pytestmark = pytest.mark.integration

#: The key, the token, and what Galaxy says of each tool.
TOOLS = {
    "plain": ("d76ec842e77049059753b0d40992d15f", info()),
    "keeps": ("bea3a5bb3d4b4c6c8bcb7579e023bf66", info(path=True)),
    "told": ("00a3a5bb3d4b4c6c8bcb7579e023bf66", info(header="X-Root-Path")),
    "both": ("11a3a5bb3d4b4c6c8bcb7579e023bf66", info(path=True, header="X-Root-Path")),
    "old": ("22a3a5bb3d4b4c6c8bcb7579e023bf66", ""),
}
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
TARGETS = ("/", "/a/b?c=%2F&d", "/%E2%82%AC%20x", "/?status=404", "/a;b=1/@~")


class Pair(NamedTuple):
    """The two proxies, as visitors see them, and what is behind."""

    ours: Visitor
    theirs: Visitor
    tool: Repeating


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory = tmp_path_factory.mktemp("beside")
    galaxy = Galaxy(directory / "map.sqlite")
    with Repeating() as tool, Echoing() as echo:
        for key, (token, told) in TOOLS.items():
            galaxy.save(key, token, "127.0.0.1", tool.port, told)
        galaxy.save("echo", "e1", "127.0.0.1", echo.port)
        galaxy.save("down", "d1", "127.0.0.1", free_port())
        theirs = GxItProxy(directory, str(galaxy.path))
        ours = Proxy(directory, CONFIGURATION.format(map=galaxy.path))
        ours.child.wait_until(lambda: "has 7 interactive" in ours.child.log(), seconds=10)
        yield Pair(Visitor(ours.port), Visitor(theirs.port, secure=False), tool)
        ours.child.stop()
        theirs.child.stop()


def by_path(key: str, token: str, rest: str) -> tuple[str, str]:
    return f"/interactivetool/ep/{key}/{token}{rest}", HOST


def by_host(key: str, token: str, rest: str) -> tuple[str, str]:
    return rest, f"{key}-{token}.ep.interactivetool.{HOST}"


def seen(answer: Answer) -> tuple[int, Any, dict[str, str | None]]:
    """What of an answer has to be alike."""
    said = ("content-type", "x-tool", "etag", "content-length")
    return answer.status, answer.body, {name: answer.headers.get(name) for name in said}


#: One hundred requests and more: each way to a tool, each kind of tool, methods and targets.
REQUESTS = [
    *product((by_path, by_host), TOOLS, ("GET",), TARGETS[:3]),
    *product((by_path, by_host), ("plain", "both"), METHODS[1:], TARGETS[1:]),
]


def test_a_hundred_requests_are_answered_alike(pair: Pair) -> None:
    assert len(REQUESTS) >= 100
    unlike = []
    for way, key, method, rest in REQUESTS:
        target, host = way(key, TOOLS[key][0], rest)
        body = b"x" * 1000 if method in ("POST", "PUT") else None
        headers = {"X-Own": "a", "Authorization": "token b", "Origin": f"https://{host}"}
        ours, theirs = (
            seen(visitor.ask(target, host, method, body, headers))
            for visitor in (pair.ours, pair.theirs)
        )
        if ours != theirs:
            unlike.append((method, host, target, ours, theirs))
    assert not unlike


@pytest.mark.parametrize("way", [by_path, by_host])
def test_a_websocket_carries_the_same(pair: Pair, way: Any) -> None:
    for visitor in pair.ours, pair.theirs:
        with visitor.websocket(*way("echo", "e1", "/ws?x"), max_size=None) as bridge:
            for message in "hello", b"\0\1", "", "y" * 200_000:
                bridge.send(message)
                assert bridge.recv(10) == message


class TestItsDefects:
    """Where we answer otherwise, and mean to."""

    @pytest.mark.parametrize("way", [by_path, by_host])
    @pytest.mark.parametrize(("key", "token"), [("nobody", "x"), ("plain", "guess")])
    def test_an_unknown_tool_is_not_found_instead_of_whoever_has_port_80(
        self, pair: Pair, way: Any, key: str, token: str
    ) -> None:
        target, host = way(key, token, "/")
        assert pair.ours.ask(target, host).status == 404
        # It dials localhost:80.
        assert pair.theirs.ask(target, host).status != 404

    def test_no_other_site_is_let_read_answers(self, pair: Pair) -> None:
        target, host = by_path("plain", TOOLS["plain"][0], "/")
        evil = {"Origin": "https://evil.example.org"}
        allowed = "access-control-allow-origin"
        assert pair.theirs.ask(target, host, headers=evil).headers[allowed] == evil["Origin"]
        assert allowed not in pair.ours.ask(target, host, headers=evil).headers

    def test_a_websocket_that_fails_has_a_status(self, pair: Pair) -> None:
        target, host = by_path("down", "d1", "/ws")
        with pytest.raises(InvalidHandshake) as caught:
            pair.ours.websocket(target, host)
        assert "HTTP 50" in str(caught.value)
        with pytest.raises((InvalidMessage, ConnectionClosed, EOFError, OSError)):
            pair.theirs.websocket(target, host)

    def test_the_cookie_of_galaxy_stays_with_galaxy(self, pair: Pair) -> None:
        # The tool may be anybody's program; with that cookie it could do what its visitor may.
        target, host = by_path("plain", TOOLS["plain"][0], "/")
        cookie = {"Cookie": "galaxysession=secret; own=1"}
        assert pair.theirs.ask(target, host, headers=cookie).status == 200
        assert pair.ours.ask(target, host, headers=cookie).body["cookie"] == ["own=1"]
        assert pair.theirs.ask(target, host, headers=cookie).body["cookie"] == [cookie["Cookie"]]

    def test_a_path_stays_what_it_is(self, pair: Pair) -> None:
        target, host = by_path("keeps", TOOLS["keeps"][0], "/a//b")
        assert pair.ours.ask(target, host).body["target"] == target
        assert pair.theirs.ask(target, host).body["target"] == target.replace("//b", "/b")

    def test_a_path_with_dot_segments_is_refused(self, pair: Pair) -> None:
        target, host = by_path("plain", TOOLS["plain"][0], "/%2e%2e/%2e%2e/etc")
        assert pair.ours.ask(target, host).status == 400
        assert pair.theirs.ask(target, host).status == 200


def test_a_map_in_json_has_tokens_too(tmp_path: Path, pair: Pair) -> None:
    """gx-it-proxy loads none of them, so that no address with a token works."""
    sessions = tmp_path / "map.json"
    told = {"host": "127.0.0.1", "port": pair.tool.port, "token": "t1", "info": "{}"}
    sessions.write_text(json.dumps({"abc": told}))
    theirs = GxItProxy(tmp_path, str(sessions))
    ours = Proxy(tmp_path, CONFIGURATION.format(map=sessions))
    ours.child.wait_until(lambda: "has 1 interactive" in ours.child.log(), seconds=10)
    try:
        target, host = by_path("abc", "t1", "/")
        assert Visitor(ours.port).ask(target, host).status == 200
        assert Visitor(theirs.port, secure=False).ask(target, host).status != 200
    finally:
        ours.child.stop()
        theirs.child.stop()
