"""Carries a request from the client to the upstream, and the answer back."""
