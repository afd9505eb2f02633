"""The composition: settings become a running service."""
