"""JupyterHub's own tests, with ours in the place of configurable-http-proxy."""

from __future__ import annotations

from pathlib import Path

import pytest

from .programs import configurable_http_proxy, in_its_place
from .suite import MODULES, run

pytestmark = pytest.mark.integration

#: What says most in little time: odd names, hosts, sockets.
CHOICE = (
    "test_proxy::test_check_routes[has@]",
    "test_proxy::test_extra_routes",
    "test_proxy::test_add_get_delete",
    "test_unix_socket",
)


def test_the_hub_is_content(tmp_path: Path) -> None:
    results = run(in_its_place(tmp_path), CHOICE)
    assert not results.failed, results.output
    assert len(results.passed) >= 12, results.output


@pytest.mark.soak
@pytest.mark.parametrize("subdomains", [False, True], ids=["paths", "subdomains"])
@pytest.mark.parametrize("former", [False, True], ids=["6", "5"])
def test_whatever_passes_with_its_own_proxy_passes_with_ours(
    tmp_path: Path, former: bool, subdomains: bool
) -> None:
    with_ours = run(in_its_place(tmp_path), MODULES, former=former, subdomains=subdomains)
    if not with_ours.failed:
        return
    names = sorted({name.partition("[")[0] for name in with_ours.failed})
    with_its_own = run(configurable_http_proxy(), names, former=former, subdomains=subdomains)
    assert with_ours.failed <= with_its_own.failed, with_ours.output
