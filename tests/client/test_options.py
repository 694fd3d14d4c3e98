"""Copies with other options, own transports and HTTP clients, what is called back, what is logged, and trio."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import uuid
from typing import Any

import httpx
import pytest
import trio

from prebuilds import AsyncPrebuildClient, ClientClosedError, PrebuildClient, UnavailableError
from prebuilds.emulator import EmulatorServer

from .both import ID, KINDS, LOOPS, TOKEN, using
from .relay import HANGS_BEFORE, PASSED, UNAVAILABLE, Playground
from .scripted import Answer, ScriptedServer, a_prebuild
from .test_sharing import needs_the_table, open_connections

OTHER = "another-token-9876543210"


async def settled(outcome: Any) -> Any:
    return await outcome if hasattr(outcome, "__await__") else outcome


def look(client: Any, **options: Any) -> Any:
    return client.prebuilds.retrieve(prebuild_id=ID, **options)


def close(client: Any) -> Any:
    return client.close() if isinstance(client, PrebuildClient) else client.aclose()


def scenario(kind: str, steps: Any, **options: Any) -> None:
    """Run a coroutine function with a client of either kind; it awaits what `settled` says can be awaited."""
    client = (PrebuildClient if kind == "sync" else AsyncPrebuildClient)(TOKEN, **options)

    async def main() -> None:
        try:
            await steps(client)
        finally:
            await settled(close(client))

    trio.run(main) if kind == "trio" else asyncio.run(main())


@pytest.fixture
def server():
    with ScriptedServer() as server:
        yield server


# Copies


@needs_the_table
@pytest.mark.parametrize("kind", LOOPS)
def test_a_copy_uses_the_same_connections_and_leaves_them_open(kind, server):
    async def steps(client: Any) -> None:
        await settled(look(client))
        copy = client.with_options(timeout=5)
        again = copy.with_options(retries=0)
        for each in (copy, again, client):
            await settled(look(each))
        assert open_connections(server.port) == 1
        await settled(close(copy))
        with pytest.raises(ClientClosedError):
            await settled(look(copy))
        await settled(look(client))
        assert open_connections(server.port) == 1

        other = client.with_options(timeout=5)
        await settled(close(client))
        assert open_connections(server.port) == 0
        with pytest.raises(ClientClosedError):
            await settled(look(other))
        with pytest.raises(ClientClosedError):
            client.with_options(timeout=5)

    scenario(kind, steps, base_url=server.url)


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_differs_in_what_was_given_alone(kind, server):
    async def steps(client: Any) -> None:
        copy = client.with_options(bearer_token=OTHER, headers={"x-two": "2b", "X-Three": "3"}, timeout=7)
        await settled(look(copy))
        await settled(look(client))

    scenario(kind, steps, base_url=server.url, headers={"X-One": "1", "X-Two": "2"}, timeout=100)
    changed, original = (request.headers for request in server.requests)
    assert changed["authorization"] == f"Bearer {OTHER}"
    assert original["authorization"] == f"Bearer {TOKEN}"
    assert [changed.get(name) for name in ("x-one", "x-two", "x-three")] == ["1", "2b", "3"]
    assert [original.get(name) for name in ("x-one", "x-two", "x-three")] == ["1", "2", None]
    assert int(changed["connect-timeout-ms"]) <= 7000 < int(original["connect-timeout-ms"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_takes_known_options_only(kind, server):
    async def steps(client: Any) -> None:
        with pytest.raises(TypeError, match="max_retries.*retries"):
            client.with_options(max_retries=1)
        with pytest.raises(ValueError, match="timeout"):
            client.with_options(timeout=0)

    scenario(kind, steps, base_url=server.url)


# Headers


@pytest.mark.parametrize("kind", KINDS)
def test_a_header_is_sent_once_whatever_its_case(kind):
    seen: list[list[tuple[str, str]]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append([(name.decode().lower(), value.decode()) for name, value in request.headers.raw])
        return httpx.Response(200, json={"prebuild": a_prebuild()})

    async def steps(client: Any) -> None:
        await settled(look(client, headers={"x-mine": "call", "content-type": "text/plain"}))

    scenario(kind, steps, transport=httpx.MockTransport(answer), headers={"user-agent": "mine", "X-Mine": "client"})
    names = [name for name, _ in seen[0]]
    assert len(names) == len(set(names))
    headers = dict(seen[0])
    assert headers["user-agent"] == "mine"
    assert headers["x-mine"] == "call"
    assert headers["content-type"] == "application/json"
    assert headers["authorization"] == f"Bearer {TOKEN}"


# Transports and HTTP clients of the caller


@pytest.mark.parametrize("kind", LOOPS)
def test_a_hook_of_the_http_client_may_read_the_answer(kind, server):
    seen: list[str] = []

    def hook(response: httpx.Response) -> None:
        seen.append(response.read().decode())

    async def async_hook(response: httpx.Response) -> None:
        seen.append((await response.aread()).decode())

    async def steps(client: Any) -> None:
        assert (await settled(look(client))).prebuild is not None
        await settled(http.close() if kind == "sync" else http.aclose())

    hooks: dict[str, Any] = {"response": [hook if kind == "sync" else async_hook]}
    http: Any = httpx.Client(event_hooks=hooks) if kind == "sync" else httpx.AsyncClient(event_hooks=hooks)
    scenario(kind, steps, base_url=server.url, http_client=http)
    assert "prebuild" in seen[0]


@pytest.mark.parametrize("kind", KINDS)
def test_an_http_client_that_its_owner_has_closed_says_so(kind, server):
    async def steps(client: Any) -> None:
        await settled(http.close() if kind == "sync" else http.aclose())
        with pytest.raises(ClientClosedError, match="http_client"):
            await settled(look(client))

    http: Any = httpx.Client() if kind == "sync" else httpx.AsyncClient()
    scenario(kind, steps, base_url=server.url, http_client=http)
    assert server.requests == []


# What is called back


@pytest.mark.parametrize("kind", LOOPS)
def test_each_attempt_is_told_with_its_raw_response(kind, server):
    server.script = [Answer(503, b"down", {"x-request-id": "r1"}), Answer(200, headers={"x-request-id": "r2"})]
    by_client: list[Any] = []
    by_call: list[Any] = []

    async def steps(client: Any) -> None:
        await settled(look(client))
        await settled(look(client, on_attempt=by_call.append))

    scenario(kind, steps, base_url=server.url, on_attempt=by_client.append)
    first, second = by_client
    assert (first.operation, first.number, first.status, first.request_id) == ("prebuilds.retrieve", 1, 503, "r1")
    assert isinstance(first.error, UnavailableError)
    assert 0 <= first.retry_in <= 0.25
    assert first.response.text == "down"
    assert (second.number, second.status, second.request_id, second.error, second.retry_in) == (
        2,
        200,
        "r2",
        None,
        None,
    )
    assert second.response.json()["prebuild"]["id"] == a_prebuild()["id"]
    assert second.duration > 0
    assert [attempt.number for attempt in by_call] == [1]


@pytest.mark.parametrize("kind", LOOPS)
def test_what_a_callback_raises_ends_the_call(kind, server):
    server.script = [Answer(503)]

    def stop(attempt: Any) -> None:
        raise KeyError("enough")

    async def steps(client: Any) -> None:
        with pytest.raises(KeyError, match="enough"):
            await settled(look(client))
        assert len(server.requests) == 1

    scenario(kind, steps, base_url=server.url, on_attempt=stop)


@pytest.mark.parametrize("kind", LOOPS)
def test_an_asynchronous_callback_is_for_asynchronous_clients(kind, server):
    seen: list[Any] = []

    async def note(attempt: Any) -> None:
        seen.append(attempt)

    async def steps(client: Any) -> None:
        if kind == "sync":
            with pytest.raises(TypeError, match="AsyncPrebuildClient"):
                look(client)
        else:
            await look(client)
            assert len(seen) == 1

    scenario(kind, steps, base_url=server.url, on_attempt=note)


# The log

PROGRAM = """
import asyncio, sys
from prebuilds import AsyncPrebuildClient, PrebuildClient

with PrebuildClient() as client:
    client.prebuilds.retrieve(prebuild_id=sys.argv[1])

async def main():
    async with AsyncPrebuildClient() as client:
        await client.prebuilds.retrieve(prebuild_id=sys.argv[1])

asyncio.run(main())
"""


@pytest.mark.parametrize(("level", "count"), [("debug", 2), ("info", 1), ("", 0)])
def test_a_variable_turns_on_a_line_for_each_attempt(level, count, server):
    echo = {"code": "unavailable", "message": f"no {TOKEN}"}
    # Once for each kind of client.
    server.script = [Answer(503, echo, {"x-request-id": "r-1"}), Answer(200, headers={"x-request-id": "r-2"})] * 2
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, ID],
        env={**os.environ, "PREBUILDS_LOG": level, "GITPOD_API_KEY": TOKEN, "GITPOD_BASE_URL": server.url},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    expected = [
        r"INFO prebuilds\.retrieve: attempt 1: 503 unavailable in \d+ ms, request id r-1; again in 0\.\d\d s",
        r"DEBUG prebuilds\.retrieve: attempt 2: 200 in \d+ ms, request id r-2",
    ][:count] * 2
    for line, pattern in zip(done.stderr.splitlines(), expected, strict=True):
        assert re.search(f" prebuilds {pattern}$", line), line
    assert TOKEN not in done.stderr + done.stdout


# Trio


def test_trio_carries_the_whole_client():
    async def steps(client: Any) -> None:
        project = str(uuid.uuid4())
        made = [await client.prebuilds.create(project_id=project, spec={}) for _ in range(5)]
        listed = [each.id async for each in client.prebuilds.list(project_ids=[project], page_size=2)]
        assert sorted(listed) == sorted(each.prebuild.id for each in made)
        done = await client.prebuilds.wait(made[0].prebuild.id, timeout=30)
        assert done.status.phase.is_terminal

    with EmulatorServer(speed=5000) as emulator:
        scenario("trio", steps, base_url=emulator.url)


@needs_the_table
def test_a_call_that_trio_cancels_leaves_no_connection_behind(server):
    with Playground() as playground:
        relay = playground.relay(server.url)

        async def steps(client: Any) -> None:
            relay.next(HANGS_BEFORE)
            with trio.move_on_after(0.2) as scope:
                await look(client)
            assert scope.cancelled_caught
            assert open_connections(relay.port) == 0
            relay.next(UNAVAILABLE)
            with pytest.raises(UnavailableError):
                await look(client, retries=1)
            relay.next(PASSED)
            await look(client)

        scenario("trio", steps, base_url=relay.url)


def test_using_a_client_needs_no_block(server):
    client = PrebuildClient(TOKEN, base_url=server.url)
    assert look(client).prebuild is not None
    client.close()
    assert using("sync", look, base_url=server.url).prebuild is not None
