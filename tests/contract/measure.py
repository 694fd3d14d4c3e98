"""Runs of the kit against servers in this process, whose time passes only as the kit lets it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from prebuilds.contract.runner import Options, Report, run
from prebuilds.contract.session import Session
from prebuilds.contract.transports import AsgiTransport

from .mutants.base import TOKEN, Server

LAYERS = ("probes", "lifecycle", "machine", "schemathesis")

SPEED = 60.0
"""So many emulated seconds pass in one second that the kit waits."""

COST = 0.001
"""Seconds that a look at the clock takes."""

LONGEST = 60.0
"""After so many seconds, waited and counted, a run ends."""

_LOOK = 20


def run_kit(
    make: Callable[[], Server],
    *,
    seed: int = 0,
    layers: Sequence[str] = LAYERS,
    assumptions: bool = True,
    until_broken: bool = False,
) -> Report:
    """Run the kit against a new server.

    Args:
        make: makes the server.
        seed: the seed.
        layers: the layers to run.
        assumptions: whether assumptions about the service are held against the server.
        until_broken: whether the run ends soon after something was found, as its time were over then.
    """
    server = make()
    transport = AsgiTransport(server.app)
    waited = 0.0
    found = False

    def clock() -> float:
        # Requests take their time as well, always the same, so that a run against a server that is broken ends.
        nonlocal waited
        waited += COST
        return waited + LONGEST if found else waited

    def sleep(seconds: float) -> None:
        nonlocal waited
        waited += seconds
        server.clock.advance(seconds * SPEED)

    def look(session: Session) -> None:
        nonlocal found
        if until_broken and not found and len(session.log) % _LOOK == 0:
            found = any(failure.property.level == "MUST" for failure in session.findings.failures)

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
            return run(options, transport=transport, sleep=sleep, clock=clock, on_progress=look)
    finally:
        transport.close()
        server.close()


def alarms(report: Report) -> list[str]:
    """What a run says is broken."""
    return [f"{result.property.name} {result.method}: {result.why}" for result in report.broken]
