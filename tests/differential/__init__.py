"""The same bytes through ipyproxy, nginx and HAProxy side by side; a table by ``python -m``."""
