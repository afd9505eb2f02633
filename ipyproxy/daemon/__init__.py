"""The composition: makes a running service from the settings."""
