"""Problems of a configuration: all at once, each with its line and with what was meant."""

from __future__ import annotations

import pytest

from tests.config.reading import problems


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    text = """\
# notebooks.ports = "commented out"
[timeouts]
head = "soon"

[notebooks]
prefix = 'x'   # prefix = "/ok"
ports = "80-x"
[limits]
connections = 0
"""
    assert problems(text, listen__https="x", notebooks__ports="1-2") == [
        '--https: "x" is neither a port from 0 to 65535 nor an endpoint such as '
        '"tcp:443:interface=192.0.2.7" or "systemd:domain=INET:index=0"',
        '--ports: "1-2" reaches below 1024: name such ports one by one',
        'i.toml:3: timeouts.head: "soon" is not a number of seconds from 0.1 to 600',
        'i.toml:6: notebooks.prefix: "x" is not a path such as /ipython: '
        "a slash first, none last, of letters, digits and -._~",
        "i.toml:9: limits.connections: 0 is not a whole number from 1 to 1000000",
    ]


def test_each_bad_item_of_a_list_is_told() -> None:
    assert len(problems('[site]\nhosts = [\n  "a:1",\n  "b",\n  "c:1",\n]')) == 2


@pytest.mark.parametrize(("line", "text"), [
    (2, "[notebooks]\nports = 0"),
    (2, "[ 'notebooks' ] # x\n\"ports\" = 0"),
    (1, "notebooks.ports = 0"),
    (1, "notebooks = { prefix = '/x', ports = 0 }"),
    (3, "[notebooks]\r\n\r\nports = 0\r\n"),
    (4, "[notebooks]\n# ports = 0\n#[x]\nports = 0"),
    (7, "[log]\naccess = '''\n[notebooks]\nports = 0\n'''\n[notebooks]\nports = 0"),
    (5, "[notebooks]\nsite_cookies = [ # ]\n  'a', # ports = 0\n]\nports = 0"),
    (2, "[notebooks]\nports = [\n  1,\n  0,\n]"),
    (2, '[notebooks]\n"p\\u006frts" = 0'),
])  # fmt: skip
def test_the_line_is_found_as_toml_sees_it(line: int, text: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(f"i.toml:{line}: notebooks.ports: ")


def test_a_table_that_is_none_is_told() -> None:
    assert problems("listen = 3") == ["i.toml:1: listen: 3 is not a table"]
    assert problems("\n[[tls]]\nkey = 1") == ['i.toml:2: tls: [{"key": 1}] is not a table']
    assert problems("listen = 3", listen__https=4) == ["i.toml:1: listen: 3 is not a table"]


def test_a_long_value_is_cut_short() -> None:
    (problem,) = problems(f"[notebooks]\nports = {'x' * 500!r}")
    assert len(problem) < 200
    assert "xxx... is not a list of ports" in problem


@pytest.mark.parametrize(("text", "problem"), [
    ("[listen\nhttps = 1",
     "i.toml:1: the name of a table stands between [ and ], alone on its line"),
    ("[log]\n\naccess =",
     "i.toml:3: what stands behind the = is no value; text stands between quotes"),
    ('\n[log]\naccess = """x\n\n', "i.toml:3: a text between quotes does not end"),
    ("[log]\naccess = '-'\naccess = ''\n",
     "i.toml:3: this key has a value already, further up; keep one of the two"),
    ("[listen]\n[log]\n[listen]\n",
     "i.toml:3: the table listen is there already, further up; put its keys together"),
    ("[log]\naccess = /var/log/x\n",
     "i.toml:2: what stands behind the = is no value; text stands between quotes"),
    ("[log]\naccess: 1\n", "i.toml:2: a key is followed by = and its value"),
    ("[log]\naccess = 'a' format = 'b'\n",
     "i.toml:2: something stands behind the value; each key has its own line"),
    ("x = 1" + "0" * 5000, "i.toml: "),
])  # fmt: skip
def test_toml_that_is_none_is_told_with_its_line(text: str, problem: str) -> None:
    (told,) = problems(text)
    assert told.startswith(problem)


@pytest.mark.parametrize(("text", "problem"), [
    ("[listen]\nhtps = 1", 'i.toml:2: listen.htps: unknown key; did you mean "https"?'),
    ("[listn]\nhttps = 1", 'i.toml:1: listn: unknown key; did you mean "listen"?'),
    ("https = 1", 'i.toml:1: https: unknown key; did you mean "listen.https"?'),
    ("[log]\n'ports' = 1", 'i.toml:2: log.ports: unknown key; did you mean "notebooks.ports"?'),
    ("[site]\ntrusted-origins = []",
     'i.toml:2: site.trusted-origins: unknown key; did you mean "trusted_origins"?'),
    ("[log]\nzzz = 1", "i.toml:2: log.zzz: unknown key"),
])  # fmt: skip
def test_unknown_keys_are_told_with_what_was_meant(text: str, problem: str) -> None:
    assert problems(text) == [problem]
