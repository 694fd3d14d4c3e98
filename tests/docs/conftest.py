"""A reader of the documentation, in an empty folder, with an emulator whose time passes when a sample sleeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import prebuilds.client
import prebuilds.emulator
from prebuilds.emulator import EmulatorServer
from tests.cli.conftest import Run, Service, cli, service, shared

from .reader import Reader

__all__ = ["cli", "service", "shared"]


@pytest.fixture
def reader(service: Service, cli: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Reader:
    """All clients and emulators that the reader starts live in the time of `service`."""

    def emulator(**options: Any) -> EmulatorServer:
        if "clock" not in options:
            options = {name: value for name, value in options.items() if name != "speed"} | {"clock": service.clock}
        return EmulatorServer(**options)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prebuilds.client, "Runtime", lambda: service.runtime)
    monkeypatch.setattr(prebuilds.emulator, "EmulatorServer", emulator)
    return Reader(service, cli, monkeypatch)
