"""The table of routes: finds the route for a host and a path.

An exact host comes before a host with a star, and that before no host; then the longest path wins.
A look-up takes the same time with a hundred thousand routes as with one: a few steps through
dictionaries, one for each segment of the longest route on the way. Paths are compared byte for
byte; nothing is decoded.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class _Node(Generic[T]):
    """One segment of a path: the route there, and the segments below it."""

    __slots__ = ("children", "here")

    def __init__(self) -> None:
        # Most routes have no routes below them, and an empty dictionary takes 64 bytes.
        self.children: dict[bytes, _Node[T]] | None = None
        self.here: T | None = None

    def child(self, segment: bytes) -> _Node[T] | None:
        return None if self.children is None else self.children.get(segment)


class RouteTable(Generic[T]):
    """Maps hosts and paths to routes, or to anything else.

    Hosts are lower-case; ``*.`` at the beginning stands for one label, an empty host for any host.
    Paths begin with a slash and, except for ``/`` itself, end without one.
    """

    def __init__(self) -> None:
        self._anywhere: _Node[T] = _Node()
        self._hosts: dict[bytes, _Node[T]] = {}

    def put(self, host: bytes, path: bytes, what: T) -> None:
        """Put ``what`` at ``path``, for this path and all below; it replaces what was there."""
        if not host:
            node = self._anywhere
        else:
            found = self._hosts.get(host)
            node = _Node() if found is None else found
            self._hosts[host] = node
        for segment in _segments(path):
            child = node.child(segment)
            if child is None:
                child = _Node()
                if node.children is None:
                    node.children = {}
                node.children[segment] = child
            node = child
        node.here = what

    def at(self, host: bytes, path: bytes) -> T | None:
        """The entry exactly at ``host`` and ``path``; None if there is none."""
        node = self._hosts.get(host) if host else self._anywhere
        for segment in _segments(path):
            if node is None:
                return None
            node = node.child(segment)
        return None if node is None else node.here

    def remove(self, host: bytes, path: bytes) -> None:
        """Remove the entry at ``path``. Entries below stay; unused segments are freed.

        Raises KeyError if there is no entry.
        """
        top = self._hosts[host] if host else self._anywhere
        way = [top]
        segments = _segments(path)
        for segment in segments:
            child = way[-1].child(segment)
            if child is None:
                raise KeyError(path)
            way.append(child)
        if way[-1].here is None:
            raise KeyError(path)
        way[-1].here = None
        for node, parent, segment in zip(way[:0:-1], way[-2::-1], segments[::-1], strict=True):
            if node.here is not None or node.children or parent.children is None:
                break
            del parent.children[segment]
            if not parent.children:
                parent.children = None
        if host and top.here is None and not top.children:
            del self._hosts[host]

    def match(self, host: bytes, path: bytes) -> T | None:
        """The entry at ``host`` and ``path``, or the nearest one above; None if there is none."""
        if self._hosts:
            exact = self._hosts.get(host)
            if exact is not None:
                found = _nearest(exact, path)
                if found is not None:
                    return found
            dot = host.find(b".")
            starred = self._hosts.get(b"*" + host[dot:]) if dot >= 0 else None
            if starred is not None:
                found = _nearest(starred, path)
                if found is not None:
                    return found
        return _nearest(self._anywhere, path)


def _segments(path: bytes) -> list[bytes]:
    return path[1:].split(b"/") if path != b"/" else []


def _nearest(node: _Node[T], path: bytes) -> T | None:
    found = node.here
    rest, slash = path[1:], b"/"
    children = node.children
    while slash and children is not None:
        segment, slash, rest = rest.partition(b"/")
        child = children.get(segment)
        if child is None:
            break
        if child.here is not None:
            found = child.here
        children = child.children
    return found
