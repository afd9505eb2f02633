"""The command line of ``twistd ipyproxy``: what it leaves behind when it ends the process."""

from __future__ import annotations

import pytest

from ipyproxy.tap import Options


class Told:
    """What a command line that ends the process leaves behind."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        with pytest.raises(SystemExit) as caught:
            Options().parseOptions(list(arguments))
        self.status = caught.value.code
        self.out, self.err = capsys.readouterr()

    def __eq__(self, other: object) -> bool:
        return (self.status, self.out, self.err) == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr((self.status, self.out, self.err))
