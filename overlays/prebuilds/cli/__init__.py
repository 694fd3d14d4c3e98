"""The command `prebuilds`.

This module needs no extra: it is what tells a person which one to install. The commands themselves
are in `app`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec

__all__ = ["main"]

EXTRAS = {
    "cli": ("click", "rich", "dateutil", "yaml", "tzdata"),
    "emulator": ("starlette", "uvicorn", "httptools", "pydantic", "google.protobuf"),
    "contract": ("pydantic", "schemathesis", "hypothesis", "pytest"),
}
"""The modules that each extra of the distribution brings."""

USAGE = 2
"""The exit code for a command that cannot be carried out as it was asked for."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command (by default that of `sys.argv`) and return its exit code.

    The code is 0 on success, 1 when the command failed, and 2 when it was asked for wrongly or
    needs an extra that is not installed.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    missing = missing_extras(["cli", *(name for name in ("emulator", "contract") if arguments[:1] == [name])])
    if missing:
        print(f"prebuilds: {how_to_install(missing)}", file=sys.stderr)
        return USAGE
    from prebuilds.cli.app import run

    return run(arguments)


def missing_extras(extras: Iterable[str]) -> list[str]:
    """Those of the given extras that are not, or not wholly, installed."""
    return [extra for extra in extras if not all(map(_is_installed, EXTRAS[extra]))]


def how_to_install(extras: Sequence[str]) -> str:
    """One line that says which extras a command needs, and how to get them."""
    names = " and ".join(f'"{extra}"' for extra in extras)
    noun = "extra" if len(extras) == 1 else "extras"
    return f"this command needs the {names} {noun}: pip install 'prebuilds[{','.join(extras)}]'"


def _is_installed(module: str) -> bool:
    # Looked for, not imported: an ImportError inside a module is a fault, not a missing extra.
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the parent package is there
        return False
