"""Sends files of this host: static directories, and files that an application names."""
