"""Connections of browsers, and the requests on them."""
