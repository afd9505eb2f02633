"""Reads from JupyterLab's page which files it will load.

The HTML names the page's scripts. The page configuration (``federated_extensions``), a JSON text in
the page, names the extensions that are loaded first. The page's first script reads that text, so a
browser learns of the extensions only when that script has come and runs. Notebook 7 does the same.

Knows the form of the page (jupyterlab_server, ``templates/index.html``; JupyterLab,
``bootstrap.js``). Knows nothing of answers. Pure.
"""

from __future__ import annotations

import json
import re

_MOST_EXTENSIONS = 64
_SCRIPT = re.compile(rb"<script [^<>]*\bsrc=\"([^\"<>]+)\"")
_CONFIGURATION = re.compile(
    rb'<script id="jupyter-config-data" type="application/json">([^<]*)</script>'
)


def files_of(page: bytes) -> list[bytes]:
    """The addresses of the scripts that ``page`` loads first, as it spells them.

    Empty if the page is not JupyterLab's, or if its configuration is incomplete.
    """
    said = _CONFIGURATION.search(page)
    if said is None:
        return []
    try:
        extensions = _extensions_of(json.loads(said[1]))
    except (ValueError, RecursionError):
        return []
    scripts: list[bytes] = _SCRIPT.findall(page)
    return [*scripts, *extensions]


def _extensions_of(configuration: object) -> list[bytes]:
    if not isinstance(configuration, dict):
        return []
    home = configuration.get("fullLabextensionsUrl")
    extensions = configuration.get("federated_extensions")
    if not isinstance(home, str) or not isinstance(extensions, list):
        return []
    files = []
    for extension in extensions[:_MOST_EXTENSIONS]:
        if isinstance(extension, dict):
            parts = (home.rstrip("/"), extension.get("name"), extension.get("load"))
            if all(isinstance(part, str) for part in parts):
                files.append("/".join(map(str, parts)).encode())
    return files
