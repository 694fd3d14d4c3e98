"""Runs the test of a failure against a server in this process, whose time passes as the test waits."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from prebuilds.contract import runner
from prebuilds.contract.transports import AsgiTransport

from .measure import COST, SPEED
from .mutants.base import TOKEN, Server


def fails(text: str, server: Server) -> bool:
    """Whether the test fails, which means that it shows the failure."""
    transport = AsgiTransport(server.app)
    waited = 0.0

    def sleep(seconds: float) -> None:
        nonlocal waited
        waited += seconds
        server.clock.advance(seconds * SPEED)

    def clock() -> float:
        nonlocal waited
        waited += COST
        return waited

    names: dict[str, Any] = {}
    inside = partial(runner.run, transport=transport, sleep=sleep, clock=clock)
    with (
        mock.patch.object(runner, "run", inside),
        mock.patch.dict("os.environ", {"TOKEN": TOKEN}),
        tempfile.TemporaryDirectory() as folder,
    ):
        try:
            exec(compile(text, "test_failure.py", "exec"), names)
            test = next(value for name, value in names.items() if name.startswith("test_"))
            test(Path(folder))
        except AssertionError:
            return True
        finally:
            transport.close()
    return False
