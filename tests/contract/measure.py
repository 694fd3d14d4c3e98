"""Runs of the kit against servers in this process, whose time passes only as the kit lets it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from prebuilds.contract.runner import Options, Report, run
from prebuilds.contract.transports import AsgiTransport

from .mutants.base import TOKEN, Server

LAYERS = ("probes", "lifecycle", "machine", "schemathesis")

SPEED = 60.0
"""So many emulated seconds pass in one second that the kit waits."""

COST = 0.001
"""Seconds that a look at the clock takes."""

LONGEST = 60.0
"""After so many seconds, waited and counted, a run ends."""


def run_kit(
    make: Callable[[], Server], *, seed: int = 0, layers: Sequence[str] = LAYERS, assumptions: bool = True
) -> Report:
    """Run the kit against a new server."""
    server = make()
    transport = AsgiTransport(server.app)
    waited = 0.0

    def clock() -> float:
        # Requests take their time as well, always the same, so that a run against a server that is broken ends.
        nonlocal waited
        waited += COST
        return waited

    def sleep(seconds: float) -> None:
        nonlocal waited
        waited += seconds
        server.clock.advance(seconds * SPEED)

    try:
        with tempfile.TemporaryDirectory() as folder:
            options = Options(
                token=TOKEN,
                assumptions=assumptions,
                layers=layers,
                seed=seed,
                projects=server.projects,
                environment_classes=server.environment_classes,
                max_time=LONGEST,
                ledger=Path(folder, "ledger"),
            )
            return run(options, transport=transport, sleep=sleep, clock=clock)
    finally:
        transport.close()
        server.close()


def alarms(report: Report) -> list[str]:
    """What a run says is broken."""
    return [f"{result.property.name} {result.method}: {result.why}" for result in report.broken]
