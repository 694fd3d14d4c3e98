"""Many small cases within one test: a test of its own for each would cost more than what it checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def case(name: object) -> Iterator[None]:
    """What fails in the block names the case."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"in the case: {name}")
        raise
