"""Bytes on sockets: descriptors, streams, listeners, dialling. Knows nothing of HTTP."""
