"""WsgiDAV over a directory, open to everybody."""

from __future__ import annotations

import sys

from cheroot.wsgi import Server
from wsgidav.wsgidav_app import WsgiDAVApp

if __name__ == "__main__":
    port, directory = int(sys.argv[1]), sys.argv[2]
    share = f"/ipython/{port}"
    configuration = {
        "provider_mapping": {share: directory},
        "simple_dc": {"user_mapping": {"*": True}},
        "http_authenticator": {"domain_controller": None},
    }
    Server(("127.0.0.1", port), WsgiDAVApp(configuration)).start()
