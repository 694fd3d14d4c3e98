"""A client of a server in trouble does not make its trouble worse; what reaches the server is counted there."""

from __future__ import annotations

import asyncio
import random
from itertools import cycle
from typing import Any

import pytest

from prebuilds import AsyncPrebuildClient, PrebuildClient, PrebuildsError, UnavailableError
from prebuilds.flows.effects import Runtime
from prebuilds.options import DEFAULT_RETRIES

from .both import ID, KINDS, TOKEN
from .relay import (
    CALL,
    PASSED,
    PLAIN_503,
    RETRY_INFO,
    UNAVAILABLE,
    Playground,
    connect_error,
    http,
    retry_info,
    said,
)
from .scripted import ScriptedServer

CAPACITY = 100
"""How many repetitions in a row a client makes when nothing succeeds."""


def hasty(pauses: list[float] | None = None) -> Runtime:
    """A runtime in which a pause takes no time; it is put into `pauses`."""
    noted = [] if pauses is None else pauses

    async def async_sleep(seconds: float) -> None:
        noted.append(seconds)
        await asyncio.sleep(0)

    return Runtime(uniform=random.Random(1).uniform, sleep=noted.append, async_sleep=async_sleep)


@pytest.fixture
def server():
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def relay(server):
    with Playground() as playground:
        yield playground.relay(server.url)


def look_often(kind: str, url: str, count: int, *, runtime: Runtime | None = None, **options: Any) -> list[Any]:
    """Look `count` times with one client, 20 at a time or one after the other; the results or errors."""
    if kind == "sync":
        outcomes: list[Any] = []
        with PrebuildClient(TOKEN, base_url=url, _runtime=runtime) as client:
            for number in range(count):
                try:
                    outcomes.append(client.prebuilds.retrieve(prebuild_id=ID, headers={CALL: str(number)}, **options))
                except PrebuildsError as error:
                    outcomes.append(error)
        return outcomes

    async def main() -> list[Any]:
        async with AsyncPrebuildClient(TOKEN, base_url=url, _runtime=runtime) as client:
            outcomes: list[Any] = []
            for begin in range(0, count, 20):
                looks = (
                    client.prebuilds.retrieve(prebuild_id=ID, headers={CALL: str(number)}, **options)
                    for number in range(begin, min(begin + 20, count))
                )
                outcomes += await asyncio.gather(*looks, return_exceptions=True)
            return outcomes

    return asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_the_attempts_of_a_call_are_few(kind, relay):
    relay.next(UNAVAILABLE)
    (error,) = look_often(kind, relay.url, 1, runtime=hasty())
    assert isinstance(error, UnavailableError)
    assert len(relay.arrivals) == DEFAULT_RETRIES + 1


@pytest.mark.campaign(quick=100, full=1000)
@pytest.mark.parametrize("kind", KINDS)
def test_when_nothing_succeeds_a_thousand_calls_are_hardly_repeated(kind, relay, size):
    relay.next(PLAIN_503)
    errors = look_often(kind, relay.url, size, runtime=hasty(), timeout=None)
    assert {type(error) for error in errors} == {UnavailableError}
    assert len(relay.arrivals) == size + CAPACITY
    assert "almost all recent calls have failed" in errors[-1].__notes__[0]


def test_a_client_that_gave_up_repeating_starts_again_with_the_first_success(relay):
    def look() -> None:
        client.prebuilds.retrieve(prebuild_id=ID, headers={CALL: "look"}, retries=1)

    with PrebuildClient(TOKEN, base_url=relay.url, _runtime=hasty()) as client:
        relay.next(PLAIN_503)
        for _ in range(CAPACITY + 1):
            with pytest.raises(UnavailableError):
                look()
        assert len(relay.arrivals) == 2 * CAPACITY + 1
        relay.next(PASSED)
        look()
        relay.next(PLAIN_503)
        relay.arrivals.clear()
        with pytest.raises(UnavailableError):
            look()
        assert len(relay.arrivals) == 2
        with pytest.raises(UnavailableError):
            look()
        assert len(relay.arrivals) == 3


def test_a_client_with_other_options_has_the_same_budget(relay):
    relay.next(PLAIN_503)
    with PrebuildClient(TOKEN, base_url=relay.url, _runtime=hasty()) as client:
        for each in (client, client.with_options(timeout=50)):
            for _ in range(CAPACITY):
                with pytest.raises(UnavailableError):
                    each.prebuilds.retrieve(prebuild_id=ID, retries=1)
    assert len(relay.arrivals) == 3 * CAPACITY


def test_the_pause_after_each_attempt_is_drawn_from_nothing_to_twice_as_much(relay):
    pauses: list[list[float]] = [[] for _ in range(4)]

    def note(attempt: Any) -> None:
        if attempt.retry_in is not None:
            pauses[attempt.number - 1].append(attempt.retry_in)
        relay.choose = lambda call: UNAVAILABLE if attempt.number < 4 else PASSED

    relay.next(UNAVAILABLE)
    with PrebuildClient(TOKEN, base_url=relay.url, _runtime=hasty(), on_attempt=note) as client:
        for _ in range(60):
            relay.next(UNAVAILABLE)
            client.prebuilds.retrieve(prebuild_id=ID)
    for number, drawn in enumerate(pauses):
        limit = 0.25 * 2**number
        assert len(drawn) == 60
        assert min(drawn) < 0.15 * limit
        assert 0.35 * limit < sum(drawn) / len(drawn) < 0.65 * limit
        assert 0.85 * limit < max(drawn) <= limit


@pytest.mark.parametrize("kind", KINDS)
def test_the_pauses_that_were_drawn_are_kept(kind, relay):
    drawn: list[float] = []
    faults = cycle([UNAVAILABLE, RETRY_INFO])

    def note(attempt: Any) -> None:
        if attempt.retry_in is not None:
            drawn.append(attempt.retry_in)
        relay.next(PASSED if attempt.error else next(faults))

    relay.next(UNAVAILABLE)
    for _ in range(8):
        look_often(kind, relay.url, 1, on_attempt=note)
    times = [arrival.at for arrival in relay.arrivals]
    gaps = [again - begin for begin, again in zip(times[::2], times[1::2], strict=True)]
    assert len(gaps) == len(drawn) == 8
    # How much later it may be depends on how busy the machine is.
    assert all(pause <= gap < pause + 1 for pause, gap in zip(drawn, gaps, strict=True)), (drawn, gaps)
    assert len(set(drawn)) == 8


HINTS = [
    (0.5, connect_error(429, "resource_exhausted", details=[retry_info(0.5)])),
    (0.5, connect_error(503, "unavailable", details=[retry_info(0.5)])),
    (1.0, connect_error(429, "resource_exhausted", "RateLimit-RetryAfter: 1", "Retry-After: 3")),
    (1.0, http(503, b"", "Retry-After: 1")),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("hint", "answer"), HINTS)
def test_the_server_is_asked_again_when_it_said(kind, relay, hint, answer):
    faults = iter([said("hint", answer), PASSED])
    relay.choose = lambda call: next(faults)
    pauses: list[float] = []
    (outcome,) = look_often(kind, relay.url, 1, runtime=hasty(pauses))
    assert outcome.prebuild is not None
    assert len(relay.arrivals) == 2
    (pause,) = pauses
    assert hint <= pause <= 1.1 * hint
