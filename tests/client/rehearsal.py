"""Runs the client's logic without a network or a clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import httpx

from prebuilds.calls import Caller
from prebuilds.effects import (
    Close,
    Effect,
    Join,
    Open,
    Read,
    Send,
    Sleep,
    Start,
    Steps,
    Stream,
    Tell,
    World,
    iterate,
    run,
)
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


class Flow:
    """A response whose body arrives piece by piece: bytes, exceptions, and numbers for seconds of silence."""

    def __init__(self, *pieces: bytes | Exception | float, status: int = 200, **headers: str) -> None:
        self.pieces = list(pieces)
        self.response = httpx.Response(status, headers={name.replace("_", "-"): each for name, each in headers.items()})
        self.closed = False

    def again(self) -> Flow:
        return Flow(*self.pieces, status=self.response.status_code, **self.response.headers)


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
        base_url: str = "https://api.example.com",
        flows: Callable[[Open], Flow] | None = None,
    ) -> None:
        self.script = script if callable(script) else iter(script)
        self.latency = latency
        self.time = 0.0
        self.sent: list[Send] = []
        self.slept: list[float] = []
        self.flows = flows
        self.opened: list[Open] = []
        settings = Settings(
            token="secret-token-0123456789",
            token_source="$GITPOD_API_KEY",
            base_url=base_url,
            timeout=timeout,
            retries=retries,
            headers={},
        )
        self.chance = lambda low, high: low + chance * (high - low)
        world = World(
            clock=lambda: self.time,
            now=lambda: 1_767_225_600.0 + self.time,  # 1 January 2026, 0:00 UTC
            uniform=lambda low, high: self.chance(low, high),  # noqa: PLW0108 - tests replace it
        )
        self.caller = Caller(settings=settings, world=world)

    def run(self, steps: Steps[T]) -> T:
        return run(steps, self._perform)

    def iterate(self, steps: Stream[T]) -> Iterator[T]:
        return iterate(steps, self._perform)

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
                return callback(value)
            case Start(steps):
                try:
                    outcome = self.run(steps)
                except Exception as error:  # noqa: BLE001 - it is raised by `Join`
                    return error, None
                return None, outcome
            case Join((error, outcome)):
                if error is not None:
                    raise error
                return outcome
            case Open():
                assert self.flows is not None
                self.opened.append(effect)
                flow = self.flows(effect)
                timeout = {"read": effect.timeout}
                flow.response.request = httpx.Request("GET", effect.url, extensions={"timeout": timeout})
                return flow
            case Read(flow):
                return self._read(flow)
            case Close(flow):
                flow.closed = True
        return None

    def _read(self, flow: Flow) -> bytes | None:
        assert not flow.closed
        patience = flow.response.request.extensions["timeout"]["read"]
        while flow.pieces:
            piece = flow.pieces.pop(0)
            if isinstance(piece, bytes):
                return piece
            if isinstance(piece, Exception):
                raise piece
            self.time += min(piece, patience)
            if piece >= patience:
                raise httpx.ReadTimeout("silence")
            patience -= piece
        return None
