"""Runs the client's logic without a network or a clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import httpx

from prebuild_api.http import Headers, RawResponse
from prebuilds.calls import CallExecutor
from prebuilds.engines.exchange import timed_out
from prebuilds.engines.failures import failure
from prebuilds.flows.effects import (
    Callback,
    Close,
    Effect,
    Join,
    JoinAny,
    Open,
    Read,
    Runtime,
    Send,
    Sleep,
    Spawn,
    Steps,
    Stream,
)
from prebuilds.flows.interpreter import iterate, run
from prebuilds.options import DEFAULT_RETRIES, Options

T = TypeVar("T")
Step = RawResponse | Exception


def answer(status: int = 200, body: object = None, **headers: str) -> RawResponse:
    if isinstance(body, str):
        content = body.encode()
    elif isinstance(body, bytes):
        content = body
    else:
        content = json.dumps({} if body is None else body).encode()
        headers.setdefault("content_type", "application/json")
    return RawResponse(status, named(headers), content)


def named(headers: dict[str, str]) -> Headers:
    return Headers((name.replace("_", "-"), value) for name, value in headers.items())


def error(code: str, status: int, message: str = "no", **headers: str) -> RawResponse:
    return answer(status, {"code": code, "message": message}, **headers)


class Flow:
    """A response whose body arrives piece by piece: bytes, exceptions, and numbers for seconds of silence."""

    def __init__(self, *pieces: bytes | Exception | float, status: int = 200, **headers: str) -> None:
        self.pieces = list(pieces)
        self.response = RawResponse(status, named(headers))
        self.closed = False

    def again(self) -> Flow:
        return Flow(*self.pieces, status=self.response.status_code, **self.response.headers)


class Rehearsal:
    """Plays the runtime: a script of answers, a clock that only sleeping moves, no chance at all."""

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
        options = Options(
            token="secret-token-0123456789",
            token_source="$GITPOD_API_KEY",
            base_url=base_url,
            timeout=timeout,
            retries=retries,
            headers={},
        )
        self.chance = lambda low, high: low + chance * (high - low)
        runtime = Runtime(
            clock=lambda: self.time,
            now=lambda: 1_767_225_600.0 + self.time,  # 1 January 2026, 0:00 UTC
            uniform=lambda low, high: self.chance(low, high),  # noqa: PLW0108 - tests replace it
        )
        self.executor = CallExecutor(options=options, runtime=runtime)

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
                if isinstance(step, httpx.HTTPError):
                    raise failure(step) from step
                if isinstance(step, Exception):
                    raise step
                return step
            case Sleep(seconds):
                assert seconds >= 0
                self.slept.append(seconds)
                self.time += seconds
            case Callback(function, arguments):
                return function(*arguments)
            case Spawn(steps):
                try:
                    outcome = self.run(steps)
                except Exception as error:  # noqa: BLE001 - it is raised by `Join`
                    return error, None
                return None, outcome
            case Join((error, outcome)):
                if error is not None:
                    raise error
                return outcome
            case JoinAny(handles, _):
                return handles[0]
            case Open():
                assert self.flows is not None
                self.opened.append(effect)
                try:
                    return self.flows(effect)
                except httpx.HTTPError as error:
                    raise failure(error) from error
            case Read(flow, timeout):
                return self._read(flow, timeout)
            case Close(flow):
                flow.closed = True
        return None

    def _read(self, flow: Flow, patience: float) -> bytes | None:
        assert not flow.closed
        while flow.pieces:
            piece = flow.pieces.pop(0)
            if isinstance(piece, bytes):
                return piece
            if isinstance(piece, Exception):
                raise failure(piece) from piece
            self.time += min(piece, patience)
            if piece >= patience:
                raise timed_out()
            patience -= piece
        return None
