"""Decisions about access from the bytes of a request alone.

Pure: no clock, no files, no network.
"""
