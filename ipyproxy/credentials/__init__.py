"""Who sent a request, decided from its bytes alone: rules, passwords' envelopes, links, subjects.

Pure: no file, no clock, no network. What has to be asked for is :mod:`ipyproxy.auth`'s.
"""
