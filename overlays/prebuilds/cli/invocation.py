"""The invocation of the program."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from prebuilds.flows.effects import Runtime


class Invocation(NamedTuple):
    """The object of click's context."""

    arguments: tuple[str, ...]
    runtime: Runtime | None
    """Time and chance; None for the real ones."""


def invocation() -> Invocation:
    """The invocation of the program."""
    found: Invocation = click.get_current_context().obj
    return found
