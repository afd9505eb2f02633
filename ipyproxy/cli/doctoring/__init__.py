"""Examines a notebook as the proxy sees it: reports problems and how to fix them."""
