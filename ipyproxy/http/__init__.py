"""HTTP of any version: who a message comes from, and what a gateway rewrites in it."""
