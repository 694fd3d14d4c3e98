"""A local emulator of the PrebuildService, for development, tests and demos.

`EmulatorServer` serves it on a socket of this process, `InProcessEmulator` without one. Time is a `Clock`:
`ScaledClock` speeds real time up, `ManualClock` is moved by hand. `Plan` says how long everything takes, `Outcome` what
comes of a prebuild. `EmulatorControl` arranges all that in an emulator that runs, and faults as well.
"""

from typing import TYPE_CHECKING, Any

from prebuilds.extras import load

if TYPE_CHECKING:
    from .app import create_app
    from .auth import Tokens
    from .clock import Clock, ManualClock, ScaledClock
    from .control import ControlError
    from .control_client import EmulatorControl
    from .declarations import Executor, Outcome, Plan, PrebuildConfiguration, Project
    from .errors import ConnectCode
    from .faults import (
        DropFault,
        ErrorFault,
        FaultState,
        HtmlFault,
        LatencyFault,
        RepeatTokenFault,
        SlowFault,
        StatusFault,
        TruncateFault,
    )
    from .in_process import InProcessEmulator
    from .recording import RequestRecord
    from .server import EmulatorServer, Options
    from .service import PrebuildService
    from .store import Store, StoreError

__all__ = [
    "Clock",
    "ConnectCode",
    "ControlError",
    "DropFault",
    "EmulatorControl",
    "EmulatorServer",
    "ErrorFault",
    "Executor",
    "FaultState",
    "HtmlFault",
    "InProcessEmulator",
    "LatencyFault",
    "ManualClock",
    "Options",
    "Outcome",
    "Plan",
    "PrebuildConfiguration",
    "PrebuildService",
    "Project",
    "RepeatTokenFault",
    "RequestRecord",
    "ScaledClock",
    "SlowFault",
    "StatusFault",
    "Store",
    "StoreError",
    "Tokens",
    "TruncateFault",
    "create_app",
]

# Where the names come from. Each is loaded when it is first used: the program needs few of them.
_HOMES = {
    "app": ("create_app",),
    "auth": ("Tokens",),
    "clock": (
        "Clock",
        "ManualClock",
        "ScaledClock",
    ),
    "control": ("ControlError",),
    "control_client": ("EmulatorControl",),
    "declarations": (
        "Executor",
        "Outcome",
        "Plan",
        "PrebuildConfiguration",
        "Project",
    ),
    "errors": ("ConnectCode",),
    "faults": (
        "DropFault",
        "ErrorFault",
        "FaultState",
        "HtmlFault",
        "LatencyFault",
        "RepeatTokenFault",
        "SlowFault",
        "StatusFault",
        "TruncateFault",
    ),
    "in_process": ("InProcessEmulator",),
    "recording": ("RequestRecord",),
    "server": (
        "EmulatorServer",
        "Options",
    ),
    "service": ("PrebuildService",),
    "store": (
        "Store",
        "StoreError",
    ),
}


def __getattr__(name: str) -> Any:
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(load(f"{__name__}.{home}", "emulator"), name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
