"""Monitoring: the status page, the same as JSON, metrics, and health endpoints.

It reads the counters of the other components, and only when somebody looks.
"""
