"""Data outside of this process that is read again and again, and may be away at times."""
