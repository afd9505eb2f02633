"""Tells twistd of ipyproxy. Knows names only: twistd imports this whenever it starts."""

from twisted.application.service import ServiceMaker

ipyproxy = ServiceMaker(
    "ipyproxy",
    "ipyproxy.tap",
    "Carries browsers over HTTPS to the notebook servers of this host.",
    "ipyproxy",
)
