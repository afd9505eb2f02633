"""Logs and figures of what has happened."""
