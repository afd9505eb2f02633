"""ipyproxy beside Apache and nginx: the same configuration, the same requests, the same answers."""
