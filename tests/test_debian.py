"""The Debian package: built, looked into, installed into a root of its own, used, and removed."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.debian import run

HOME = Path("usr/lib/ipyproxy")
ACCOUNTS = {"passwd", "group", "shadow", "gshadow", ".pwd.lock"}

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="dpkg --root asks for root"),
]


def dpkg(root: Path, *arguments: str | Path) -> str:
    # The root has no shell, so the package's scripts are run from outside and told where it is.
    options = ["--force-depends", "--force-script-chrootless", "--log=/dev/null"]
    return run("dpkg", f"--root={root}", *options, *arguments)


@pytest.fixture(scope="module")
def root(debian_package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A root with nothing but the package."""
    root = tmp_path_factory.mktemp("root")
    for directory in ("var/lib/dpkg/info", "var/lib/dpkg/updates"):
        (root / directory).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    dpkg(root, "--install", debian_package)
    yield root
    dpkg(root, "--purge", "ipyproxy")
    left = {path.relative_to(root) for path in root.rglob("*")}
    # The account stays, so that its number does not become somebody else's.
    accounts = {path for path in left if path.name.strip("-") in ACCOUNTS}
    kept = {path for path in left if path.parts[0] == "var" and "ipyproxy" not in path.parts}
    assert left - accounts - kept <= {Path("etc"), Path("var/lib/ipyproxy-acme")}


def test_lintian_finds_no_error(debian_package: Path) -> None:
    if not shutil.which("lintian"):
        pytest.skip("lintian is not installed")
    done = subprocess.run(
        ["lintian", "--fail-on", "error", debian_package],
        check=False,
        capture_output=True,
        text=True,
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
    ask = "import ipyproxy.server.channel, ipyproxy.web.site as found; print(found.__file__)"
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


def test_what_is_put_beside_the_configuration_is_the_services_to_read(root: Path) -> None:
    passwd = (root / "etc/passwd").read_text()
    (line,) = [line for line in passwd.splitlines() if line.startswith("ipyproxy:")]
    uid, gid = map(int, line.split(":")[2:4])
    places = {
        "etc/ipyproxy": (0, gid, 0o2755),
        "etc/ipyproxy/tls": (0, gid, 0o2750),
        "var/lib/ipyproxy": (uid, gid, 0o700),
        "var/log/ipyproxy": (uid, gid, 0o750),
    }
    for name, wanted in places.items():
        status = (root / name).stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == wanted, name
    secret = root / "etc/ipyproxy/secret"
    run("sh", "-c", f"umask 027; echo x >{secret}")
    assert (secret.stat().st_gid, stat.S_IMODE(secret.stat().st_mode)) == (gid, 0o640)
    secret.unlink()


def test_it_brings_what_the_pages_speak_of(root: Path) -> None:
    for name in (
        "etc/ipyproxy/certbot-deploy-hook",
        "etc/ipyproxy/ipyproxy.schema.json",
        "lib/systemd/system/ipyproxy@.service",
        "usr/lib/sysusers.d/ipyproxy.conf",
        "usr/share/doc/ipyproxy/from-apache.md",
        "usr/share/doc/ipyproxy/ipyproxy.toml",
        "var/lib/ipyproxy-acme",
    ):
        assert (root / name).exists(), name


def test_rotating_logs_does_not_fail_once_the_package_is_removed(root: Path) -> None:
    text = (root / "etc/logrotate.d/ipyproxy").read_text()
    script = text.partition("postrotate\n")[2].partition("endscript")[0]
    # A systemctl that knows no such unit, and no systemctl at all.
    for path in ("/nowhere", "/usr/bin:/bin"):
        done = subprocess.run(["/bin/sh", "-ec", script], env={"PATH": path}, capture_output=True)
        assert done.returncode == 0, done.stderr
