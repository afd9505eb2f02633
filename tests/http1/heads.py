"""Heads as a parser takes or refuses them."""

from __future__ import annotations

import pytest

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.head import HeadLimits, RequestHead, ResponseHead, parse_request, parse_response

LIMITS = HeadLimits()


def request(*lines: bytes) -> RequestHead:
    return parse_request(b"\r\n".join(lines), LIMITS)


def response(*lines: bytes) -> ResponseHead:
    return parse_response(b"\r\n".join(lines))


def refusal_of(block: bytes, limits: HeadLimits = LIMITS) -> Problem:
    with pytest.raises(ProxyError) as caught:
        parse_request(block, limits)
    return caught.value.problem
