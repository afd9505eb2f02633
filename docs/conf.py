"""How Sphinx builds these pages: ``make docs``. They read as well where nothing builds them."""

import re
from pathlib import Path

_ROOT = Path(__file__).parents[1]

project = "ipyproxy"
author = "the ipyproxy authors"
copyright = author  # noqa: A001
release = re.search(r'__version__ = "(.*)"', (_ROOT / "ipyproxy" / "__init__.py").read_text())[1]
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"ipyproxy {release}"
# Each heading can be linked to, and each link is checked.
myst_heading_anchors = 3
nitpicky = True
# Diagrams are shown as their source where nothing draws them.
suppress_warnings = ["misc.highlighting_failure"]
