"""ipyproxy in front of a real Jupyter, spoken to by a Python client and by a browser."""
