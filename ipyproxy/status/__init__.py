"""Seeing what goes on: the status page, the same as JSON, metrics, and whether all is well.

It reads what the other components count anyway. Nothing is added up before somebody looks.
"""
