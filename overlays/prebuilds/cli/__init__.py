"""The command `prebuilds`.

This module needs no extra, so that it can name the missing ones. The commands themselves are in `app`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from prebuilds.extras import how_to_install, missing_extras

__all__ = ["main"]

USAGE = 2
"""The exit code for a command with invalid arguments."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command (by default the command in `sys.argv`) and return its exit code.

    The code is 0 on success, 1 if the command failed, and 2 if its arguments are invalid or it needs an extra that is
    not installed.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    missing = missing_extras(["cli", *(name for name in ("emulator", "contract") if arguments[:1] == [name])])
    if missing:
        print(f"prebuilds: {how_to_install(missing, 'this command')}", file=sys.stderr)
        return USAGE
    from prebuilds.cli.app import run

    return run(arguments)
