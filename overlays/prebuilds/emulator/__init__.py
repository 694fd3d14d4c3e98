"""A local emulator of the PrebuildService, for development, tests and demos.

`EmulatorServer` serves it on a socket of this process, `InProcessEmulator` without a socket. The time is a `Clock`:
`ScaledClock` accelerates real time, `ManualClock` is advanced manually. `Plan` sets the durations, `Outcome` the
outcome of a prebuild. `EmulatorControl` configures a running emulator, including its faults.
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

# The modules of the names. Each is imported on first use: the program needs few of them.
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
