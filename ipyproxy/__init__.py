"""ipyproxy: carries browsers over HTTPS to the notebook servers of one host."""

__version__ = "0.1.0"
