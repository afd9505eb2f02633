"""Translates Apache's configuration for ``ipyproxy import-apache``."""
