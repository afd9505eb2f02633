"""Notebook servers: their health, their connections, who has their port."""
