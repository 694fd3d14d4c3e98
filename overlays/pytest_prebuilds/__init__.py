"""Fixtures of pytest for code that uses the PrebuildService.

`prebuild_emulator` is an emulator within the process, new for each test; `prebuild_emulator_server` is one on a
socket, started once and reset for each test. A fault that was planned and that no call has met fails the test.

The marker `prebuild_emulator` sets further options for a test:

    @pytest.mark.prebuild_emulator(strict_projects=True, unused_faults=True)

The contract tests of a server, `--prebuilds-contract-url` among them, are in `pytest_prebuilds.contract`.

Every run of pytest imports this module if it is installed, so it loads nothing before a test requests a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from prebuilds.emulator import EmulatorServer, FaultState, ManualClock, Plan
    from prebuilds.emulator.server import Options

    from .emulators import PrebuildEmulator, PrebuildEmulatorServer

__all__ = ["PrebuildEmulator", "PrebuildEmulatorServer", "prebuild_emulator", "prebuild_emulator_server"]

pytest_plugins = ("pytest_prebuilds.contract",)

MARKER = "prebuild_emulator"

_MARKER_HELP = (
    "prebuild_emulator(plan=None, strict_projects=False, relaxed_ids=False, projects=(), unused_faults=False): "
    "what the emulators of a test are like; with unused_faults=True, faults that no call has met are no failure"
)


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the marker."""
    config.addinivalue_line("markers", _MARKER_HELP)


def __getattr__(name: str) -> Any:
    if name in ("PrebuildEmulator", "PrebuildEmulatorServer"):
        from . import emulators

        return getattr(emulators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@pytest.fixture
def prebuild_emulator(request: pytest.FixtureRequest) -> Iterator[PrebuildEmulator]:
    """An emulator of the PrebuildService in this process, without a socket, new for this test."""
    wanted = _Wanted(request)
    from .emulators import PrebuildEmulator

    with PrebuildEmulator(plan=wanted.plan, options=wanted.options) as emulator:
        yield emulator
        wanted.check(emulator.pending_faults())


@pytest.fixture
def prebuild_emulator_server(
    request: pytest.FixtureRequest, _prebuild_emulator_servers: _Servers
) -> Iterator[PrebuildEmulatorServer]:
    """An emulator of the PrebuildService on a socket, as new for this test."""
    wanted = _Wanted(request)
    from .emulators import PrebuildEmulatorServer

    server, clock = _prebuild_emulator_servers.get(wanted.plan, wanted.options)
    with PrebuildEmulatorServer(server, clock) as emulator:
        emulator.control.reset()
        yield emulator
        wanted.check(emulator.pending_faults())


@pytest.fixture(scope="session")
def _prebuild_emulator_servers() -> Iterator[_Servers]:
    servers = _Servers()
    yield servers
    servers.close()


class _Wanted:
    """The options in the marker of a test."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        try:
            from prebuilds.emulator.server import Options
        except ImportError as error:
            pytest.fail(f"this fixture needs the extra: pip install 'prebuilds[emulator]' ({error})", pytrace=False)
        given: dict[str, Any] = {}
        for marker in reversed(list(request.node.iter_markers(MARKER))):  # the closest to the test counts most
            if marker.args:
                pytest.fail(f"the marker {MARKER} takes keywords only", pytrace=False)
            given |= marker.kwargs
        self.plan: Plan | None = given.pop("plan", None)
        self._unused_faults = bool(given.pop("unused_faults", False))
        known = ("strict_projects", "relaxed_ids", "projects")
        unknown = sorted(given.keys() - set(known))
        if unknown:
            names = ", ".join(("plan", *known, "unused_faults"))
            pytest.fail(f"the marker {MARKER} does not know {', '.join(unknown)}: it takes {names}", pytrace=False)
        if "projects" in given:
            given["projects"] = tuple(given["projects"])
        self.options: Options = Options(**given)

    def check(self, pending: list[FaultState]) -> None:
        """Fail a test some of whose faults were not met, unless it expects that."""
        if not pending or self._unused_faults:
            return
        lines = [
            f"  fault {state.id}: {state.fault!r} met {state.consumed} of {state.fault.times or 'any'} calls"
            for state in pending
        ]
        pytest.fail(
            "planned faults that not enough calls have met, so that the test did not show what it was to show:\n"
            + "\n".join(lines)
            + f"\nIf that is as it should be: @pytest.mark.{MARKER}(unused_faults=True)",
            pytrace=False,
        )


class _Servers:
    """The servers of this session, one for each set of options that tests ask for."""

    def __init__(self) -> None:
        self._started: list[tuple[tuple[Plan | None, Options], EmulatorServer, ManualClock]] = []

    def get(self, plan: Plan | None, options: Options) -> tuple[EmulatorServer, ManualClock]:
        for wanted, server, clock in self._started:
            if wanted == (plan, options):
                return server, clock
        from prebuilds.emulator import EmulatorServer, ManualClock

        clock = ManualClock()
        server = EmulatorServer(clock=clock, plan=plan, options=options)
        server.__enter__()
        self._started.append(((plan, options), server, clock))
        return server, clock

    def close(self) -> None:
        for _, server, _ in self._started:
            server.__exit__(None, None, None)
