"""ipyproxy: an HTTPS reverse proxy for the notebook servers of one host."""

__version__ = "0.1.0"
