"""Connections of clients, and the requests on them."""
