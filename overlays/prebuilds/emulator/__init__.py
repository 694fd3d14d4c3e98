"""A local emulator of the PrebuildService, for development, tests and demos.

`EmulatorServer` serves it on a socket of this process, `InProcessEmulator` without one. Time is a `Clock`:
`ScaledClock` speeds real time up, `ManualClock` is moved by hand. `Plan` says how long everything takes, `Outcome` what
comes of a prebuild. `EmulatorControl` arranges all that in an emulator that runs, and faults as well.
"""

from .app import create_app
from .auth import Tokens
from .clock import Clock, ManualClock, ScaledClock
from .control import ControlError
from .control_client import EmulatorControl
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
from .lifecycle import Plan
from .outcomes import Outcome
from .projects import Executor, PrebuildConfiguration, Project
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
