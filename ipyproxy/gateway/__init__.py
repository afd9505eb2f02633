"""Carries one request from the browser to the notebook, and the answer back."""
