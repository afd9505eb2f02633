"""Upstreams: their health, the connections to them, and who listens on their port."""
