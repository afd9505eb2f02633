"""Content codings (RFC 9110 section 8.4): which answers are compressed, and which are cached."""
