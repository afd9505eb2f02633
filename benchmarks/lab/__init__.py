"""Opening JupyterLab in a browser over a slow line, through each proxy in turn."""
