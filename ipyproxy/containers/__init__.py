"""Routes to containers of this host, as their labels ask for them (Docker, Podman).

Loaded only where ``containers.socket`` names the engine. From below: :mod:`labels` reads what the
engine says of a container (pure), :mod:`engine` asks it, and :mod:`watcher` keeps the routes as the
containers are. Knows nothing of how a route is served, or of the configuration.
"""
