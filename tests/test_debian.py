"""The Debian package: built, looked into, installed into a root of its own, used, and removed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOME = Path("usr/lib/ipyproxy")
PYTHON = Path("/usr/bin/python3")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="not a Debian machine"),
    pytest.mark.skipif(not shutil.which("strip"), reason="binutils is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="dpkg --root asks for root"),
]


def run(*command: str | Path, **more: str) -> str:
    env = {**os.environ, **more}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built in a copy, so that nothing is left in the checkout."""
    if subprocess.run([PYTHON, "-c", "import ensurepip"], capture_output=True).returncode:
        pytest.skip("python3-venv is not installed")
    source = tmp_path_factory.mktemp("debian") / "source"
    kept = ("docs", "ipyproxy", "twisted", "etc", "packaging")
    for name in kept:
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache")
        )
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, source / name)
    run(source / "packaging" / "deb", SOURCE_DATE_EPOCH="1700000000")
    (built,) = (source / "dist").glob("*.deb")
    return built


def dpkg(root: Path, *arguments: str | Path) -> str:
    # The root has no shell, so the package's scripts are run from outside and told where it is.
    options = ["--force-depends", "--force-script-chrootless", "--log=/dev/null"]
    return run("dpkg", f"--root={root}", *options, *arguments)


@pytest.fixture(scope="module")
def root(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A root with nothing but the package."""
    root = tmp_path_factory.mktemp("root")
    for directory in ("var/lib/dpkg/info", "var/lib/dpkg/updates"):
        (root / directory).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    dpkg(root, "--install", package)
    yield root
    dpkg(root, "--purge", "ipyproxy")
    left = [path for path in root.rglob("*") if "var" not in path.relative_to(root).parts]
    assert left == []


def test_lintian_finds_no_error(package: Path) -> None:
    if not shutil.which("lintian"):
        pytest.skip("lintian is not installed")
    done = subprocess.run(
        ["lintian", "--fail-on", "error", package], check=False, capture_output=True, text=True
    )
    assert not [line for line in done.stdout.splitlines() if line.startswith("E:")]
    assert done.returncode == 0, done.stderr


def test_a_start_finds_twisteds_list_of_plugins(root: Path) -> None:
    """Comes first: root would write a list that is missing or old, which the daemon can't."""
    code = (
        "import sys; from twisted.application.service import IServiceMaker; "
        "from twisted.plugin import getPlugins; list(getPlugins(IServiceMaker)); "
        "print(*sys.modules)"
    )
    modules = run(root / HOME / "bin/python3", "-c", code).split()
    assert "twisted.plugins.ipyproxy_plugin" in modules
    assert "twisted.plugins.cred_unix" not in modules


def test_what_is_installed_works(root: Path) -> None:
    python, twistd = root / HOME / "bin/python3", root / HOME / "bin/twistd"
    assert run(python, twistd, "ipyproxy", "--version").startswith("ipyproxy ")
    config = root / "etc/ipyproxy/ipyproxy.toml"
    assert "valid" in run(python, twistd, "ipyproxy", "--check", "--config", config)
    assert "doctor" in run(python, root / "usr/bin/ipyproxy", "--help")


def test_the_path_of_a_request_is_compiled(root: Path) -> None:
    ask = "import ipyproxy.server.http1, ipyproxy.websocket.frames as found; print(found.__file__)"
    assert run(root / HOME / "bin/python3", "-I", "-c", ask).strip().endswith(".so")


def test_it_knows_where_it_will_be_and_nothing_of_where_it_was_built(root: Path) -> None:
    scripts = [root / HOME / "bin" / name for name in ("twistd", "ipyproxy")]
    assert {script.read_text().splitlines()[0] for script in scripts} == {f"#!/{HOME}/bin/python3"}
    unit = (root / "lib/systemd/system/ipyproxy.service").read_text()
    assert f"ExecStart=/{HOME}/bin/twistd " in unit
    assert "/opt/" not in unit


def test_the_manual_page_can_be_read(root: Path) -> None:
    from ipyproxy.tap import Options

    page = run("zcat", root / "usr/share/man/man8/ipyproxy.8.gz").replace("\\-", "-")
    for name, *_ in [*Options.optParameters, *Options.optFlags]:
        assert f"--{name}" in page
