"""What gets installed: the plugin is found by twistd, and nothing comes along that should not."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLUGIN = "twisted/plugins/ipyproxy_plugin.py"
NOT_OURS_TO_SHIP = (
    *(".git", ".venv", "build", "dist", "notebooks", "*.egg-info"),
    *(".*_cache", "__pycache__", "dropin.cache"),
)


def run(*command: str | Path, cwd: Path) -> str:
    """The command's output; a failure shows all of it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(kind: str, checkout: Path, into: Path) -> Path:
    """Build the ``wheel`` or the ``sdist`` by the backend that pyproject.toml names."""
    into.mkdir()
    hook = f"import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
    run(sys.executable, "-c", hook, into, cwd=checkout)
    (built,) = into.iterdir()
    return built


def new_environment(directory: Path) -> Path:
    """An empty virtual environment's python, which sees the packages around us, but not ipyproxy.

    A line in a .pth file adds our site-packages without obeying the .pth files in there, so an
    editable ipyproxy of ours stays hidden, and no network is needed.
    """
    venv.create(directory, with_pip=False, symlinks=True)
    python = directory / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    inner = run(python, "-c", ask, cwd=directory)
    outer = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    Path(inner.strip(), "around.pth").write_text("\n".join(sorted(outer)) + "\n")
    return python


def install(python: Path, *what: str | Path) -> None:
    quiet = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed")
    run(python, "-m", "pip", "install", *quiet, *what, cwd=python.parent)


def twistd_help(python: Path, elsewhere: Path) -> str:
    """What ``twistd --help`` says, started away from the checkout."""
    start = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"
    return run(python, "-I", "-c", start, "--help", cwd=elsewhere)


def home_of(module: str, python: Path, elsewhere: Path) -> Path:
    """The file that this environment imports the module from."""
    ask = f"import {module} as found; print(found.__file__)"
    return Path(run(python, "-I", "-c", ask, cwd=elsewhere).strip())


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to build in, so that nothing is left behind in the real one."""
    copy = tmp_path_factory.mktemp("source") / "ipyproxy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_OURS_TO_SHIP))
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    return build("wheel", checkout, checkout.parent / "wheel")


def test_the_wheel_holds_the_package_the_plugin_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    package = ROOT / "ipyproxy"
    sources = {
        str(path.relative_to(ROOT))
        for suffix in ("py", "css", "js")
        for path in package.rglob(f"*.{suffix}")
    }
    assert names - info == sources | {"ipyproxy/py.typed", PLUGIN}


def test_the_wheel_says_what_it_is_and_carries_its_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
        assert any(name.endswith("/licenses/LICENSE") for name in archive.namelist())
    needed = {line.split(">")[0].split("[")[0] for line in metadata.get_all("Requires-Dist", [])}
    assert metadata["Requires-Python"] == ">=3.11"
    assert {"twisted", "autobahn", "pyopenssl", "service_identity", "cryptography"} <= needed


def test_the_sdist_can_be_built_and_tested_from(checkout: Path) -> None:
    with tarfile.open(build("sdist", checkout, checkout.parent / "sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {PLUGIN, "ipyproxy/py.typed", "ipyproxy/daemon/service.py", "etc/ipyproxy.toml"} <= names
    assert {"setup.cfg", "pyproject.toml", "Makefile", "README.md", "LICENSE"} <= names
    assert {"CHANGELOG.md", "tests/conftest.py", "tests/test_packaging.py"} <= names
    assert not {name for name in names if name.endswith((".pyc", ".pid", "dropin.cache"))}


def test_twisted_stays_twisteds() -> None:
    """An __init__.py there would hide Twisted itself, or the plugins of others."""
    assert [path.name for path in (ROOT / "twisted").rglob("*.py")] == [Path(PLUGIN).name]


def test_twistd_lists_ipyproxy_after_an_ordinary_install(wheel: Path, tmp_path: Path) -> None:
    python = new_environment(tmp_path / "venv")
    assert "ipyproxy" not in twistd_help(python, tmp_path)
    install(python, wheel)
    assert "ipyproxy" in twistd_help(python, tmp_path)
    assert tmp_path in home_of("ipyproxy", python, tmp_path).parents
    assert tmp_path in home_of("twisted.plugins.ipyproxy_plugin", python, tmp_path).parents


def test_twistd_lists_ipyproxy_after_an_editable_install(checkout: Path, tmp_path: Path) -> None:
    python = new_environment(tmp_path / "venv")
    install(python, "--editable", checkout)
    assert "ipyproxy" in twistd_help(python, tmp_path)
    assert home_of("ipyproxy", python, tmp_path) == checkout / "ipyproxy" / "__init__.py"
