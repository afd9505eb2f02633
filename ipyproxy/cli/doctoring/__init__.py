"""Looks at a notebook as the proxy meets it, and says what would go wrong and how to mend it."""
