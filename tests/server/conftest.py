"""Houses: a server whose site answers every request, and one whose site leaves it to the test."""

from __future__ import annotations

import pytest

from tests.front import House
from tests.server.answers import say_yes


@pytest.fixture
def house() -> House:
    made = House()
    made.desk.answer = say_yes
    return made


@pytest.fixture
def quiet() -> House:
    """A house whose site answers only when the test does."""
    return House()
