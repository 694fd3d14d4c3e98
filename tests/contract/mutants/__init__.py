"""Mutants: emulators with one realistic bug each, for measuring what the contract kit finds.

`MUTANTS` has them all by name, and `README.md` says how they are used. The emulator knows nothing of them.
"""

from __future__ import annotations

from . import auth, filters, lifecycle, logs, paging, pools, tables, validation, wire
from .base import Mutant

AREAS = {
    module.__name__.rpartition(".")[2]: [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, Mutant)
        and kind.__module__ == module.__name__
        and not kind.__name__.startswith("_")
    ]
    for module in (wire, auth, validation, paging, filters, lifecycle, pools, logs, tables)
}
"""The mutants of each area."""

MUTANTS = {kind.__name__: kind for kinds in AREAS.values() for kind in kinds}
