"""The codings themselves: what goes in comes out, piece by piece and when it is flushed."""

from __future__ import annotations

import sys
from threading import Thread
from time import perf_counter

import pytest

from ipyproxy.encoding import codecs
from tests.encoding.bodies import CODINGS, decoded, decoder, script

BODY = script(300_000)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("stated", [True, False])
def test_what_goes_in_comes_out(coding: bytes, stated: bool) -> None:
    encoder = codecs.encoder(coding, len(BODY) if stated else None)
    pieces = [encoder.encode(BODY[at : at + 65536]) for at in range(0, len(BODY), 65536)]
    encoded = b"".join(pieces) + encoder.finish()
    assert decoded(coding, encoded) == BODY
    assert len(encoded) < len(BODY) / 2


@pytest.mark.parametrize("coding", CODINGS)
def test_what_is_flushed_can_be_read(coding: bytes) -> None:
    encoder, decode = codecs.encoder(coding, None), decoder(coding)
    for piece in (b"data: 1\n\n", b"data: 2\n\n", BODY[:100_000]):
        read = decode(encoder.encode(piece) + encoder.flush())
        assert read == piece


@pytest.mark.parametrize("coding", CODINGS)
def test_what_was_compressed_quickly_becomes_smaller(coding: bytes) -> None:
    encoder = codecs.encoder(coding, len(BODY))
    quick = encoder.encode(BODY) + encoder.finish()
    best = codecs.compressed_anew(coding, quick, lambda: True)
    assert best is not None
    assert len(best) < len(quick)
    assert decoded(coding, best) == BODY
    # Nothing is gained a second time.
    assert codecs.compressed_anew(coding, best, lambda: True) is None


@pytest.mark.parametrize("coding", CODINGS)
def test_it_is_given_up_when_that_is_wanted(coding: bytes) -> None:
    encoder = codecs.encoder(coding, None)
    quick = encoder.encode(BODY) + encoder.finish()
    assert codecs.compressed_anew(coding, quick, lambda: False) is None


@pytest.mark.parametrize("coding", CODINGS)
def test_a_large_body_is_left_as_it_is(coding: bytes) -> None:
    encoder = codecs.encoder(coding, None)
    quick = encoder.encode(bytes(codecs.LARGEST + 1)) + encoder.finish()
    assert codecs.compressed_anew(coding, quick, lambda: True) is None


def test_only_codings_with_a_library_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, module, None)
    assert codecs.usable((b"gzip", b"zstd", b"br")) == (b"br", b"gzip")
    assert codecs.usable(()) == ()


@pytest.mark.parametrize("coding", CODINGS)
def test_other_threads_go_on_meanwhile(coding: bytes) -> None:
    """The library lets go of the interpreter, so that a piece holds up nobody else's request."""
    body, between = script(4_000_000), False
    for _ in range(5):  # the machine may have had nothing left for this thread
        times: list[float] = []

        def encode(times: list[float] = times) -> None:
            encodes = codecs.encoder(coding, None)
            times.append(perf_counter())
            encodes.encode(body)
            times.append(perf_counter())

        thread, seen = Thread(target=encode), []
        thread.start()
        while thread.is_alive():
            seen.append(perf_counter())
        thread.join()
        began, ended = times
        # Nothing of this can have been done while the other thread waited for the interpreter.
        inner = (ended - began) / 4
        between = any(began + inner < at < ended - inner for at in seen)
        if between:
            break
    assert between
