"""The proxy of a JupyterHub: serves the REST API by which the hub sets the routes to its servers.

It replaces configurable-http-proxy and has the same API.
"""
