"""Lists of ports: what they hold, how they are spelled, and what none of them covers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyproxy.config import Config, Ports
from ipyproxy.config.values import SERVICE_PORTS
from tests.config.reading import refusal, value

SINGLES = st.integers(1, 65535).map(lambda port: (port, port))
SERVICES = st.sampled_from(SERVICE_PORTS).map(lambda port: (port, port))
RANGES = (
    st.tuples(st.integers(1024, 65535), st.integers(0, 3000))
    .map(lambda pair: (pair[0], min(pair[0] + pair[1], 65535)))
    .filter(lambda pair: pair != (2375, 2376) and pair != (2379, 2380))
)


def spelled(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"


@given(st.lists(SINGLES | SERVICES | RANGES, min_size=1, max_size=8))
def test_ports_hold_what_their_ranges_name_and_nothing_else(ranges: list[tuple[int, int]]) -> None:
    ports = Ports.read(",".join(spelled(*pair) for pair in ranges))
    named = {port for low, high in ranges for port in range(low, high + 1)} - set(SERVICE_PORTS)
    named |= {low for low, high in ranges if low == high}
    edges = {edge + step for pair in ranges for edge in pair for step in (-1, 0, 1)}
    edges |= set(SERVICE_PORTS)
    assert all((port in ports) == (port in named) for port in edges | {0, 1, 1023, 1024, 65535})
    assert {port for low, high in ports.ranges for port in range(low, high + 1)} == named


@given(st.lists(SINGLES | SERVICES | RANGES, min_size=1, max_size=8))
def test_ports_written_out_and_read_again_are_the_same(ranges: list[tuple[int, int]]) -> None:
    ports = Ports.read(",".join(spelled(*pair) for pair in ranges))
    assert Ports.read(str(ports)) == ports
    assert str(Ports.read(str(ports))) == str(ports)


@given(st.sets(st.integers(1, 65535), min_size=1, max_size=60))
def test_one_set_of_ports_has_one_spelling(ports: set[int]) -> None:
    assert Ports.read(sorted(ports)) == Ports.read(sorted(map(str, ports), reverse=True))


def test_ranges_that_touch_are_one() -> None:
    assert str(Ports.read("8002-8004,8000-8001,8005,8003")) == "8000-8005"


def test_every_port_is_in_or_out_of_the_default() -> None:
    ports = Config().notebooks.ports
    named = set(range(10000, 15000)) - {10250, 11211}
    assert {port for port in range(65537) if port in ports} == named
    assert "10000" not in ports
    assert str(ports) == "10000-10249,10251-11210,11212-14999"


def test_low_ports_stay_single_so_that_the_spelling_can_be_read_again() -> None:
    assert str(Ports.read("1024-1400,1022,1023, 443 ,443")) == "443,1022,1023,1024-1400"


def test_ports_come_as_a_string_a_number_or_a_list_of_both() -> None:
    expected = Ports.read("8888,10000-10010")
    assert value("notebooks", "ports", '"10000-10010, 8888"') == expected
    assert value("notebooks", "ports", '[8888, "10000-10010"]') == expected
    assert value("notebooks", "ports", "8888") == Ports.read("8888")
    assert value("notebooks", "ports", '["80,443", 9000]') == Ports.read("80,443,9000")


@pytest.mark.parametrize("toml", [
    '""', "[]", "0", "65536", "-1", "1.5", "true", "[true]", "[[8888]]", '"80-x"', '"0080"',
    '"+80"', '"8_0"', '"80,"', '"80\\n,90x"', '"８０"', '"٨٠"', '"1-2-3"', '"99999"', '"0-80"',
])  # fmt: skip
def test_what_is_no_list_of_ports_is_refused(toml: str) -> None:
    why = refusal("notebooks", "ports", toml)
    assert why.endswith(" is not a list of ports such as 10000-14999,8888")


@pytest.mark.parametrize("toml", ['"1-65535"', '"1023-1024"', '"80-80"', '[9000, "22-9000"]'])
def test_no_range_reaches_below_1024(toml: str) -> None:
    why = refusal("notebooks", "ports", toml)
    assert why.endswith('" reaches below 1024: name such ports one by one')


def test_no_range_covers_the_port_of_another_service() -> None:
    every = Ports.read("1024-65535")
    assert [port for port in range(1024, 65536) if port not in every] == list(SERVICE_PORTS)
    assert str(Ports.read("5000-6000")) == "5000-5431,5433-5671,5673-5899,5901-5983,5985-6000"
    assert str(Ports.read("5432-5500")) == "5433-5500"
    assert str(Ports.read("5400-5432")) == "5400-5431"


def test_whoever_means_a_service_names_it() -> None:
    ports = Ports.read("5430-5434,5432")
    assert [port for port in range(5425, 5440) if port in ports] == list(range(5430, 5435))
    assert str(ports) == "5430-5431,5432,5433-5434"
    assert 6379 in value("notebooks", "ports", "6379")


@pytest.mark.parametrize("toml", ['"2375-2376"', '"10000-10010,2379-2380"'])
def test_a_range_of_services_alone_is_refused(toml: str) -> None:
    why = refusal("notebooks", "ports", toml)
    assert why.endswith(" covers ports of well-known services only: name them")


def test_ports_can_be_listed_for_health_or_not() -> None:
    assert list(value("health", "ports", '""')) == []
    assert list(value("health", "ports", "[]")) == []
    assert list(value("health", "ports", '"10000-10002,10004"')) == [10000, 10001, 10002, 10004]
    why = refusal("health", "ports", '"10000,x"')
    assert why.endswith(" is not a list of ports such as 10000-14999,8888")


def test_only_a_served_port_can_be_looked_after() -> None:
    assert refusal("health", "ports", '"14998-15003"') == "15000 is none of notebooks.ports"


def test_a_range_runs_upwards() -> None:
    assert refusal("notebooks", "ports", '"8,9000-8000"') == '"9000-8000" ends before it begins'
