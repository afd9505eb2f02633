"""Routes to containers of this host, from the containers' labels (Docker, Podman).

Loaded only if ``containers.socket`` names an engine. From the bottom up: :mod:`labels` parses the
engine's description of a container (pure), :mod:`engine` queries the engine, and :mod:`watcher`
keeps the routes up to date. Knows nothing of how a route is served, or of the configuration.
"""
