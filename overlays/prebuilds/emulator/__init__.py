"""A local emulator of the PrebuildService, for development, tests and demos.

`EmulatorServer` serves it on a socket of this process, `create_app` makes it an ASGI application. Time is a `Clock`:
`ScaledClock` speeds real time up, `ManualClock` is moved by hand. `Plan` says how long everything takes.
"""

from .app import create_app
from .auth import Tokens
from .clock import Clock, ManualClock, ScaledClock
from .lifecycle import Plan
from .server import EmulatorServer
from .service import PrebuildService
from .store import Store, StoreError

__all__ = [
    "Clock",
    "EmulatorServer",
    "ManualClock",
    "Plan",
    "PrebuildService",
    "ScaledClock",
    "Store",
    "StoreError",
    "Tokens",
    "create_app",
]
