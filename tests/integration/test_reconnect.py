"""Open pages in Chromium while what serves them ends: output goes on, and nobody reloads.

A page connects again after a connection that just ended, as a stopped nginx ends it. JupyterLab
from 4.6 and Notebook from 7.6 do not after a close frame with 1000 or 1001, older ones after none.
``docs/bridge.md`` has the outcome as a table; the long form has all pages, through nginx too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .nginx import NGINX, Nginx
from .proxy import Front
from .scene import CLASSIC, LAB, LAB_4_5, NOTEBOOK_5, NOTEBOOK_7, Program, Scene, ipyproxy

pytestmark = pytest.mark.integration

PROGRAMS = {
    "lab": LAB,
    "lab45": LAB_4_5,
    "notebook7": NOTEBOOK_7,
    "nbclassic": CLASSIC,
    "notebook5": NOTEBOOK_5,
}
each_program = pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
each_front = pytest.mark.parametrize(
    "front", [ipyproxy, pytest.param(Nginx, marks=needs_nginx)], ids=["ipyproxy", "nginx"]
)

Start = Callable[[Path], Front]
Happening = Callable[[Scene], None]


def goes_on(scene: Scene, happens: Happening) -> None:
    """A cell prints all the while, and its page misses none of it."""
    scene.count()
    scene.wait_for(5)
    happens(scene)
    scene.wait_for(max(scene.numbers()) + 15)


def comes_back(scene: Scene) -> None:
    """A server is started again; the page is of use with the new one, without a reload."""
    scene.count()
    scene.wait_for(5)
    scene.kill_notebook()
    scene.work_on()


@pytest.mark.parametrize("happens", [Scene.hand_over, Scene.pause])
def test_a_cell_goes_on_to_print(tmp_path: Path, happens: Happening) -> None:
    with Scene(LAB, tmp_path) as scene:
        goes_on(scene, happens)


@pytest.mark.parametrize("program", [LAB, NOTEBOOK_5], ids=["lab", "notebook5"])
def test_a_restart_of_the_proxy_loses_no_kernel(tmp_path: Path, program: Program) -> None:
    with Scene(program, tmp_path) as scene:
        goes_on(scene, Scene.restart)


@needs_nginx
def test_a_restart_of_nginx_loses_none_either(tmp_path: Path) -> None:
    """What comes back through nginx comes back through us: this is what we are measured by."""
    with Scene(LAB, tmp_path, Nginx) as scene:
        goes_on(scene, Scene.restart)


def test_a_page_works_with_a_notebook_that_was_started_again(tmp_path: Path) -> None:
    with Scene(LAB, tmp_path) as scene:
        comes_back(scene)


@pytest.mark.soak
@each_front
@each_program
@pytest.mark.parametrize(
    "happens", [Scene.restart, Scene.hand_over, Scene.kill, Scene.pause_for_long]
)
def test_each_goes_on_whatever_happens(
    tmp_path: Path, program: Program, front: Start, happens: Happening
) -> None:
    with Scene(program, tmp_path, front) as scene:
        goes_on(scene, happens)


@pytest.mark.soak
@each_front
@each_program
def test_each_works_with_a_notebook_that_was_started_again(
    tmp_path: Path, program: Program, front: Start
) -> None:
    with Scene(program, tmp_path, front) as scene:
        comes_back(scene)


def test_a_terminal_is_the_same_after_a_restart(tmp_path: Path) -> None:
    """What is typed reaches the same shell."""
    with Scene(NOTEBOOK_7, tmp_path) as scene:
        client = scene.client()
        name = client.request("POST", "api/terminals", json={}).json()["name"]
        client.close()
        scene.open(f"terminals/{name}")
        before = scene.shell()
        scene.restart()
        assert scene.shell() == before


def test_a_terminal_in_jupyterlab_is_the_same_after_a_restart(tmp_path: Path) -> None:
    with Scene(LAB, tmp_path) as scene:
        scene.open("lab")
        scene.page.locator(".jp-LauncherCard[title='Start a new terminal session']").click()
        before = scene.shell()
        scene.restart()
        assert scene.shell() == before
