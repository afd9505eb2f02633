"""Everything that a small host serves, in one configuration: a site on a UNIX socket with a form,
events and files that it names, its static files, uploads by tus, and a notebook, under Chromium.

tus is spoken by its reference server in Node and by tuspy.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.live.resources import Memory

from .apps import APPS, environment
from .chromium import Page, chromium, expect
from .client import Client
from .jupyter import Lab
from .processes import Child, free_port
from .proxy import Proxy
from .test_browser import PATIENCE, run_cell, save_notebook, wait_for_kernel

pytestmark = pytest.mark.integration

APPLICATIONS = Path(__file__).parent / "applications"
SERVERS = ("gunicorn==23.0.0", "uvicorn==0.38.0", "websockets==15.0.1")
TUS_CLIENT = ("tuspy==1.1.0",)
TUS_SERVER = ("@tus/server@2.4.5", "@tus/file-store@2.1.1")
UPLOADS = "/api/upload/resumable_upload"
MIB = 1024 * 1024
CONFIGURATION = """
[[routes]]
to = "unix:{directory}/gunicorn.sock"
sendfile = ["{directory}/datasets"]

[[routes]]
path = "/static"
files = "{directory}/static"
max_age = 86400

[[routes]]
path = "/api/upload/resumable_upload"
to = "http://127.0.0.1:{tus}"
"""


def tus_server() -> Path:
    """The directory in which npm has installed the server, at the first use."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    directory = APPS / "tus-server"
    if not (directory / "node_modules" / "@tus" / "file-store").exists():
        directory.mkdir(parents=True, exist_ok=True)
        subprocess.run([npm, "install", "--prefix", str(directory), *TUS_SERVER], check=True)
    # Node looks for modules from where the script lies.
    shutil.copy(APPLICATIONS / "tus_server.mjs", directory)
    return directory


class Host:
    """The proxy and what it serves, but for the notebook.

    :param keeps_uploads: whether the server of tus keeps what it gets.
    """

    def __init__(self, directory: Path, *, keeps_uploads: bool = True) -> None:
        self.directory = directory
        for name in "datasets", "static", "uploads":
            (directory / name).mkdir()
        (directory / "static" / "style.css").write_text("h1 { color: rgb(1, 2, 3) }")
        self.reads = random.Random(1).randbytes(3 * MIB)
        (directory / "datasets" / "reads.bam").write_bytes(self.reads)
        bare = {"PATH": os.environ["PATH"]}
        gunicorn = environment("servers", SERVERS) / "bin" / "gunicorn"
        port = free_port()
        self.children = [
            Child(
                "gunicorn",
                [
                    *(str(gunicorn), "--bind", f"unix:{directory}/gunicorn.sock"),
                    *("--threads", "8", "--forwarded-allow-ips", "*"),
                    *("--chdir", str(APPLICATIONS), "portal_app:application"),
                ],
                {**bare, "PORTAL_READS": f"{directory}/datasets/reads.bam"},
                directory,
            ),
            Child(
                "tus",
                [
                    *("node", str(tus_server() / "tus_server.mjs"), str(port)),
                    *(f"{directory}/uploads", "yes" if keeps_uploads else "no"),
                ],
                bare,
                directory,
            ),
        ]
        self.proxy = Proxy(directory, CONFIGURATION.format(directory=directory, tus=port))

    def upload(self, file: Path, piece: int) -> dict[str, Any]:
        """Upload by tuspy."""
        python = environment("tus", TUS_CLIENT) / "bin" / "python"
        done = subprocess.run(
            [
                *(str(python), str(APPLICATIONS / "tus_client.py")),
                *(self.proxy.origin + UPLOADS + "/", str(file), str(piece)),
            ],
            env={"PATH": os.environ["PATH"], "REQUESTS_CA_BUNDLE": str(self.proxy.certificate)},
            check=True,
            capture_output=True,
            text=True,
        )
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def uploaded(self, told: dict[str, Any]) -> Path:
        """Where the server has put it."""
        return self.directory / "uploads" / str(told["url"]).rpartition("/")[2]

    def stop(self) -> None:
        assert self.proxy.child.stop() == 0, self.proxy.child.log_tail()
        for child in self.children:
            child.stop()


@contextmanager
def hosting(**options: bool) -> Iterator[Host]:
    """A host for as long as it is wanted."""
    with tempfile.TemporaryDirectory(prefix="host-") as directory:
        running = Host(Path(directory), **options)
        yield running
        running.stop()


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with hosting() as running:
        yield running


@pytest.fixture
def page(host: Host, tmp_path: Path) -> Iterator[Page]:
    trusted = f"--ignore-certificate-errors-spki-list={host.proxy.spki_hash()}"
    with chromium(tmp_path / "profile", trusted) as context:
        context.set_default_timeout(PATIENCE)
        yield context.new_page()


LISTEN = """silence => new Promise((ended, failed) => {
    const heard = [], began = performance.now(), source = new EventSource("/events?" + silence);
    source.onmessage = event => {
        heard.push([event.data, performance.now() - began]);
        if (event.data === "ended") { source.close(); ended(heard); }
    };
    source.onerror = () => failed(new Error("broken off after " + JSON.stringify(heard)));
})"""
READ = """async ranges => {
    const read = [];
    for (const range of ranges) {
        const answer = await fetch("/reads.bam", { headers: { Range: "bytes=" + range } });
        const digest = await crypto.subtle.digest("SHA-256", await answer.arrayBuffer());
        const hex = [...new Uint8Array(digest)].map(b => b.toString(16).padStart(2, "0")).join("");
        read.push([answer.status, answer.headers.get("Content-Range"), hex]);
    }
    return read;
}"""


def test_the_whole_host_in_a_browser(host: Host, lab: Lab, page: Page) -> None:
    page.goto(host.proxy.origin + "/")
    heading = page.locator("h1")
    assert heading.evaluate("each => getComputedStyle(each).color") == "rgb(1, 2, 3)"

    # A genome browser reads a BAM file from its index on: here and there, many at a time.
    starts = [0, 4096, 65_535, MIB, 3 * MIB - 1000]
    read = page.evaluate(READ, [f"{start}-{start + 65535}" for start in starts])
    for start, (status, where, digest) in zip(starts, read, strict=True):
        part = host.reads[start : start + 65536]
        assert (status, digest) == (206, hashlib.sha256(part).hexdigest())
        assert where == f"bytes {start}-{start + len(part) - 1}/{len(host.reads)}"

    page.locator("input[name=said]").fill("grüße & <b>")
    page.locator("button").click()
    expect(page.locator("#said")).to_have_text("grüße & ")

    # The notebook beside it, at the same name.
    owner = Client(host.proxy.origin, lab.base_url, tls=host.proxy.client_tls(), token=lab.token)
    name = f"{uuid.uuid4().hex}.ipynb"
    save_notebook(owner, name)
    page.goto(owner.url(f"lab/tree/{name}?token={lab.token}"))
    wait_for_kernel(page)
    assert run_cell(page, "print(6 * 7)") == "42"
    owner.close()


@pytest.mark.parametrize("silence", [3, pytest.param(70, marks=pytest.mark.soak)])
def test_events_after_a_silence(host: Host, page: Page, silence: int) -> None:
    page.goto(host.proxy.origin + "/")
    begun, ended = page.evaluate(LISTEN, silence)
    assert (begun[0], ended[0]) == ("begun", "ended")
    # Kept back, the first would come with the second.
    assert begun[1] < silence * 1000 <= ended[1]


@pytest.mark.parametrize(
    "size",
    [
        32 * MIB,
        # Sparse, so that it takes no room to read; the server writes what it gets.
        pytest.param(4096 * MIB, marks=pytest.mark.soak),
    ],
)
def test_an_upload_by_tus(host: Host, tmp_path: Path, size: int) -> None:
    file = tmp_path / "reads.bam"
    with file.open("wb") as writing:
        writing.write(os.urandom(MIB))
        writing.truncate(size)
    told = host.upload(file, size // 4)
    assert told["resumed"] == size // 4
    assert told["url"].startswith(host.proxy.origin + UPLOADS + "/")
    print(f"tus: {size / told['seconds'] / 1e6:.0f} MB/s")
    there = host.uploaded(told)
    with file.open("rb") as one, there.open("rb") as other:
        assert hashlib.file_digest(one, "sha256").digest() == (
            hashlib.file_digest(other, "sha256").digest()
        )
    there.unlink()


@pytest.mark.soak
def test_fifty_gigabytes_by_tus(tmp_path: Path) -> None:
    """As much as Galaxy takes at once. What comes is counted and not kept."""
    size, piece = 50 * 10**9, 64 * MIB
    file = tmp_path / "reads.bam"
    with file.open("wb") as writing:
        writing.truncate(size)
    with hosting(keeps_uploads=False) as host:
        memory = Memory(host.proxy.child.pid)
        told = host.upload(file, piece)
        assert told["resumed"] == piece
        growth = memory.growth()
        print(f"tus: {size / told['seconds'] / 1e6:.0f} MB/s; grew by {growth / MIB:.1f} MiB")
        assert growth < 16 * MIB
