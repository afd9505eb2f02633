"""What tests share: the same examples of Hypothesis on each run, without a clock; an authority."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests import debian
from tests.certificates import Authority

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


@pytest.fixture(scope="module")
def authority() -> Authority:
    """An authority that no browser knows, for the tests of one file."""
    return Authority()


@pytest.fixture(scope="module")
def root(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its certificate, in a file."""
    return authority.write(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="session")
def debian_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package: IPYPROXY_DEB names one, or it is built in two minutes or three."""
    if ready := os.environ.get("IPYPROXY_DEB"):
        return Path(ready)
    if reason := debian.why_not():
        pytest.skip(reason)
    return debian.build(tmp_path_factory.mktemp("debian"))
