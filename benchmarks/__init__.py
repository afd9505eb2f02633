"""ipyproxy side by side with the proxies that could stand in its place: ``python -m benchmarks``.

Nothing here is installed with ipyproxy. What must be on the machine is told in README.md.
"""
