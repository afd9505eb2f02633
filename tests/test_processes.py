"""Ports for tests: what was given to one process is given to no other."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.integration.processes import free_port, of_these_tests

ASK = "import sys; from tests.integration.processes import free_port as f; f([int(sys.argv[1])])"


def test_a_port_is_one_process_s_until_that_ends() -> None:
    port = free_port()
    with pytest.raises(OSError, match="none of the ports"):
        free_port([port])
    other = subprocess.run(
        [sys.executable, "-c", ASK, str(port)], env=of_these_tests(), capture_output=True, text=True
    )
    assert "none of the ports is free" in other.stderr
    assert free_port() != port


def test_it_is_none_that_the_kernel_gives_away() -> None:
    assert all(20000 <= free_port() < 30000 for _ in range(5))
