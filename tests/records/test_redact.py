"""Secrets in addresses: none of them gets into a log."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyproxy.records import accesslog as logs
from ipyproxy.records.accesslog import redact


class TestRedact:
    @pytest.mark.parametrize(
        ("target", "expected"),
        [
            (b"/lab?token=s", b"/lab?token=REDACTED"),
            (b"/lab?TOKEN=s", b"/lab?TOKEN=REDACTED"),
            (b"/lab?token=", b"/lab?token=REDACTED"),
            (b"/lab?token=a=b==", b"/lab?token=REDACTED"),
            (b"/lab?token=a;b%26c", b"/lab?token=REDACTED"),
            (b"/lab?a=1&token=s&b=2", b"/lab?a=1&token=REDACTED&b=2"),
            (b"/lab?a=1;token=s", b"/lab?a=1;token=REDACTED"),
            (b"/lab?token=s#part", b"/lab?token=REDACTED#part"),
            (b"/lab?token=s?token=t", b"/lab?token=REDACTED"),
            (b"/x?access_token=s&id-token=t", b"/x?access_token=REDACTED&id-token=REDACTED"),
            (b"/x?_xsrf=2|s", b"/x?_xsrf=REDACTED"),
            (b"/login?password=s&passwd=t", b"/login?password=REDACTED&passwd=REDACTED"),
            (b"/x?new_password=s", b"/x?new_password=REDACTED"),
            (b"/callback?code=s&state=t", b"/callback?code=REDACTED&state=REDACTED"),
            (b"/x?X-Amz-Signature=s&sig=t", b"/x?X-Amz-Signature=REDACTED&sig=REDACTED"),
            (b"/x?api.key=s&client_secret=t", b"/x?api.key=REDACTED&client_secret=REDACTED"),
            (b"/login?next=%2Flab%3Ftoken%3Ds", b"/login?next=%2Flab%3Ftoken%3DREDACTED"),
            (
                b"/l?next=%2Flab%3fa%3d1%26token%3ds&b",
                b"/l?next=%2Flab%3fa%3d1%26token%3dREDACTED&b",
            ),
            (b"/l?n=%252Flab%253Ftoken%253Ds", b"/l?n=%252Flab%253Ftoken%253DREDACTED"),
            (b"/lab?%74oken=s&a=1", b"/lab?%74oken=REDACTED&a=1"),
            (b"/lab?access%5Ftoken=s", b"/lab?access%5Ftoken=REDACTED"),
        ],
    )
    def test_hides_the_values_of_secrets(self, target: bytes, expected: bytes) -> None:
        assert redact(target) == expected

    @pytest.mark.parametrize(
        "target",
        [
            b"",
            b"/",
            b"/ipython/10001/lab/tree/token=1",
            b"/ipython/10001/api/contents/a%3Fb.ipynb?content=0&hash=0&1700000000000",
            b"/ipython/10001/api/kernels/0f-3a/channels?session_id=0f-3a",
            b"/x?tokens=1&keyboard=2&stateful=3",
            b"/x?token",
            b"/x?q=token%20of&r=100%25",
            b"/x?a=token&b=key",
            b"/login?next=%2Fipython%2F10001%2Flab%3Freset%3D1",
            b"*",
        ],
    )
    def test_leaves_everything_else_as_it_is(self, target: bytes) -> None:
        assert redact(target) is target

    @given(
        name=st.sampled_from([b"token", b"Access_Token", b"_xsrf", b"password", b"tok%65n"]),
        before=st.from_regex(rb"(?:[a-z]{1,8}=[a-z0-9%]{0,8}&){0,3}", fullmatch=True),
        after=st.from_regex(rb"(?:&[a-z]{1,8}=[a-z0-9%]{0,8}){0,3}", fullmatch=True),
    )
    def test_hides_a_secret_wherever_it_stands(
        self, name: bytes, before: bytes, after: bytes
    ) -> None:
        target = b"/lab?" + before + name + b"=S3CRET" + after
        assert b"S3CRET" not in redact(target)

    @given(st.from_regex(rb"/[?](?:[a-z%=&;?TOKEN]|token|key|%3D|=){0,12}", fullmatch=True))
    def test_the_look_before_the_close_look_overlooks_nothing(self, target: bytes) -> None:
        assert redact(target) == target[:1] + logs._SECRET.sub(rb"\1REDACTED", target[1:])

    @pytest.mark.parametrize("unit", [b"?", b"&", b"?%", b"&%", b"%25", b"25", b"token", b"&key"])
    def test_takes_linear_time_whatever_comes(self, unit: bytes) -> None:
        started = time.process_time()
        redact(b"/?" + unit * (200_000 // len(unit)))
        assert time.process_time() - started < 2, "quadratic time would be minutes"
