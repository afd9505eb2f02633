"""The stock ``twisted.web.proxy.ReverseProxyResource`` with TLS, as a peer.

``python -m benchmarks.stock_twisted PORT CERTIFICATE KEY ACCESS_LOG UPSTREAM_PORT...``
"""

# mypy: disallow-untyped-calls=False

from __future__ import annotations

import sys

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import react
from twisted.web.proxy import ReverseProxyResource
from twisted.web.resource import Resource
from twisted.web.server import Site


async def main(
    reactor: IReactorCore, port: str, certificate: str, key: str, access_log: str, *upstreams: str
) -> None:
    root, ipython = Resource(), Resource()
    root.putChild(b"ipython", ipython)
    for upstream in upstreams:
        path = f"/ipython/{upstream}".encode()
        ipython.putChild(upstream.encode(), ReverseProxyResource("127.0.0.1", int(upstream), path))
    tls = f"ssl:{port}:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    await serverFromString(reactor, tls).listen(Site(root, logPath=access_log.encode()))
    await Deferred[None]()  # until it is told to stop


if __name__ == "__main__":
    react(lambda reactor, *words: Deferred.fromCoroutine(main(reactor, *words)), sys.argv[1:])
