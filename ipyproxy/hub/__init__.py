"""The proxy of a JupyterHub: the REST API by which the hub says where its users' servers are.

It stands in for configurable-http-proxy, whose wire this speaks.
"""
