"""Content codings (RFC 9110 section 8.4): what is compressed for a client, and what is kept."""
