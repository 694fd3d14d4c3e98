"""The layers of a run: their names, their order, and the layers that run concurrently.

A run against a remote server mostly waits. Over HTTP, the layers therefore run in lanes, each with its own connection
and conversation. The given projects have room for few pools, which the layers use in turn. In given projects, only
schemathesis runs concurrently, and it creates no pools.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from prebuilds.contract.lifecycle import Lifecycle
from prebuilds.contract.methods import METHODS
from prebuilds.contract.probes import run_probes
from prebuilds.contract.properties import PROPERTIES
from prebuilds.contract.session import Session
from prebuilds.contract.survey import reach
from prebuilds.contract.transports import HttpTransport

LAYERS: Final = ("probes", "lifecycle", "machine", "schemathesis")
"""The layers of a run, in their order."""

# The number of requests that each layer sends to a correct server.
_REQUESTS: Final = {"probes": 270, "lifecycle": 220, "machine": 6900, "schemathesis": 500, "survey": 25}

# A response that takes longer than this, in seconds, comes from afar. Then the machine may take so many seconds in all,
# and so many more for each second that a response takes.
_NEAR = 0.01
_SHORT_RUN = 26.0
_SHORT_RUN_BY_LATENCY = 400.0

# So many machines there are, which need not wait for each other.
_MACHINES: Final = 4

# The share of creates for the lanes other than the first.
_SHARE_OF_LANES = 0.75

# For how many seconds the responses that are under way are waited for when a run ends early.
_LAST_RESPONSES = 2.0

# How often it is looked whether the lanes are through, in seconds.
_TICK = 0.05

Step = tuple[str, Callable[[Session], None]]


@dataclass(frozen=True, slots=True)
class LayerRun:
    """The result of one layer.

    Attributes:
        name: the layer.
        requests: the number of requests.
        seconds: the duration.
    """

    name: str
    requests: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The options of the layers.

    Attributes:
        layers: the layers to run.
        only: whether the run checks only a few properties.
        thorough: whether to send all requests even then.
        deep: whether schemathesis also runs its longer phases, and the machines run without a time limit.
    """

    layers: Sequence[str]
    only: bool
    thorough: bool
    deep: bool


def run_layers(session: Session, choice: Choice, runs: list[LayerRun], tell: Callable[[str], None]) -> None:
    """Run the chosen layers.

    Args:
        session: sends the requests.
        choice: the options.
        runs: receives the result of each layer, also if the run ends early.
        tell: called with progress messages.
    """
    session.is_thorough = choice.thorough
    # Layers that the user selected by name check everything again.
    session.is_selective = choice.only and not choice.thorough and set(choice.layers) == set(LAYERS)
    transport = session.transport
    if isinstance(transport, HttpTransport) and session.mode != "plan" and not session.is_selective:
        _run_in_lanes(session, transport, _lanes(session, choice), runs, tell)
        return
    lifecycle = _Lifecycle()
    steps = _main(session, choice, lifecycle)
    if _has_machine(session, choice):
        steps.insert(len(steps) - ("lifecycle" in dict(steps)), ("machine", partial(_run_machine, budget=0.0)))
    steps += _schemathesis(session, choice)
    if session.is_selective:
        # The layers that send most come last, and are needed least.
        steps.sort(key=lambda each: each[0] in ("machine", "schemathesis"))
    elif "lifecycle" in dict(steps):
        lifecycle.begin(session)
    for step in steps:
        _run_step(session, step, runs, tell)


class _Lifecycle:
    """The layer `lifecycle`, which begins before the others, so that the server works on it meanwhile."""

    def __init__(self) -> None:
        self._layer: Lifecycle | None = None

    def begin(self, session: Session) -> None:
        session.layer = "lifecycle"
        self._layer = Lifecycle(session)
        self._layer.begin()

    def finish(self, session: Session) -> None:
        (self._layer or Lifecycle(session)).finish()


def _main(session: Session, choice: Choice, lifecycle: _Lifecycle) -> list[Step]:
    """The layers that depend on each other."""
    steps: list[Step] = []
    if "probes" in choice.layers:
        steps.append(("probes", run_probes))
    if choice.only or "probes" not in choice.layers:
        steps.append(("survey", lambda session: reach(session, _methods_of(session))))
    if session.allows(writes=True) and "lifecycle" in choice.layers:
        steps.append(("lifecycle", lifecycle.finish))
    return steps


def _has_machine(session: Session, choice: Choice) -> bool:
    return session.mode in ("lifecycle", "full") and "machine" in choice.layers


def _schemathesis(session: Session, choice: Choice) -> list[Step]:
    if session.mode != "full" or "schemathesis" not in choice.layers:
        return []
    return [("schemathesis", partial(_run_schemathesis, deep=choice.deep))]


def _lanes(session: Session, choice: Choice) -> list[list[Step]]:
    """The layers, those in one list after one another, and the lists side by side."""
    lifecycle = _Lifecycle()
    main = _main(session, choice, lifecycle)
    if "lifecycle" in dict(main):
        main.insert(0, ("", lifecycle.begin))
    lanes = [main, _schemathesis(session, choice)]
    if _has_machine(session, choice):
        budget = 0.0
        if session.latency > _NEAR and not choice.deep:
            budget = _SHORT_RUN + _SHORT_RUN_BY_LATENCY * session.latency
        if session.is_open:
            lanes += [[("machine", partial(_run_machine, budget=budget, part=part))] for part in range(_MACHINES)]
        else:
            main.append(("machine", partial(_run_machine, budget=budget)))
    return [lane for lane in lanes if lane]


def _run_in_lanes(
    session: Session,
    transport: HttpTransport,
    lanes: list[list[Step]],
    runs: list[LayerRun],
    tell: Callable[[str], None],
) -> None:
    names = [name for lane in lanes for name, _ in lane if name]
    tell(_estimate(session, dict.fromkeys(names), len(lanes)))
    left = session.max_creates - len(session.made)
    shares = [left - int(left * _SHARE_OF_LANES) * (len(lanes) > 1)]
    shares += [int(left * _SHARE_OF_LANES) // (len(lanes) - 1)] * (len(lanes) - 1) if len(lanes) > 1 else []
    workers = [
        _Worker(session.lane(transport.clone(), max_creates=share), steps, runs, tell)
        for steps, share in zip(lanes, shares, strict=True)
    ]
    for worker in workers:
        worker.start()
    try:
        while any(worker.is_alive() for worker in workers):
            time.sleep(_TICK)
            if any(worker.error is not None for worker in workers):
                break
    finally:
        # Also of an interruption: nothing is sent any more once this returns.
        ended = all(not worker.is_alive() for worker in workers)
        if not ended:
            session.stop()
            # A late response shows whether a create has created a resource.
            deadline = time.monotonic() + _LAST_RESPONSES
            for worker in workers:
                worker.join(max(0.0, deadline - time.monotonic()))
        for worker in workers:
            worker.close(now=worker.is_alive())
            session.end(worker.session)
            session.shortened += worker.session.shortened
    errors = [worker.error for worker in workers if worker.error is not None]
    # The first error of a type that is not just the end of another lane.
    for error in sorted(errors, key=lambda error: isinstance(error, KeyboardInterrupt)):
        raise error


def _estimate(session: Session, names: dict[str, None], lanes: int) -> str:
    """A description of the run for the user."""
    requests = sum(_REQUESTS.get(name, 0) for name in names)
    seconds = requests * session.latency / lanes
    if session.latency > _NEAR:
        seconds = min(seconds, _SHORT_RUN + _SHORT_RUN_BY_LATENCY * session.latency)
    about = f"about {max(round(seconds), 1)} s" if session.latency > _NEAR else "some seconds"
    return f"{', '.join(names)}: about {requests} requests at {session.latency * 1000:.0f} ms each, {about}"


class _Worker(threading.Thread):
    """A lane at work."""

    def __init__(self, session: Session, steps: list[Step], runs: list[LayerRun], tell: Callable[[str], None]) -> None:
        super().__init__(name="contract-lane", daemon=True)
        self.session = session
        self.error: BaseException | None = None
        self._steps = steps
        self._runs = runs
        self._tell = tell

    def run(self) -> None:
        try:
            for step in self._steps:
                _run_step(self.session, step, self._runs, lambda _: None)
        except BaseException as error:  # noqa: BLE001  the thread that waits raises it
            self.error = error

    def close(self, *, now: bool) -> None:
        """Wait for the end of the lane, and close its connection; with `now` before a response has come."""
        if now and isinstance(self.session.transport, HttpTransport):
            self.session.transport.abort()
        self.join()
        self.session.transport.close()


def _run_step(session: Session, step: Step, runs: list[LayerRun], tell: Callable[[str], None]) -> None:
    name, run = step
    if name in ("machine", "schemathesis") and not any(map(session.wants_more, PROPERTIES)):
        return
    session.layer = name or session.layer
    if name:
        tell(name)
    before, begun = len(session.log), time.perf_counter()
    try:
        run(session)
    finally:
        if name:
            _add(runs, LayerRun(name, len(session.log) - before, time.perf_counter() - begun))


def _add(runs: list[LayerRun], run: LayerRun) -> None:
    """Record the result of a layer; for a layer in several lanes, the total."""
    with suppress(StopIteration):
        same = next(each for each in runs if each.name == run.name)
        runs.remove(same)
        run = LayerRun(run.name, run.requests + same.requests, max(run.seconds, same.seconds))
    runs.append(run)


def _methods_of(session: Session) -> list[str]:
    """The methods that the properties of the run are about."""
    findings = session.findings
    wanted = {method for name in findings.selected for method in PROPERTIES[name].methods}
    return [method for method in METHODS if method in wanted and findings.scope.covers(method)]


def _run_machine(session: Session, *, budget: float, part: int | None = None) -> None:
    from prebuilds.contract.machine import run_machine  # Hypothesis takes half a second to load

    left = max(1.0, session.begun + budget - session.now()) if budget else 0.0
    run_machine(session, seed=session.seed, budget=left, part=part)


def _run_schemathesis(session: Session, *, deep: bool) -> None:
    from prebuilds.contract.stock import run_schemathesis  # it takes a second to load

    run_schemathesis(session, deep=deep)
