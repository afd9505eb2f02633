"""How it is found out who sent a request: the methods, and the gate that asks them."""

from ipyproxy.auth.gate import Gate, Method
from ipyproxy.auth.memory import InMemory

__all__ = ["Gate", "InMemory", "Method"]
