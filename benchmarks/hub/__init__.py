"""ipyproxy-chp beside configurable-http-proxy, doing what a JupyterHub has its proxy do."""
