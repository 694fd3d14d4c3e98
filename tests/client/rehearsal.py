"""Runs the client's logic without a network or a clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import httpx

from prebuilds.calls import Caller
from prebuilds.effects import Effect, Send, Sleep, Steps, Tell, World, run
from prebuilds.settings import DEFAULT_RETRIES, Settings

T = TypeVar("T")
Step = httpx.Response | Exception


def answer(status: int = 200, body: object = None, **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, (str, bytes)):
        return httpx.Response(status, content=body, headers=names)
    return httpx.Response(status, json={} if body is None else body, headers=names)


def error(code: str, status: int, message: str = "no", **headers: str) -> httpx.Response:
    return answer(status, {"code": code, "message": message}, **headers)


class Rehearsal:
    """Plays the world: a script of answers, a clock that only sleeping moves, no chance at all."""

    def __init__(
        self,
        script: Iterable[Step] | Callable[[float], Step],
        *,
        timeout: float | None = 60.0,
        retries: int = DEFAULT_RETRIES,
        chance: float = 1.0,
        latency: float = 0.0,
    ) -> None:
        self.script = script if callable(script) else iter(script)
        self.latency = latency
        self.time = 0.0
        self.sent: list[Send] = []
        self.slept: list[float] = []
        settings = Settings(
            token="secret-token-0123456789",
            token_source="$GITPOD_API_KEY",
            base_url="https://api.example.com",
            timeout=timeout,
            retries=retries,
            headers={},
        )
        world = World(
            clock=lambda: self.time,
            now=lambda: 1_767_225_600.0 + self.time,  # 1 January 2026, 0:00 UTC
            uniform=lambda low, high: low + chance * (high - low),
        )
        self.caller = Caller(settings=settings, world=world)

    def run(self, steps: Steps[T]) -> T:
        return run(steps, self._perform)

    def bodies(self) -> list[Any]:
        return [json.loads(send.content) for send in self.sent]

    def _perform(self, effect: Effect) -> object:
        match effect:
            case Send():
                self.sent.append(effect)
                self.time += self.latency
                step = self.script(self.time) if callable(self.script) else next(self.script)
                if isinstance(step, Exception):
                    raise step
                step.request = httpx.Request("POST", f"https://api.example.com{effect.path}")
                return step
            case Sleep(seconds):
                assert seconds >= 0
                self.slept.append(seconds)
                self.time += seconds
            case Tell(callback, value):
                callback(value)
        return None
