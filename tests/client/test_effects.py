"""The two drivers of the client's logic."""

from __future__ import annotations

import asyncio

import pytest

from prebuilds.flows.effects import Sleep
from prebuilds.flows.interpreter import run, run_async

DRIVERS = {
    "sync": run,
    "async": lambda steps, perform: asyncio.run(run_async(steps, _awaited(perform))),
}


def _awaited(perform):
    async def awaited(effect):
        await asyncio.sleep(0)
        return perform(effect)

    return awaited


pytestmark = pytest.mark.parametrize("drive", DRIVERS.values(), ids=DRIVERS)


def test_outcomes_are_sent_in(drive):
    def logic():
        first = yield Sleep(1)
        second = yield Sleep(2)
        return first + second

    assert drive(logic(), lambda effect: effect.seconds * 10) == 30


def test_logic_without_effects_returns(drive):
    def logic():
        return 5
        yield

    assert drive(logic(), None) == 5


def test_exceptions_are_thrown_in_and_can_be_handled(drive):
    def logic():
        try:
            yield Sleep(1)
        except OSError as error:
            return error

    error = OSError("x")

    def perform(effect):
        raise error

    assert drive(logic(), perform) is error


def test_what_logic_does_not_handle_comes_out(drive):
    def logic():
        yield Sleep(1)

    def perform(effect):
        raise OSError("x")

    with pytest.raises(OSError, match="x"):
        drive(logic(), perform)


def test_a_stop_iteration_of_an_effect_does_not_pass_for_an_end(drive):
    def logic():
        yield Sleep(1)

    def perform(effect):
        raise StopIteration(5)

    with pytest.raises(RuntimeError):
        drive(logic(), perform)


def test_logic_is_closed_when_the_driver_is_interrupted(drive):
    closed = []

    def logic():
        try:
            yield Sleep(1)
        finally:
            closed.append(True)

    def perform(effect):
        raise KeyboardInterrupt

    steps = logic()  # held on to: the garbage collector would close it as well
    with pytest.raises(KeyboardInterrupt):
        drive(steps, perform)
    assert closed
