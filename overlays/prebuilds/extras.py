"""The extras of the distribution: checks if they are installed, and names the remedy if not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

EXTRAS = {
    "cli": ("click", "rich", "dateutil", "yaml", "tzdata"),
    "emulator": ("starlette", "uvicorn", "httptools", "pydantic", "google.protobuf"),
    "otel": ("opentelemetry",),
    "contract": ("pydantic", "schemathesis", "hypothesis", "pytest"),
}
"""The modules that each extra installs."""


def missing_extras(extras: Iterable[str]) -> list[str]:
    """The given extras that are not installed completely."""
    return [extra for extra in extras if not all(map(_is_installed, EXTRAS[extra]))]


def how_to_install(extras: Sequence[str], what: str) -> str:
    """One line that names the extras that `what` needs, and how to install them."""
    names = " and ".join(f'"{extra}"' for extra in extras)
    noun = "extra" if len(extras) == 1 else "extras"
    return f"{what} needs the {names} {noun}: pip install 'prebuilds[{','.join(extras)}]'"


def load(module: str, extra: str) -> ModuleType:
    """Import a module that needs an extra.

    Raises:
        ImportError: the extra is not installed; the message explains how to install it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        missing = missing_extras([extra])
        if not missing:
            raise
        what = ".".join(module.split(".")[:2])
        raise ImportError(how_to_install(missing, what), name=error.name) from error


def _is_installed(module: str) -> bool:
    # The module is located, not imported: an ImportError inside a module is a fault, not a missing extra.
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the parent package is there
        return False
