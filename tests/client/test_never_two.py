"""Calls that meet faults on a real network, in front of the real emulator: what was done is done once, and known."""

from __future__ import annotations

import asyncio
import random
import ssl
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle
from queue import Empty, SimpleQueue
from typing import Any

import httpx
import pytest

from prebuilds import AsyncPrebuildClient, CallError, PrebuildClient, RequestTimeoutError
from prebuilds.emulator import EmulatorServer, ManualClock, Plan
from prebuilds.options import DEFAULT_RETRIES

from .both import KINDS, TOKEN
from .relay import CALL, FAULTS, PASSED, PASSING, Fault, Playground, Relay

WORKERS = 20


@dataclass
class Call:
    """One call of a test, and what it meets."""

    id: str
    faults: list[Fault]
    """What its attempts meet; when they are used up, nothing is in the way."""
    met: list[str] = field(default_factory=list)
    """How its attempts ended."""
    result: Any = None
    error: Exception | None = None

    @property
    def timeout(self) -> float:
        return 1.0 if any(fault.never_ends for fault in self.faults) else 5.0


def calls(faults: tuple[Fault, ...], count: int, again: float, seed: int) -> list[Call]:
    """Calls that meet each fault first in turn, and with a probability another one, and another one."""
    dice = random.Random(seed)
    made = []
    for number in range(count):
        drawn = [faults[number % len(faults)]]
        while dice.random() < again:
            drawn.append(dice.choice(faults))
        made.append(Call(str(uuid.UUID(int=dice.getrandbits(128), version=4)), drawn))
    dice.shuffle(made)
    return made


def play(call: Call, relay: Relay) -> Callable[[object], None]:
    """Prepare the relay for the first attempt of a call; the result prepares it for the next one after each."""
    faults = iter(call.faults)

    def prepare(_: object = None) -> None:
        fault = next(faults, PASSED)
        relay.next(fault)

    def count(attempt: Any) -> None:
        call.met.append(f"{attempt.duration:.2f} {attempt.retry_in} {attempt.error!r:.100}")
        prepare()

    prepare()
    return count


ENGINES = pytest.mark.parametrize("engine", ["httpx", "fast", "transport"])
"""Both engines, and a transport of httpx that the caller passes in."""

Ask = Callable[[Any, Call, Callable[[object], None]], Any]


def connection(kind: str, engine: str, tls: ssl.SSLContext) -> dict[str, Any]:
    """The options of a client that choose what carries out its exchanges."""
    if engine != "transport":
        return {"engine": engine}
    return {"transport": (httpx.HTTPTransport if kind == "sync" else httpx.AsyncHTTPTransport)(verify=tls)}


def carry_out(kind: str, engine: str, all_calls: list[Call], ask: Ask, url: str, playground: Playground) -> list[Relay]:
    """Make the calls, many at a time; the relays that they went through."""
    relays = [playground.relay(url) for _ in range(WORKERS)]
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # to make one for each client takes seconds, and here is no TLS
    waiting: SimpleQueue[Call] = SimpleQueue()
    for call in all_calls:
        waiting.put(call)

    def taken() -> Iterator[Call]:
        while True:
            try:
                yield waiting.get_nowait()
            except Empty:
                return

    def work(relay: Relay) -> None:
        with PrebuildClient(TOKEN, base_url=relay.url, **connection(kind, engine, tls)) as client:
            for call in taken():
                try:
                    call.result = ask(client, call, play(call, relay))
                except CallError as error:
                    call.error = error

    async def work_async(relay: Relay) -> None:
        async with AsyncPrebuildClient(TOKEN, base_url=relay.url, **connection(kind, engine, tls)) as client:
            for call in taken():
                try:
                    on_attempt = play(call, relay)
                    for _ in range(3):
                        # The loop has to read that an idle connection was closed before anybody can know of it.
                        await asyncio.sleep(0)
                    call.result = await ask(client, call, on_attempt)
                except CallError as error:
                    call.error = error

    if kind == "sync":
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(work, relays))
    else:

        async def main() -> None:
            await asyncio.gather(*map(work_async, relays))

        asyncio.run(main())
    return relays


def create(client: Any, call: Call, on_attempt: Callable[[object], None]) -> Any:
    return client.prebuilds.create(
        project_id=call.id,
        spec={},
        timeout=call.timeout,
        headers={CALL: call.id},
        on_attempt=on_attempt,
    )


@pytest.fixture
def emulator():
    with EmulatorServer(clock=ManualClock(), plan=Plan()) as server:
        yield server


@pytest.mark.campaign(quick=2 * len(FAULTS), full=1000)
@ENGINES
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_creates_through_faults_never_make_two_and_never_lie(kind, engine, emulator, size):
    all_calls = calls(FAULTS, size, again=0.35, seed=77)
    with Playground() as playground:
        relays = carry_out(kind, engine, all_calls, create, emulator.url, playground)
        forwarded = Counter(call for relay in relays for call in relay.forwarded)
        met = Counter(arrival.fault for relay in relays for arrival in relay.arrivals)
    with PrebuildClient(TOKEN, base_url=emulator.url) as client:
        made = Counter(each.metadata.project_id for each in client.prebuilds.list(page_size=100))

    assert set(made) <= set(forwarded) <= {call.id for call in all_calls}
    assert set(made.values()) == set(forwarded.values()) == {1}
    for call in all_calls:
        if call.error is None:
            assert call.result.prebuild.metadata.project_id == call.id
            assert made[call.id] == 1, call
            continue
        assert call.error.maybe_executed or not made[call.id], call
        # Who stopped waiting before the fault was played cannot know what would have come.
        gave_up = isinstance(call.error, RequestTimeoutError)
        if not gave_up and all(fault.surely_unharmed for fault in call.faults[: len(call.met)]):
            assert not call.error.maybe_executed, call
        # What failed had a reason to.
        harmless = all(fault.surely_unharmed and fault.name != "429 without a hint" for fault in call.faults)
        assert gave_up or not harmless, call

    # The test has been one: every fault was met, and both endings were common.
    assert set(FAULTS) - set(met) == {fault for fault in FAULTS if fault.refuses}
    succeeded = sum(call.error is None for call in all_calls)
    assert 0.1 < succeeded / size < 0.9
    assert any(len(call.met) > 2 and call.error is None for call in all_calls)


def retrieve(client: Any, call: Call, on_attempt: Callable[[object], None]) -> Any:
    return client.prebuilds.retrieve(prebuild_id=call.id, timeout=6, headers={CALL: call.id}, on_attempt=on_attempt)


@pytest.mark.campaign(quick=80, full=1000)
@ENGINES
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_reads_succeed_though_three_in_ten_requests_meet_a_fault(kind, engine, emulator, size):
    with PrebuildClient(TOKEN, base_url=emulator.url) as client:
        ids = [client.prebuilds.create(project_id=str(uuid.uuid4()), spec={}).prebuild.id for _ in range(20)]
    dice = random.Random(5)
    first = cycle(PASSING)  # so that each fault is met, however few calls there are

    def faults() -> list[Fault]:
        met = [next(first) if dice.random() < 0.3 else PASSED]
        return met + [dice.choice(PASSING) if dice.random() < 0.3 else PASSED for _ in range(DEFAULT_RETRIES)]

    all_calls = [Call(ids[number % len(ids)], faults()) for number in range(size)]
    with Playground() as playground:
        relays = carry_out(kind, engine, all_calls, retrieve, emulator.url, playground)
        met = {arrival.fault for relay in relays for arrival in relay.arrivals}
    assert [call for call in all_calls if call.error is not None] == []
    assert [call for call in all_calls if call.result.prebuild.id != call.id] == []
    assert {*PASSING, PASSED} - met == {fault for fault in PASSING if fault.refuses}
    assert sum(len(call.met) > 1 for call in all_calls) > size / 5
