"""Authentication: the methods that find out who sent a request, and the gate that calls them."""

from ipyproxy.auth.gate import Gate, Method
from ipyproxy.auth.memory import InMemory

__all__ = ["Gate", "InMemory", "Method"]
