"""Many small cases within one test: a test of its own for each would cost more than what it checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings


@contextmanager
def case(name: object) -> Iterator[None]:
    """What fails in the block names the case."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"in the case: {name}")
        raise


def drawn(*strategies: Any, quick: int = 40, full: int = 2000) -> Callable[[Callable[..., None]], Any]:
    """A campaign whose cases are drawn from strategies of Hypothesis."""

    def decorate(test: Callable[..., None]) -> Any:
        @pytest.mark.campaign(quick=quick, full=full)
        def run(size: int) -> None:
            # How long a case takes depends on how busy the machine is.
            unhurried = settings(max_examples=size, deadline=None, suppress_health_check=[HealthCheck.too_slow])
            unhurried(given(*strategies)(test))()

        run.__name__ = test.__name__
        return run

    return decorate
