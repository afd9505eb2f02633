"""Run libFuzzer on one target; what it finds interesting is kept for the next run."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ipyproxy"]):
    from fuzz.targets import TARGETS, seeds


def main() -> None:
    """Fuzz the target that the first argument names; the rest is libFuzzer's."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m fuzz {{{','.join(TARGETS)}}} [-max_total_time=60 ...]")
    name, *options = sys.argv[1:]
    corpus = Path(tempfile.gettempdir()) / "ipyproxy-fuzz" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds(name):
        (corpus / hashlib.sha256(seed).hexdigest()).write_bytes(seed)
    atheris.Setup([sys.argv[0], *options, str(corpus)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
