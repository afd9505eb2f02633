"""What the rows of Galaxy's map say."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from ipyproxy.galaxy.entries import (
    KEY_TYPE,
    Entry,
    EntryError,
    Reader,
    Row,
    Tools,
    entry_of,
)
from ipyproxy.http.forwarding import Networks
from ipyproxy.net.address import TCPAddress
from tests.galaxy.writing import info


def row(**said: Any) -> Row:
    usual = Row("e3c1915314cbd610", KEY_TYPE, "d76ec842", "10.1.0.22", 1033, info())
    return usual._replace(**said)


def entry(**said: Any) -> Entry:
    usual = Entry("e3c1915314cbd610", b"d76ec842", TCPAddress("10.1.0.22", 1033))
    return usual._replace(**said)


class TestWhatARowSays:
    def test_key_token_and_address(self) -> None:
        assert entry_of(row()) == entry()

    @pytest.mark.parametrize("told", [None, "", "null", "{}", '{"requires_path_in_url": null}'])
    def test_an_info_that_says_nothing(self, told: str | None) -> None:
        assert entry_of(row(info=told)) == entry()

    def test_the_path_stays_in_the_url(self) -> None:
        assert entry_of(row(info=info(path=True))) == entry(keeps_path=True)

    def test_the_path_comes_in_a_header(self) -> None:
        assert entry_of(row(info=info(header="X-RStudio-Root-Path"))) == entry(
            header="X-RStudio-Root-Path"
        )

    @pytest.mark.parametrize(
        ("host", "literal"),
        [
            ("localhost", "127.0.0.1"),
            ("2001:DB8::7", "2001:db8::7"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
        ],
    )
    def test_addresses_in_their_one_spelling(self, host: str, literal: str) -> None:
        assert entry_of(row(host=host)) == entry(address=TCPAddress(literal, 1033))

    def test_another_type_of_key_is_not_ours(self) -> None:
        assert entry_of(row(key_type="something")) is None

    @pytest.mark.parametrize(
        "said",
        [
            {"key": None}, {"key": "A"}, {"key": "a/b"}, {"key": "a-b"}, {"key": ""},
            {"token": None}, {"token": ""}, {"token": "a/b"}, {"token": "a.b"},
            {"token": b"d76ec842"},
            {"host": None}, {"host": ""}, {"host": "node7.example.org"}, {"host": "10.1"},
            {"host": "127.0.0.1:80"}, {"host": "::1%eth0"},
            {"host": "0.0.0.0"}, {"host": "::"}, {"host": "::ffff:0.0.0.0"},
            {"port": None}, {"port": 0}, {"port": 65536}, {"port": "80"}, {"port": True},
            {"info": "{"}, {"info": "[]"}, {"info": "1"}, {"info": b"{}"}, {"info": "[" * 5000},
            {"info": info(header="Transfer-Encoding")}, {"info": info(header="transfer_encoding")},
            {"info": info(header="Host")}, {"info": info(header="X: y\r\nZ")},
            {"info": '{"requires_path_in_header_named": ["a"]}'},
        ],
    )  # fmt: skip
    def test_what_nothing_is_served_by(self, said: dict[str, Any]) -> None:
        with pytest.raises(EntryError) as caught:
            entry_of(row(**said))
        assert "d76ec842" not in str(caught.value)


class TestReadingAMap:
    def test_what_is_wrong_with_one_leaves_the_others(self) -> None:
        contents = Reader().read([row(), row(key="bad", port=None), row(key="c3po")])
        assert set(contents.entries) == {"e3c1915314cbd610", "c3po"}
        assert contents.problems == ("bad has no port from 1 to 65535",)

    def test_a_row_that_was_read_before_is_the_same_entry(self) -> None:
        reader = Reader()
        first = reader.read([row()]).entries
        again = reader.read([row(), row(key="c3po")]).entries
        assert again["e3c1915314cbd610"] is first["e3c1915314cbd610"]

    def test_nothing_is_remembered_of_rows_that_are_gone(self) -> None:
        reader = Reader()
        for number in range(1000):
            reader.read([row(key=f"k{number}")])
        assert len(reader._seen) == 1


def test_what_has_changed_is_put_in_its_place() -> None:
    tools = Tools()
    tools.entries = {key: entry(key=key) for key in "abcd"}
    moved = entry(key="c", token=b"other")
    new = entry(key="e")
    changes = {"a": entry(key="a"), "b": None, "c": moved, "e": new, "f": None}
    assert tools.change(changes) == ["b", "c"]
    assert tools.entries == {"a": entry(key="a"), "c": moved, "d": entry(key="d"), "e": new}


class TestWhoGetsIn:
    def tools(self, *networks: str, **said: Any) -> Tools:
        tools = Tools(own_ports={8443})
        tools.networks = Networks([ip_network(each) for each in networks])
        tools.entries = {"e3c1915314cbd610": entry(**said)}
        return tools

    def test_key_and_token(self) -> None:
        found = self.tools("10.1.0.0/16").find(b"e3c1915314cbd610", b"d76ec842")
        assert found == entry()

    @pytest.mark.parametrize(
        ("key", "token"),
        [
            (b"e3c1915314cbd610", b"d76ec843"),
            (b"e3c1915314cbd610", b"d76ec8422"),
            (b"e3c1915314cbd610", b""),
            (b"e3c1915314cbd610", b"\xff"),
            (b"e3c1915314cbd611", b"d76ec842"),
            (b"", b""),
            (b"\xff", b"d76ec842"),
        ],
    )
    def test_nobody_else(self, key: bytes, token: bytes) -> None:
        assert self.tools("10.1.0.0/16").find(key, token) is None

    @pytest.mark.parametrize("networks", [(), ("10.2.0.0/16",), ("::/0",)])
    def test_not_where_tools_may_not_run(self, networks: tuple[str, ...]) -> None:
        assert self.tools(*networks).find(b"e3c1915314cbd610", b"d76ec842") is None

    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"]
    )
    def test_not_the_proxy_itself(self, host: str) -> None:
        tools = self.tools("0.0.0.0/0", "::/0")
        tools.entries = Reader().read([row(host=host, port=8443)]).entries
        assert tools.find(b"e3c1915314cbd610", b"d76ec842") is None
