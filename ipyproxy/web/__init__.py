"""The Resource tree of the public paths, and the proxy's own pages."""
