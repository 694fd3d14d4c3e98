"""What the tests of the client share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .emulated import stop_emulators


@pytest.fixture(scope="session", autouse=True)
def emulators() -> Iterator[None]:
    """The emulators of `emulated` stop with the last test."""
    yield
    stop_emulators()
