"""Compiles what every request and every message passes through, where that is asked for.

``IPYPROXY_COMPILE=1 pip install .`` takes a C compiler and Python's headers, and makes these
modules about twice as fast by themselves. They are plain Python, and without it they stay so. All
else about the package is in setup.cfg.
"""

from __future__ import annotations

import os
import sys
from configparser import ConfigParser
from typing import Any

from setuptools import setup

COMPILED = (
    "access/origins", "encoding/compression", "encoding/store", "gateway/exchange",
    "gateway/resource", "gateway/tools", "gateway/websocket", "http/answers",
    "http/forwarding", "http/rewriting",
    "http1/framing", "http1/head", "http1/lines", "http1/memory", "net/descriptors",
    "net/handshake", "net/hosts", "net/openssl", "net/pace", "net/protocol", "net/tcp",
    "net/tls", "net/tlsclient",
    "records/accesslog", "records/logwriter", "records/recorder", "records/statistics",
    "routes/notebooks", "routes/table", "server/channel", "server/clients", "server/http1",
    "server/phases", "server/request", "server/server", "server/site",
    "upstream/connection", "upstream/health", "upstream/places", "upstream/pool",
    "upstream/states", "upstream/tenancy", "upstream/upstream", "upstream/watch", "web/site",
    "websocket/bridge", "websocket/frames", "websocket/states",
)  # fmt: skip


def compiling() -> dict[str, Any]:
    """What setuptools is to know so that these modules are compiled by mypyc."""
    metadata = ConfigParser()
    metadata.read("setup.cfg")
    # mypyc reads the types of what is imported.
    needed = metadata["options"]["install_requires"].split()
    if not {"bdist_wheel", "build_ext"} & set(sys.argv):
        # It is asked what building takes, or what there is.
        return {"setup_requires": ["mypy>=2.4,<3", "mypy-zope>=1.0.17", *needed]}
    from mypyc.build import mypycify

    paths = [f"ipyproxy/{name}.py" for name in COMPILED]
    return {"ext_modules": mypycify(paths, opt_level="3", debug_level="0", group_name="ipyproxy")}


setup(**compiling() if os.environ.get("IPYPROXY_COMPILE") == "1" else {})
