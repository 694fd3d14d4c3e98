"""Runs logic: takes each effect that it yields, has it performed, and sends the outcome back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import TypeVar

from prebuilds.flows.effects import Effect, Emit, Steps, Stream

T = TypeVar("T")


def run(steps: Steps[T], perform: Callable[[Effect], object]) -> T:
    """Perform the effects of `steps`, and return its result."""
    try:
        effect = next(steps)
        while True:
            try:
                outcome = perform(effect)
            except Exception as error:  # noqa: BLE001 - the logic decides what it can handle
                effect = steps.throw(error)
            else:
                effect = steps.send(outcome)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()


async def run_async(steps: Steps[T], perform: Callable[[Effect], Awaitable[object]]) -> T:
    """Like `run`, for effects that are awaited."""
    try:
        effect = next(steps)
        while True:
            try:
                outcome = await perform(effect)
            except Exception as error:  # noqa: BLE001 - the logic decides what it can handle
                effect = steps.throw(error)
            else:
                effect = steps.send(outcome)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()


def iterate(steps: Stream[T], perform: Callable[[Effect], object]) -> Generator[T]:
    """Perform the effects of `steps`, and yield the values that it emits."""
    try:
        effect = next(steps)
        outcome: object
        while True:
            try:
                outcome = (yield effect.value) if isinstance(effect, Emit) else perform(effect)
            except Exception as error:  # noqa: BLE001 - the logic decides what it can handle
                effect = steps.throw(error)
            else:
                effect = steps.send(outcome)
    except StopIteration:
        return
    finally:
        steps.close()


async def iterate_async(steps: Stream[T], perform: Callable[[Effect], Awaitable[object]]) -> AsyncGenerator[T]:
    """Like `iterate`, for effects that are awaited."""
    try:
        effect = next(steps)
        outcome: object
        while True:
            try:
                outcome = (yield effect.value) if isinstance(effect, Emit) else await perform(effect)
            except Exception as error:  # noqa: BLE001 - the logic decides what it can handle
                effect = steps.throw(error)
            else:
                effect = steps.send(outcome)
    except StopIteration:
        return
    finally:
        steps.close()
